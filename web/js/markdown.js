// Markdown to blocks to DOM nodes, for text that is still growing: a block that has ended is sealed and never touched again.
// No HTML is interpreted, no image is fetched, and only http(s) links become links.

const FENCE = /^( *)(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:( +)(.*)|$)/;
const DELIMITERS = /^ *\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const DEEP = 12; // nesting beyond this is shown as it was written

const blank = (line) => line.trim() === '';
const indentOf = (line) => line.length - line.trimStart().length;
const starts = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);
const startsItem = (line) => {
  const item = ITEM.exec(line);
  return item && item[4] && (!/\d/.test(item[2]) || parseInt(item[2], 10) === 1);
};
const expand = (line) => line.replace(/^[ \t]+/, (space) => space.replaceAll('\t', '    '));

/** Cuts lines into top-level pieces. Feeding lines one by one or all at once gives the same pieces. */
class Splitter {
  pieces = []; // finished: {kind, lines}
  open = null;

  line(line) {
    const open = this.open;
    if (open?.kind === 'code') {
      open.lines.push(line);
      if (new RegExp(`^ {0,3}\\${open.mark[0]}{${open.mark.length},}\\s*$`).test(line)) this.seal();
      return;
    }
    if (open?.kind === 'list' && this.#list(open, line)) return;
    if (blank(line)) {
      if (open?.kind !== 'list') this.seal();
      return;
    }
    if (open?.kind === 'list') this.seal();
    if (open?.kind === 'quote' && (QUOTE.test(line) || (!starts(line) && !startsItem(line)))) return void open.lines.push(line);
    if (open?.kind === 'table' && line.includes('|') && !starts(line)) return void open.lines.push(line);
    if (open?.kind === 'para' && this.#para(open, line)) return;
    this.seal();
    const fence = FENCE.exec(line);
    if (fence) this.open = { kind: 'code', mark: fence[2], lines: [line] };
    else if (HEADING.test(line)) this.#whole('heading', line);
    else if (RULE.test(line)) this.#whole('rule', line);
    else if (QUOTE.test(line)) this.open = { kind: 'quote', lines: [line] };
    else if (ITEM.test(line)) this.open = { kind: 'list', lines: [line], ...shape(line) };
    else this.open = { kind: 'para', lines: [line] };
  }

  #list(list, line) {
    const last = list.lines.at(-1);
    const inside = indentOf(line) - list.base >= 2;
    const item = ITEM.exec(line);
    const sibling = item && !inside && markOf(item) === list.mark && !RULE.test(line);
    const lazy = !blank(last) && !starts(line) && !item;
    if (!blank(line) && !inside && !sibling && !lazy) return false;
    list.lines.push(line);
    return true;
  }

  #para(para, line) {
    if (/^ {0,3}(=+|-{2,})\s*$/.test(line)) {
      para.lines.push(line);
      para.kind = 'setext';
      this.seal();
      return true;
    }
    const head = para.lines.at(-1);
    if (head.includes('|') && DELIMITERS.test(line) && cells(head).length === cells(line).length) {
      para.lines.pop();
      if (para.lines.length) this.seal();
      this.open = { kind: 'table', lines: [head, line] };
      return true;
    }
    if (starts(line) || startsItem(line)) return false;
    para.lines.push(line);
    return true;
  }

  #whole(kind, line) {
    this.open = { kind, lines: [line] };
    this.seal();
  }

  seal() {
    if (this.open) this.pieces.push(this.open);
    this.open = null;
  }
}

const markOf = (item) => (/\d/.test(item[2]) ? item[2].at(-1) : item[2]);
const shape = (line) => {
  const item = ITEM.exec(line);
  return { base: item[1].length, mark: markOf(item) };
};

