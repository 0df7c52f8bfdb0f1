// Inline Markdown to spans: strings or {type, ...}. Emphasis is more lenient than CommonMark's, which fails beside CJK punctuation.
// Linear in the text, as all of markdown.js.

import { blank, DEEP, runEnd } from './text.js';

const SPECIAL = /[\\`*_~[!<\n]|https?:\/\//g;
const BARE = /https?:\/\/[^\s<>"'`\u2e80-\uffef]+/y; // CJK text goes on right behind a URL
const word = (c) => c !== undefined && /[\p{L}\p{N}_]/u.test(c);

export function parseInline(text, live = false, depth = 0) {
  const spans = [];
  const dead = new Set(); // delimiters known to have no closer further on
  const pairs = new Pairs(text);
  let plain = '';
  let at = 0;
  const add = (span) => {
    if (plain) spans.push(plain);
    plain = '';
    spans.push(span);
  };
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const found = SPECIAL.exec(text);
    if (!found || depth > DEEP) {
      plain += text.slice(at);
      break;
    }
    plain += text.slice(at, found.index);
    at = found.index;
    const span = spanAt(text, at, pairs, dead, live, depth);
    if (span) {
      if (typeof span[0] === 'string') plain += span[0];
      else if (span[0]) add(span[0]);
      at = span[1];
    } else {
      plain += text[at];
      at += 1;
    }
  }
  if (plain) spans.push(plain);
  return spans;
}

function spanAt(text, at, pairs, dead, live, depth) {
  const inner = (from, to, open) => parseInline(text.slice(from, to), open, depth + 1);
  switch (text[at]) {
    case '\\':
      if (text[at + 1] === '\n') return [{ type: 'break' }, at + 2];
      return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? '') ? [text[at + 1], at + 2] : null;
    case '\n':
      return / {2}$/.test(text.slice(Math.max(0, at - 2), at)) ? [{ type: 'break' }, at + 1] : ['\n', at + 1];
    case '`': {
      const from = runEnd(text, at);
      const ticks = text.slice(at, from);
      const close = pairs.ticks(from, ticks.length);
      if (close < 0 && !live) return [ticks, from];
      const body = text.slice(from, close < 0 ? undefined : close).replaceAll('\n', ' ');
      const code = body.length > 2 && body[0] === ' ' && body.at(-1) === ' ' && !blank(body) ? body.slice(1, -1) : body;
      return [code && { type: 'code', text: code }, close < 0 ? text.length : close + ticks.length];
    }
    case '*': case '_': case '~': {
      const run = /^(\*+|_+|~+)/.exec(text.slice(at, at + 8))[0];
      const mark = run[0] === '~' ? run.slice(0, 2) : run.slice(0, run.length >= 2 ? 2 : 1);
      const after = text[at + run.length];
      if (run.length > 3 || mark === '~' || (mark[0] === '_' && word(text[at - 1]))) return [run, at + run.length];
      if (after === undefined ? !live : /\s/.test(after)) return [run, at + run.length];
      const close = dead.has(mark) ? -1 : closeMark(text, pairs, at + mark.length, mark);
      if (close < 0) dead.add(mark);
      if (close < 0 && (!live || mark.length < 2)) return [mark, at + mark.length];
      const type = mark === '~~' ? 'strike' : mark.length === 2 ? 'strong' : 'em';
      const spans = inner(at + mark.length, close < 0 ? undefined : close, close < 0);
      return [spans.length ? { type, spans } : null, close < 0 ? text.length : close + mark.length];
    }
    case '!': case '[': {
      const from = text[at] === '!' ? at + 1 : at;
      if (text[from] !== '[') return null;
      const link = linkAt(text, pairs, from, live);
      if (!link) return null;
      const spans = inner(from + 1, link.close, false);
      if (!safe(link.href)) return [{ type: 'span', spans }, link.end];
      return [{ type: 'link', href: link.href, spans: spans.length ? spans : [link.href] }, link.end];
    }
    case '<': {
      const auto = /^<(https?:\/\/[^\s<>]+)>/i.exec(text.slice(at, at + 2048));
      return auto && safe(auto[1]) ? [{ type: 'link', href: auto[1], spans: [auto[1]] }, at + auto[0].length] : null;
    }
    default: {
      if (/\w/.test(text[at - 1] ?? '')) return null;
      BARE.lastIndex = at;
      const url = trimmed(BARE.exec(text)?.[0] ?? '');
      if (!url) return null;
      // What is no address is passed over as a whole: there may be others in it, and others in those.
      return [safe(url) ? { type: 'link', href: url, spans: [url] } : url, at + url.length];
    }
  }
}

