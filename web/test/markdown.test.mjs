// Blocks sealed while the text grows are the blocks of the whole text; nothing in a text becomes markup that acts.

import assert from 'node:assert/strict';
import test from 'node:test';

import { EN, ZH } from '../js/i18n.js';
import { parseInline } from '../js/inline.js';
import { BlockStream, parseBlocks } from '../js/markdown.js';

const TEXT = `# Weir 堰

A para with **bold**,
two lines | and a bar
- a list right after
  continued
  - nested

    a second paragraph
- [x] done

after the list
| a | b |
|---|:-:|
| 1 | \`x\\|y\` |

1. one
   \`\`\`js
   # not a heading

   let x = 1;
   \`\`\`
2. two

> quoted
lazy
> - item

Setext
---

***

\`\`\`\`md
\`\`\`
inner

\`\`\`
\`\`\`\`
~~~
open to the end
# still code`;

function grown(pieces) {
  const stream = new BlockStream();
  const blocks = pieces.flatMap((piece) => {
    const sealed = stream.push(piece);
    stream.tail();
    return sealed;
  });
  return [...blocks, ...stream.end()];
}

for (const [name, end] of [['LF', '\n'], ['CRLF', '\r\n']]) {
  test(`every split of ${name} text seals the blocks of the whole text`, () => {
    const text = TEXT.replaceAll('\n', end);
    const whole = parseBlocks(text);
    assert.deepEqual(whole, parseBlocks(TEXT));
    assert.deepEqual(grown([...text]), whole);
    for (let at = 0; at <= text.length; at++) assert.deepEqual(grown([text.slice(0, at), text.slice(at)]), whole, `at ${at}`);
  });
}

test('the kinds of block', () => {
  assert.deepEqual(parseBlocks(TEXT).map((b) => b.type), [
    'heading', 'paragraph', 'list', 'paragraph', 'table', 'list', 'quote', 'heading', 'rule', 'code', 'code',
  ]);
  const [, , list, , table, ordered, , , , fence, open] = parseBlocks(TEXT);
  assert.equal(list.items.length, 2);
  assert.equal(list.items[1].done, true);
  assert.deepEqual(list.items[0].blocks.map((b) => b.type), ['paragraph', 'list']);
  assert.deepEqual(table.rows, [['1', '`x|y`']]);
  assert.equal(ordered.items[0].blocks[1].text, '# not a heading\n\nlet x = 1;');
  assert.equal(fence.text, '```\ninner\n\n```');
  assert.equal(open.closed, false);
});

test('sealed text is not held: the tail is only the open block', () => {
  const stream = new BlockStream();
  assert.equal(stream.push('one\n\ntwo\n\nthr').length, 2);
  assert.deepEqual(stream.tail(), [{ type: 'paragraph', text: 'thr' }]);
});

const strong = (...spans) => ({ type: 'strong', spans });
const em = (...spans) => ({ type: 'em', spans });
const link = (href, ...spans) => ({ type: 'link', href, spans });

for (const [text, expected] of [
  ['a **b** c', ['a ', strong('b'), ' c']],
  ['**加粗：**文字', [strong('加粗：'), '文字']],
  ['中文*斜体*。', ['中文', em('斜体'), '。']],
  ['***both***', [strong(em('both'))]],
  ['*a **b** c*', [em('a ', strong('b'), ' c')]],
  ['2 * 3 * 4', ['2 * 3 * 4']],
  ['snake_case_name _em_', ['snake_case_name ', em('em')]],
  ['~~gone~~ ~5', [{ type: 'strike', spans: ['gone'] }, ' ~5']],
  ['`a*b*` ``x`y``', [{ type: 'code', text: 'a*b*' }, ' ', { type: 'code', text: 'x`y' }]],
  ['**no end', ['**no end']],
  ['\\*plain\\*', ['*plain*']],
  ['[t **b**](https://e.org/a_(b) "x").', [link('https://e.org/a_(b)', 't ', strong('b')), '.']],
  ['见https://e.org/p查看', ['见', link('https://e.org/p', 'https://e.org/p'), '查看']],
  ['见 https://e.org/p。好', ['见 ', link('https://e.org/p', 'https://e.org/p'), '。好']],
  ['(see https://e.org/x).', ['(see ', link('https://e.org/x', 'https://e.org/x'), ').']],
  ['[x](javascript:alert(1))', [{ type: 'span', spans: ['x'] }]],
  ['[x](//e.org)', [{ type: 'span', spans: ['x'] }]],
  ['![pic](https://e.org/a.png)', [link('https://e.org/a.png', 'pic')]],
  ['<img src=x onerror=alert(1)>', ['<img src=x onerror=alert(1)>']],
]) {
  test(`inline: ${text}`, () => assert.deepEqual(parseInline(text), expected));
}

test('an open span in a growing text is shown as what it will be', () => {
  assert.deepEqual(parseInline('a **b', true), ['a ', strong('b')]);
  assert.deepEqual(parseInline('a `b', true), ['a ', { type: 'code', text: 'b' }]);
  assert.deepEqual(parseInline('a **', true), ['a ']);
  assert.deepEqual(parseInline('[t](https://e', true), [{ type: 'span', spans: ['t'] }]);
});

test('hostile text costs no more than it is long, about', () => {
  const begin = performance.now();
  for (const piece of ['*a ', '**a', '[', '`', '_a_', '![](', '~~a', '> ', '<', '`` `']) {
    parseBlocks(piece.repeat(20000));
    parseInline(piece.repeat(4000));
  }
  assert.ok(performance.now() - begin < 3000, `${performance.now() - begin} ms`);
});

test('both languages say the same things', () => {
  assert.deepEqual(Object.keys(EN).sort(), Object.keys(ZH).sort());
});
