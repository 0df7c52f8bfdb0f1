// What is shown as Markdown costs no more than it is long: a model, or a page that a model was shown, may write anything.

import assert from 'node:assert/strict';
import test from 'node:test';

import { parseInline } from '../js/inline.js';
import { BlockStream, MarkdownView, parseBlocks } from '../js/markdown.js';

const repeat = (piece) => (n) => piece.repeat(n / piece.length);

const INPUTS = {
  'brackets behind a URL': (n) => 'http://a' + ')'.repeat(n),
  'open brackets in a URL': (n) => 'http://a' + '('.repeat(n),
  'both brackets in a URL': (n) => 'http://a' + '('.repeat(n / 2) + ')'.repeat(n),
  'points behind a URL': (n) => 'http://a' + '.'.repeat(n) + 'x',
  'a URL in a word': (n) => 'a' + 'http://a'.repeat(n / 8),
  'a URL that is none': (n) => 'http://%[http://'.repeat(n / 16),
  'a heading and spaces': (n) => '#' + ' '.repeat(n) + 'x' + ' '.repeat(n) + 'y',
  'a heading and marks': (n) => '# x' + ' #'.repeat(n / 2) + 'y',
  'a heading, spaces and marks': (n) => '# a ' + ' '.repeat(n) + '#'.repeat(n) + 'z',
  'headings': repeat('# a #\n'),
  'quotes in quotes': repeat('> '),
  'quoted lines': repeat('> a\n'),
  'lists in lists': repeat('- '),
  'numbered lists in lists': repeat('1. '),
  'a list of deeper lists': (n) => Array.from({ length: Math.sqrt(n) }, (_, i) => ' '.repeat(2 * i) + '- a').join('\n'),
  'a list': repeat('- a\n'),
  'a list with gaps': repeat('- a\n\n'),
  'a lazy list': (n) => '- a\n' + 'b\n'.repeat(n / 2),
  'tasks': repeat('- [x] a\n'),
  'a table': (n) => '|a|b|\n|-|-|\n' + '|1|2|\n'.repeat(n / 6),
  'a wide table': (n) => '|a'.repeat(n / 2) + '\n' + '|-'.repeat(n / 2) + '\n' + '|b'.repeat(n / 2),
  'bars': repeat('|'),
  'lines of bars': repeat('|\n'),
  'escaped bars': (n) => '\\|'.repeat(n / 2) + '\n|-|',
  'a delimiter row that is none': (n) => 'a|b\n' + '-'.repeat(n) + ' '.repeat(n) + 'x',
  'spaces for a delimiter row': (n) => 'a|b\n' + ' '.repeat(n) + 'x',
  'an underline that is none': (n) => 'a\n' + '='.repeat(n) + ' '.repeat(n) + 'x',
  'a rule that is none': (n) => '- '.repeat(n / 2) + 'x',
  'a fence and spaces': (n) => '```' + ' '.repeat(n) + 'x`',
  'a fence and words': (n) => '```' + ' a'.repeat(n / 2) + '`',
  'a long fence': (n) => '~'.repeat(n) + 'x`\n' + '`'.repeat(n) + '\na\n' + '`'.repeat(n) + 'x',
  'fences': repeat('```\n'),
  'a code span and spaces': (n) => '` ' + 'a'.repeat(n) + '`',
  'runs of backticks of all lengths': (n) => '*' + Array.from({ length: Math.sqrt(2 * n) }, (_, i) => '`'.repeat(i + 1)).join(' '),
  'indented lines': repeat('    a\n'),
  'tabs': repeat('\t'),
  'spaces and ends of lines': repeat('  \n'),
  'ends of lines': repeat('\r\n'),
  'references': repeat('[^1]: a\n'),
  'brackets and as many links': (n) => '['.repeat(n / 5) + '](a)'.repeat(n / 5),
  'brackets and as many ends': (n) => '['.repeat(n / 2) + ']'.repeat(n / 2),
  'a link and open brackets': (n) => '[a](' + '('.repeat(n),
  'a link and pairs': (n) => '[a](' + '(a)'.repeat(n / 3),
  'a link and spaces': (n) => '[a](b' + ' '.repeat(n) + 'c',
  'an address in angle brackets': (n) => '<http://' + 'a'.repeat(n),
};
for (const piece of ['[', '![', '![](', '[]', '*', '**', '_', '`', '~', '<', '\\', '\\*', '*a ', '**a', '**a**', '***a ', '_a_', '__a', 'a*b', '~~a',
  '~~a b~', '`` `', '*`', '*a``b`', '**a *b ', '*a **b `c', '*a_b~~c', '*_`[~', '[a](http://b.c) ', '[a](http://b', '[a](', '[a](b "', "[a](b '",
  '[^1]', '<http://', 'http://a ', 'http://a)', 'http://a(', '中文http://a', '**中文**，', 'a', 'word ', ' ', '1', '!']) {
  INPUTS[`'${piece}' again and again`] = repeat(piece);
}