/** A bare URL without the punctuation behind it, and without brackets that were opened before it. */
function trimmed(url) {
  let end = url.length;
  while ('.,;:!?*_~'.includes(url[end - 1] ?? ' ')) end -= 1;
  let open = 0;
  for (let at = 0; at < end; at++) open += url[at] === '(' ? 1 : url[at] === ')' ? -1 : 0;
  for (; open < 0 && url[end - 1] === ')'; open++) end -= 1;
  return url.slice(0, end);
}

/** Where brackets and backticks of a text are closed, found once for all of them. */
class Pairs {
  #text;
  #brackets = null; // from each `[` to its `]`
  #runs = null; // by length, where runs of backticks begin
  #lastEnd = null;

  constructor(text) {
    this.#text = text;
  }

  bracket(at) {
    if (!this.#brackets) {
      this.#brackets = new Map();
      const open = [];
      for (const { 0: mark, index } of this.#text.matchAll(/\\[^]|[[\]]/g)) {
        if (mark === '[') open.push(index);
        else if (mark === ']' && open.length) this.#brackets.set(open.pop(), index);
      }
    }
    return this.#brackets.get(at) ?? -1;
  }

  /** The last place at which a link to be written could have ended. */
  get lastEnd() {
    this.#lastEnd ??= Math.max(this.#text.lastIndexOf(')'), this.#text.lastIndexOf('\n'));
    return this.#lastEnd;
  }

  /** The next run of so many backticks. */
  ticks(from, length) {
    if (!this.#runs) {
      this.#runs = new Map();
      for (const { 0: run, index } of this.#text.matchAll(/`+/g)) {
        if (!this.#runs.has(run.length)) this.#runs.set(run.length, []);
        this.#runs.get(run.length).push(index);
      }
    }
    const runs = this.#runs.get(length) ?? [];
    let [low, high] = [0, runs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (runs[middle] < from) low = middle + 1;
      else high = middle;
    }
    return runs[low] ?? -1;
  }
}

function closeMark(text, pairs, from, mark) {
  for (let at = from; at < text.length; at++) {
    const c = text[at];
    if (c === '\\') at += 1;
    else if (c === '`') {
      const end = runEnd(text, at);
      const close = pairs.ticks(end, end - at);
      at = (close < 0 ? end : close + end - at) - 1;
    } else if (c === mark[0]) {
      let end = at;
      while (text[end] === c) end += 1;
      const run = end - at;
      const closes = !/\s/.test(text[at - 1]) && at > from && !(c === '_' && word(text[end]));
      // `**` inside `*…*` belongs to an inner span; of three, the outer takes its own from the end.
      if (closes && (mark.length === 2 ? run >= 2 : run === 1 || run >= 3)) return end - mark.length;
      at = end - 1;
    }
  }
  return -1;
}

function linkAt(text, pairs, from, live) {
  const close = pairs.bracket(from);
  if (close < 0 || text[close + 1] !== '(') return null;
  const target = targetAt(text, close + 2);
  if (target) return { close, ...target };
  // Still to be written.
  return live && pairs.lastEnd < close + 2 ? { close, href: '', end: text.length } : null;
}

/** What stands in the brackets of a link: an address, which may have pairs of brackets in it, and perhaps a title. */
function targetAt(text, from) {
  const space = (at) => {
    while (/\s/.test(text[at] ?? '')) at += 1;
    return at;
  };
  let at = space(from);
  if (text[at] === '<') at += 1;
  const begin = at;
  let inside = false;
  for (; at < text.length && !/[\s<>]/.test(text[at]); at++) {
    if (text[at] === '(') {
      if (inside) return null;
      inside = true;
    } else if (text[at] === ')') {
      if (!inside) break;
      inside = false;
    }
  }
  if (inside) return null;
  const href = text.slice(begin, at);
  if (text[at] === '>') at += 1;
  let end = space(at);
  if (end > at && (text[end] === '"' || text[end] === "'")) {
    const closed = text.indexOf(text[end], end + 1);
    if (closed < 0) return null;
    end = space(closed + 1);
  }
  return text[end] === ')' ? { href, end: end + 1 } : null;
}

function safe(href) {
  try {
    return /^https?:$/.test(new URL(href).protocol) && /^https?:\/\//i.test(href);
  } catch {
    return false;
  }
}
