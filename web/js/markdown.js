// Markdown to blocks to DOM nodes, for text that is still growing: a block that has ended is sealed and never touched again.
// No HTML is interpreted, no image is fetched, and only http(s) links become links.
//
// Everything here is linear in the text: what could be read in more than one way is read by hand and not by an expression.

import { parseInline } from './inline.js';
import { blank, DEEP, runEnd } from './text.js';

const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:( +)(.*)|$)/;
const WIDE = 64; // rows of wider tables are not filled up: rows times columns would not be linear

const indentOf = (line) => line.length - line.trimStart().length;
const starts = (line) => fenceOf(line) || headingOf(line) || RULE.test(line) || QUOTE.test(line);
const startsItem = (line) => {
  const item = ITEM.exec(line);
  return item && item[4] && (!/\d/.test(item[2]) || parseInt(item[2], 10) === 1);
};

/** The opening line of a fence: {indent, mark, info}. */
function fenceOf(line) {
  const indent = indentOf(line);
  if (line[indent] !== '`' && line[indent] !== '~') return null;
  const end = runEnd(line, indent);
  if (end - indent < 3 || line.includes('`', end)) return null;
  return { indent, mark: line.slice(indent, end), info: line.slice(end).trim() };
}

function closesFence(line, mark) {
  const at = indentOf(line);
  if (at > 3 || line[at] !== mark[0]) return false;
  const end = runEnd(line, at);
  return end - at >= mark.length && blank(line.slice(end));
}