function cells(row) {
  const text = row.trim().replace(/^\|/, '').replace(/\|$/, (end, at, all) => (all[at - 1] === '\\' ? end : ''));
  return text.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

function block(piece, depth, live) {
  const { kind, lines } = piece;
  if (depth > DEEP) return { type: 'paragraph', text: lines.join('\n') };
  switch (kind) {
    case 'code': {
      const [, indent, mark, info] = FENCE.exec(lines[0]);
      const last = lines.length > 1 && new RegExp(`^ {0,3}\\${mark[0]}{${mark.length},}\\s*$`).test(lines.at(-1));
      const body = lines.slice(1, last ? -1 : undefined).map((line) => line.slice(Math.min(indent.length, indentOf(line))));
      return { type: 'code', language: info.trim().split(/\s+/)[0], text: body.join('\n'), closed: last };
    }
    case 'heading': {
      const [, marks, text] = HEADING.exec(lines[0]);
      return { type: 'heading', level: marks.length, text: text ?? '' };
    }
    case 'setext':
      return { type: 'heading', level: lines.at(-1).trim()[0] === '=' ? 1 : 2, text: lines.slice(0, -1).join('\n') };
    case 'rule':
      return { type: 'rule' };
    case 'quote':
      return { type: 'quote', blocks: parse(lines.map((line) => QUOTE.exec(line)?.[1] ?? line).join('\n'), depth + 1, live) };
    case 'table': {
      const align = cells(lines[1] ?? '').map((d) => (/^:-+:$/.test(d) ? 'center' : /-:$/.test(d) ? 'right' : ''));
      return { type: 'table', align, head: cells(lines[0]), rows: lines.slice(2).map(cells) };
    }
    case 'list':
      return listOf(piece, depth, live);
    default:
      return { type: 'paragraph', text: lines.map((line) => line.trimStart()).join('\n') };
  }
}

function listOf({ lines, base, mark }, depth, live) {
  const items = [];
  let width = 2;
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length - base < 2 && markOf(item) === mark) {
      width = item[1].length + item[2].length + Math.min(item[3]?.length || 1, 4);
      items.push([item[4] ?? '']);
    } else items.at(-1).push(line.slice(Math.min(width, indentOf(line))));
  }
  const ordered = /[.)]/.test(mark);
  return {
    type: 'list', ordered, start: ordered ? parseInt(lines[0], 10) : 1,
    items: items.map((item) => {
      const task = /^\[([ xX])\]\s+/.exec(item[0]);
      if (task) item[0] = item[0].slice(task[0].length);
      return { done: task ? task[1] !== ' ' : null, blocks: parse(item.join('\n'), depth + 1, live) };
    }),
  };
}

function parse(text, depth, live) {
  const splitter = new Splitter();
  for (const line of text.split('\n')) splitter.line(expand(line));
  if (live) guess(splitter);
  splitter.seal();
  return splitter.pieces.map((piece, i, all) => block(piece, depth, live && i === all.length - 1));
}

/** A header row alone is not yet a table; showing it as one saves the reader a jump. */
function guess({ open }) {
  if (open?.kind === 'para' && open.lines.length <= 2 && /^ *\|.*\S/.test(open.lines[0]) && /^[|:\- ]*$/.test(open.lines[1] ?? '')) {
    open.kind = 'table';
  }
}

const normal = (text) => text.replace(/\r\n?/g, '\n');

/** All blocks of a whole text. */
export const parseBlocks = (text) => parse(normal(text), 0, false);

/** Blocks of a growing text: push() gives those that are now sealed; tail() those that may still change. */
export class BlockStream {
  #splitter = new Splitter();
  #rest = '';

  push(text) {
    this.#rest += text;
    // A CR at the end may be half of a CRLF, so it waits.
    const whole = this.#rest.endsWith('\r') ? this.#rest.slice(0, -1) : this.#rest;
    const lines = normal(whole).split('\n');
    this.#rest = lines.pop() + this.#rest.slice(whole.length);
    for (const line of lines) this.#splitter.line(expand(line));
    return this.#take();
  }