function whole(text) {
  const inline = (text) => parseInline(text);
  const walk = (block) => {
    if (block.type !== 'code' && block.text) inline(block.text);
    block.blocks?.forEach(walk);
    block.items?.forEach((item) => item.blocks.forEach(walk));
    block.head?.forEach(inline);
    block.rows?.forEach((row) => row.forEach(inline));
  };
  parseBlocks(text).forEach(walk);
}

const WAYS = {
  blocks: whole,
  inline: (text) => parseInline(text),
  'inline, growing': (text) => parseInline(text, true),
  pieces(text) {
    const stream = new BlockStream();
    for (let at = 0; at < text.length; at += 7) stream.push(text.slice(at, at + 7));
    stream.end();
  },
};

function least(runs, f) {
  let least = Infinity;
  for (let i = 0; i < runs; i++) {
    const begin = process.cpuUsage();
    f();
    const { user, system } = process.cpuUsage(begin);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

/** The ratio of costs at n and 4n. Measured anew where it is too large, since other programs have the processor too; what is quadratic always is. */
function ratio(f, input) {
  const n = 6000;
  const [short, long] = [input(n), input(4 * n)];
  let best = Infinity;
  for (let attempt = 0; attempt < 20 && best >= 6; attempt++) {
    // Below half a millisecond one measures the clock.
    best = Math.min(best, Math.max(least(2, () => f(long)), 0.5) / Math.max(least(2, () => f(short)), 0.5));
  }
  return best;
}

for (const [name, input] of Object.entries(INPUTS)) {
  test(`four times the text costs four times as much: ${name}`, () => {
    for (const [way, f] of Object.entries(WAYS)) {
      const found = ratio(f, input);
      assert.ok(found < 6, `${way}: ${found.toFixed(1)}`);
    }
  });
}

// A generator with a seed (mulberry32), so that what fails once fails again.
function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ATOMS = ['*', '**', '_', '__', '`', '``', '```', '~', '~~', '[', ']', '(', ')', '](', '![', '<', '>', '\\', '|', '#', '-', '+', '=', ':', '"', "'",
  '!', '\n', '\n\n', ' ', '  ', '    ', '\t', 'a', '字', 'http://a', 'https://', '1. ', '- ', '> ', '- [x] ', '|-|', '\r', '\u00a0', '\ud800'];

test('random texts of what Markdown takes for marks cost no more than plain ones, and are whole', () => {
  const random = numbers(20261129);
  const pick = () => ATOMS[Math.floor(random() * ATOMS.length)];
  const end = performance.now() + 4000;
  for (let round = 0; round < 400 && performance.now() < end; round++) {
    // Few atoms that come again, as in texts made to hurt, or many different ones.
    const few = Array.from({ length: 1 + Math.floor(random() * 4) }, pick);
    const piece = random() < 0.7 ? () => few[Math.floor(random() * few.length)] : pick;
    const text = Array.from({ length: 12_000 }, piece).join('');
    for (const [way, f] of Object.entries(WAYS)) {
      let cost = Infinity;
      for (let attempt = 0; attempt < 4 && cost > 250; attempt++) cost = least(1, () => f(text));
      assert.ok(cost <= 250, `${way}: ${cost} ms for ${JSON.stringify(text.slice(0, 80))}`);
    }
    const short = text.slice(0, 200);
    const stream = new BlockStream();
    const blocks = [...short].flatMap((letter) => { const sealed = stream.push(letter); stream.tail(); return sealed; });
    assert.deepEqual([...blocks, ...stream.end()], parseBlocks(short), JSON.stringify(short));
  }
});

// As much of a document as the view needs, which counts what is made.
function fakeDocument() {
  const made = { nodes: 0 };
  class Node {
    children = [];
    dataset = {};
    constructor(data) {
      made.nodes += 1;
      this.data = data;
    }
    get firstChild() { return this.children[0]; }
    get lastChild() { return this.children.at(-1); }
    append(...more) { this.children.push(...more); }
    appendData(more) { this.data += more; }
    remove() {}
    replaceChildren() { this.children = []; }
    querySelector() { return this.children[1].children[0]; }
  }
  return { made, createElement: () => new Node(), createTextNode: (data) => new Node(data) };
}

for (const [name, line] of [['list', '- item\n'], ['paragraph', 'many *words* in a line\n'], ['line', 'many *words* in a line '], ['quote', '> quoted\n'], ['table', '| a | b |\n']]) {
  test(`a ${name} that grows by small pieces is not made anew for each of them`, () => {
    const made = (pieces) => {
      globalThis.document = fakeDocument();
      const view = new MarkdownView(document.createElement('div'));
      let text = name === 'table' ? '|a|b|\n|-|-|\n' : '';
      for (let i = 0; i < pieces; i++) view.show((text += line.repeat(50)));
      view.show(text, true);
      return document.made.nodes;
    };
    // Below 6,000 characters each addition parses the block; the cost of that does not grow with the text.
    const [short, long] = [made(60), made(240)];
    assert.ok(long < 6 * short, `${short} ${long}`);
  });
}

test('a list has room for as many items as there are', () => {
  globalThis.document = fakeDocument();
  const view = new MarkdownView(document.createElement('div'));
  view.show('- a\n'.repeat(150_000), true);
  view.show('***\n'.repeat(150_000), true);
});