/** A heading with its closing marks taken off: {level, text}. */
function headingOf(line) {
  const open = /^ {0,3}(#{1,6})(?=\s|$)/.exec(line);
  if (!open) return null;
  const text = line.slice(open[0].length).trim();
  let end = text.length;
  while (text[end - 1] === '#') end -= 1;
  const closed = end === 0 || (end < text.length && /\s/.test(text[end - 1]));
  return { level: open[1].length, text: closed ? text.slice(0, end).trimEnd() : text };
}

/** The line below the head of a table. */
function delimits(line) {
  const text = line.trim().replace(/^\|/, '').replace(/\|$/, '');
  return text.split('|').every((cell) => /^:?-+:?$/.test(cell.trim()));
}

const expand = (line) => line.replace(/^[ \t]+/, (space) => space.replaceAll('\t', '    '));

/** Cuts lines into top-level pieces. Feeding lines one by one or all at once gives the same pieces. */
class Splitter {
  pieces = []; // finished: {kind, lines}
  open = null;

  line(line) {
    const open = this.open;
    if (open?.kind === 'code') {
      open.lines.push(line);
      if (closesFence(line, open.mark)) this.seal();
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
    const fence = fenceOf(line);
    if (fence) this.open = { kind: 'code', mark: fence.mark, lines: [line] };
    else if (headingOf(line)) this.#whole('heading', line);
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
    if (head.includes('|') && delimits(line) && cells(head).length === cells(line).length) {
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
      const { indent, mark, info } = fenceOf(lines[0]);
      const last = lines.length > 1 && closesFence(lines.at(-1), mark);
      const body = lines.slice(1, last ? -1 : undefined).map((line) => line.slice(Math.min(indent, indentOf(line))));
      return { type: 'code', language: info.split(/\s/, 1)[0], text: body.join('\n'), closed: last };
    }
    case 'heading':
      return { type: 'heading', ...headingOf(lines[0]) };
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

const LARGE = 6_000; // an open block above this many characters is not parsed anew for each of them

const normal = (text) => text.replace(/\r\n?/g, '\n');

/** All blocks of a whole text. */
export const parseBlocks = (text) => parse(normal(text), 0, false);

/** Blocks of a growing text: push() gives those that are now sealed; tail() those that may still change. */
export class BlockStream {
  #splitter = new Splitter();
  #rest = '';
  #afterReturn = false; // whether the last piece ended with a CR
  #size = 0; // characters of the open block, about

  /** Whether the open block is large, and not code, of which only the end is new. */
  get isLarge() {
    return this.#size > LARGE && this.#splitter.open?.kind !== 'code';
  }

  get size() {
    return this.#size;
  }

  push(text) {
    this.#rest += text;
    this.#size += text.length;
    // A long line may come in many pieces: it is looked at when it has ended.
    const begins = this.#afterReturn;
    if (text) this.#afterReturn = text.endsWith('\r');
    if (!begins && !/[\r\n]/.test(text)) return [];
    // A CR at the end may be half of a CRLF, so it waits.
    const whole = this.#rest.endsWith('\r') ? this.#rest.slice(0, -1) : this.#rest;
    const lines = normal(whole).split('\n');
    this.#rest = lines.pop() + this.#rest.slice(whole.length);
    for (const line of lines) this.#splitter.line(expand(line));
    if (this.#splitter.pieces.length) {
      const open = this.#splitter.open?.lines ?? [];
      this.#size = open.reduce((sum, line) => sum + line.length + 1, this.#rest.length);
    }
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

// Blocks to nodes.

/** One by one: a call has no room for the items of a very long list. */
function filled(node, children) {
  for (const child of children) node.append(child);
  return node;
}

function element(name, props, ...children) {
  const node = document.createElement(name);
  Object.assign(node, props);
  return filled(node, children.flat());
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
      return element('a', { href: span.href, target: '_blank', rel: 'noopener noreferrer' }, nodes(span.spans));
    }
    return element(SPANS[span.type], {}, nodes(span.spans));
  });
}

function render(b, live = false) {
  switch (b.type) {
    case 'heading':
      return element(`h${Math.min(6, b.level + 2)}`, { className: `h${b.level}` }, inline(b.text, live));
    case 'rule':
      return element('hr');
    case 'quote':
      return element('blockquote', {}, b.blocks.map((x) => render(x, live)));
    case 'code': {
      const bar = element('div', { className: 'code-bar' }, element('span', { textContent: b.language || 'text' }));
      bar.append(element('button', { type: 'button', className: 'copy' }));
      bar.lastChild.dataset.copy = 'code';
      const pre = element('pre', { tabIndex: 0 }, element('code', {}, document.createTextNode(b.text)));
      return element('figure', { className: 'code' }, bar, pre);
    }
    case 'table': {
      const columns = (cells) => (b.head.length > WIDE ? cells.slice(0, b.head.length) : b.head.map((_, i) => cells[i] ?? ''));
      const row = (name, cells) => element('tr', {}, columns(cells).map((cell, i) => element(
        name, { className: b.align[i] ? `to-${b.align[i]}` : '' }, inline(cell, live))));
      const table = element('table', {}, element('thead', {}, row('th', b.head)), element('tbody', {}, b.rows.map((r) => row('td', r))));
      return element('div', { className: 'table', tabIndex: 0 }, table);
    }
    case 'list':
      return element(b.ordered ? 'ol' : 'ul', b.ordered && b.start !== 1 ? { start: b.start } : {}, b.items.map((item) => {
        const li = element('li');
        if (item.done !== null) li.append(element('input', { type: 'checkbox', checked: item.done, disabled: true }), ' ');
        for (const [i, x] of item.blocks.entries()) {
          if (i === 0 && x.type === 'paragraph') filled(li, inline(x.text, live));
          else li.append(render(x, live));
        }
        return li;
      }));
    default:
      return element('p', {}, inline(b.text, live));
  }
}

/** Shows a growing text in `root`. show() may be called as often as one likes; it costs what is new and the tail. */
export class MarkdownView {
  #stream = new BlockStream();
  #shown = '';
  #tail = []; // nodes that may still change
  #code = null; // an open fence, which only grows: {node, language}
  #parsed = 0; // how large the open block was when it was last parsed
  #more = null; // what has come since, as plain text

  constructor(root) {
    this.root = root;
  }

  show(text, ended = false) {
    if (!text.startsWith(this.#shown)) this.#reset();
    const added = text.slice(this.#shown.length);
    const sealed = this.#stream.push(added);
    this.#shown = text;
    // Parsing all of a large block again for each addition would not be linear; for each eighth that it grows by, it is.
    if (!ended && !sealed.length && this.#stream.isLarge && this.#stream.size < this.#parsed * 1.125) {
      if (!this.#more) {
        this.#more = document.createTextNode('');
        this.#tail.push(this.#more);
        this.root.append(this.#more);
      }
      this.#more.appendData(added);
      return;
    }
    this.#parsed = this.#stream.size;
    this.#more = null;
    if (ended) for (const last of this.#stream.end()) sealed.push(last);
    const tail = ended ? [] : this.#stream.tail();
    if (!sealed.length && tail.length === 1 && tail[0].type === 'code' && this.#code?.language === tail[0].language
        && tail[0].text.startsWith(this.#code.node.data)) {
      this.#code.node.appendData(tail[0].text.slice(this.#code.node.data.length));
      return;
    }
    for (const node of this.#tail) node.remove();
    filled(this.root, sealed.map((b) => render(b)));
    this.#tail = tail.map((b, i) => render(b, i === tail.length - 1));
    filled(this.root, this.#tail);
    const open = tail.length === 1 && tail[0].type === 'code' && !tail[0].closed;
    this.#code = open ? { node: this.#tail[0].querySelector('code').firstChild, language: tail[0].language } : null;
  }

  #reset() {
    this.root.replaceChildren();
    this.#stream = new BlockStream();
    this.#shown = '';
    this.#tail = [];
    this.#code = null;
    this.#parsed = 0;
    this.#more = null;
  }
}