  end() {
    for (const line of normal(this.#rest).split('\n')) this.#splitter.line(expand(line));
    this.#rest = '';
    this.#splitter.seal();
    return this.#take();
  }

  tail() {
    const open = this.#splitter.open?.lines ?? [];
    return parse([...open, this.#rest.replace(/\r$/, '')].join('\n'), 0, true);
  }

  #take() {
    return this.#splitter.pieces.splice(0).map((piece) => block(piece, 0, false));
  }
}

// Inline text: spans are strings or {type, ...}. Emphasis is more lenient than CommonMark's, which fails beside CJK punctuation.

const SPECIAL = /[\\`*_~[!<\n]|https?:\/\//g;
const BARE = /https?:\/\/[^\s<>"'`\u2e80-\uffef]+/y; // CJK text goes on right behind a URL
const word = (c) => c !== undefined && /[\p{L}\p{N}_]/u.test(c);

export function parseInline(text, live = false, depth = 0) {
  const spans = [];
  const dead = new Set(); // delimiters known to have no closer further on
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
    const span = spanAt(text, at, dead, live, depth);
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

function spanAt(text, at, dead, live, depth) {
  const inner = (from, to, open) => parseInline(text.slice(from, to), open, depth + 1);
  switch (text[at]) {
    case '\\':
      if (text[at + 1] === '\n') return [{ type: 'break' }, at + 2];
      return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? '') ? [text[at + 1], at + 2] : null;
    case '\n':
      return / {2}$/.test(text.slice(Math.max(0, at - 2), at)) ? [{ type: 'break' }, at + 1] : ['\n', at + 1];
    case '`': {
      const ticks = /^`+/.exec(text.slice(at, at + 64))[0];
      const close = dead.has(ticks) ? -1 : closeTicks(text, at + ticks.length, ticks);
      if (close < 0) dead.add(ticks);
      if (close < 0 && !live) return [ticks, at + ticks.length];
      const body = text.slice(at + ticks.length, close < 0 ? undefined : close).replaceAll('\n', ' ');
      const code = /^ .*[^ ].* $/.test(body) ? body.slice(1, -1) : body;
      return [code && { type: 'code', text: code }, close < 0 ? text.length : close + ticks.length];
    }
    case '*': case '_': case '~': {
      const run = /^(\*+|_+|~+)/.exec(text.slice(at, at + 8))[0];
      const mark = run[0] === '~' ? run.slice(0, 2) : run.slice(0, run.length >= 2 ? 2 : 1);
      const after = text[at + run.length];
      if (run.length > 3 || mark === '~' || (mark[0] === '_' && word(text[at - 1]))) return [run, at + run.length];
      if (after === undefined ? !live : /\s/.test(after)) return [run, at + run.length];
      const close = dead.has(mark) ? -1 : closeMark(text, at + mark.length, mark);
      if (close < 0) dead.add(mark);
      if (close < 0 && (!live || mark.length < 2)) return [mark, at + mark.length];
      const type = mark === '~~' ? 'strike' : mark.length === 2 ? 'strong' : 'em';
      const spans = inner(at + mark.length, close < 0 ? undefined : close, close < 0);
      return [spans.length ? { type, spans } : null, close < 0 ? text.length : close + mark.length];
    }
    case '!': case '[': {
      const from = text[at] === '!' ? at + 1 : at;
      if (text[from] !== '[') return null;
      const link = linkAt(text, from, live);
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
      BARE.lastIndex = at;
      let url = BARE.exec(text)?.[0];
      if (!url || /\w/.test(text[at - 1] ?? '')) return null;
      url = url.replace(/[.,;:!?*_~]+$/, '');
      while (url.endsWith(')') && url.split(')').length > url.split('(').length) url = url.slice(0, -1);
      return safe(url) ? [{ type: 'link', href: url, spans: [url] }, at + url.length] : null;
    }
  }
}

function closeTicks(text, from, ticks) {
  for (const run of text.slice(from).matchAll(/`+/g)) if (run[0].length === ticks.length) return from + run.index;
  return -1;
}

function closeMark(text, from, mark) {
  for (let at = from; at < text.length; at++) {
    const c = text[at];
    if (c === '\\') at += 1;
    else if (c === '`') {
      const ticks = /^`+/.exec(text.slice(at, at + 64))[0];
      const close = closeTicks(text, at + ticks.length, ticks);
      at = (close < 0 ? at : close) + ticks.length - 1;
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

function linkAt(text, from, live) {
  let deep = 0;
  const end = Math.min(text.length, from + 2048); // longer link texts are not links
  for (let at = from; at < end; at++) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '[') deep += 1;
    else if (text[at] === ']' && --deep === 0) {
      if (text[at + 1] !== '(') return null;
      const target = /^\(\s*<?((?:[^\s()<>]|\([^\s()]*\))*)>?(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/.exec(text.slice(at + 1, at + 2048));
      if (target) return { close: at, href: target[1], end: at + 1 + target[0].length };
      return live && !/[)\n]/.test(text.slice(at + 2)) ? { close: at, href: '', end: text.length } : null;
    }
  }
  return null;
}

function safe(href) {
  try {
    return /^https?:$/.test(new URL(href).protocol) && /^https?:\/\//i.test(href);
  } catch {
    return false;
  }
}

// Blocks to nodes.

function element(name, props, ...children) {
  const node = document.createElement(name);
  Object.assign(node, props);
  node.append(...children);
  return node;
}

const SPANS = { strong: 'strong', em: 'em', strike: 'del', span: 'span' };

function inline(text, live) {
  return nodes(parseInline(text, live));
}

function nodes(spans) {
  return spans.map((span) => {
    if (typeof span === 'string') return span;
    if (span.type === 'break') return document.createElement('br');
    if (span.type === 'code') return element('code', { textContent: span.text });
    if (span.type === 'link') {
      return element('a', { href: span.href, target: '_blank', rel: 'noopener noreferrer' }, ...nodes(span.spans));
    }
    return element(SPANS[span.type], {}, ...nodes(span.spans));
  });
}

function render(b, live = false) {
  switch (b.type) {
    case 'heading':
      return element(`h${Math.min(6, b.level + 2)}`, { className: `h${b.level}` }, ...inline(b.text, live));
    case 'rule':
      return element('hr');
    case 'quote':
      return element('blockquote', {}, ...b.blocks.map((x) => render(x, live)));
    case 'code': {
      const bar = element('div', { className: 'code-bar' }, element('span', { textContent: b.language || 'text' }));
      bar.append(element('button', { type: 'button', className: 'copy' }));
      bar.lastChild.dataset.copy = 'code';
      const pre = element('pre', { tabIndex: 0 }, element('code', {}, document.createTextNode(b.text)));
      return element('figure', { className: 'code' }, bar, pre);
    }
    case 'table': {
      const row = (name, cells) => element('tr', {}, ...b.head.map((_, i) => element(
        name, { className: b.align[i] ? `to-${b.align[i]}` : '' }, ...inline(cells[i] ?? '', live))));
      const table = element('table', {}, element('thead', {}, row('th', b.head)), element('tbody', {}, ...b.rows.map((r) => row('td', r))));
      return element('div', { className: 'table', tabIndex: 0 }, table);
    }
    case 'list':
      return element(b.ordered ? 'ol' : 'ul', b.ordered && b.start !== 1 ? { start: b.start } : {}, ...b.items.map((item) => {
        const li = element('li');
        if (item.done !== null) li.append(element('input', { type: 'checkbox', checked: item.done, disabled: true }), ' ');
        for (const [i, x] of item.blocks.entries()) {
          if (i === 0 && x.type === 'paragraph') li.append(...inline(x.text, live));
          else li.append(render(x, live));
        }
        return li;
      }));
    default:
      return element('p', {}, ...inline(b.text, live));
  }
}

/** Shows a growing text in `root`. show() may be called as often as one likes; it costs what is new and the tail. */
export class MarkdownView {
  #stream = new BlockStream();
  #shown = '';
  #tail = []; // nodes that may still change
  #code = null; // an open fence, which only grows: {node, language}

  constructor(root) {
    this.root = root;
  }

  show(text, ended = false) {
    if (!text.startsWith(this.#shown)) this.#reset();
    const sealed = this.#stream.push(text.slice(this.#shown.length));
    this.#shown = text;
    if (ended) sealed.push(...this.#stream.end());
    const tail = ended ? [] : this.#stream.tail();
    if (!sealed.length && tail.length === 1 && tail[0].type === 'code' && this.#code?.language === tail[0].language
        && tail[0].text.startsWith(this.#code.node.data)) {
      this.#code.node.appendData(tail[0].text.slice(this.#code.node.data.length));
      return;
    }
    for (const node of this.#tail) node.remove();
    this.root.append(...sealed.map((b) => render(b)));
    this.#tail = tail.map((b, i) => render(b, i === tail.length - 1));
    this.root.append(...this.#tail);
    const open = tail.length === 1 && tail[0].type === 'code' && !tail[0].closed;
    this.#code = open ? { node: this.#tail[0].querySelector('code').firstChild, language: tail[0].language } : null;
  }

  #reset() {
    this.root.replaceChildren();
    this.#stream = new BlockStream();
    this.#shown = '';
    this.#tail = [];
    this.#code = null;
  }
}
