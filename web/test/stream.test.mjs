// Any chunking of the bytes gives the same frames, and any cut of the events gives the same answer.

import assert from 'node:assert/strict';
import test from 'node:test';

import { apply, figures, newAnswer, textOf } from '../js/answer.js';
import { NdjsonDecoder, SseDecoder } from '../js/stream.js';

const encode = (text) => new TextEncoder().encode(text);

function decode(Decoder, pieces) {
  const decoder = new Decoder();
  const frames = pieces.flatMap((piece) => decoder.push(piece));
  return [...frames, ...decoder.end()];
}

function everySplit(Decoder, text, expected) {
  const bytes = encode(text);
  assert.deepEqual(decode(Decoder, [bytes]), expected);
  assert.deepEqual(decode(Decoder, [...bytes].map((byte) => Uint8Array.of(byte))), expected);
  for (let at = 0; at <= bytes.length; at++) {
    for (let to = at; to <= Math.min(bytes.length, at + 4); to++) {
      assert.deepEqual(decode(Decoder, [bytes.slice(0, at), bytes.slice(at, to), bytes.slice(to)]), expected, `${at} ${to}`);
    }
  }
}

const SSE = '\ufeff: ping\nevent: response.created\ndata: {"a":"堰"}\n\n: ping\n\nid: 7\ndata:one\ndata: two\ndata\n\nevent: lost\n\ndata: [DONE]\n\ndata: cut';
const SSE_FRAMES = [
  { beat: true },
  { event: 'response.created', data: '{"a":"堰"}' },
  { beat: true },
  { event: 'message', data: 'one\ntwo\n' },
  { event: 'message', data: '[DONE]' },
];

for (const [name, end] of [['LF', '\n'], ['CR', '\r'], ['CRLF', '\r\n']]) {
  test(`SSE with ${name}, split anywhere`, () => everySplit(SseDecoder, SSE.replaceAll('\n', end), SSE_FRAMES));
}

test('SSE keeps the last id', () => {
  const decoder = new SseDecoder();
  decoder.push(encode('id: 41\ndata: x\n\n'));
  assert.equal(decoder.id, '41');
});

test('NDJSON, split anywhere', () => {
  everySplit(NdjsonDecoder, '{"a":"流"}\n\n{"b":"🌊"}\r\n', [{ data: '{"a":"流"}' }, { beat: true }, { data: '{"b":"🌊"}' }]);
});

test('a last NDJSON line counts only if it is whole', () => {
  assert.deepEqual(decode(NdjsonDecoder, [encode('{"a":1}')]), [{ data: '{"a":1}' }]);
  assert.deepEqual(decode(NdjsonDecoder, [encode('{"a":1')]), []);
});

const EVENTS = [
  { type: 'response.created', response: { id: 'resp_1' } },
  { type: 'response.output_item.added', output_index: 0, item: { type: 'reasoning' } },
  { type: 'response.reasoning_text.delta', output_index: 0, content_index: 0, delta: 'hm' },
  { type: 'response.output_text.delta', output_index: 1, content_index: 0, delta: 'Wa' },
  { type: 'response.output_text.delta', output_index: 1, content_index: 0, delta: 'ter' },
  { type: 'response.output_text.done', output_index: 1, content_index: 0, text: 'Water' },
  { type: 'response.output_item.added', output_index: 2, item: { type: 'function_call', name: 'gauge' } },
  { type: 'response.function_call_arguments.delta', output_index: 2, delta: '{"m":' },
  { type: 'response.function_call_arguments.delta', output_index: 2, delta: '3}' },
  {
    type: 'response.completed',
    response: { id: 'resp_1', status: 'completed', output: [], usage: { input_tokens: 3, output_tokens: 9, source: 'counted' } },
  },
].map((event, i) => ({ ...event, sequence_number: i }));

const told = ({ id, seq, state, events, usage, parts }) => ({ id, seq, state, events, usage, parts: parts.map(({ kind, text, name }) => ({ kind, text, name })) });

test('an answer cut anywhere, saved, restored and resumed with overlap is the same answer', () => {
  const whole = newAnswer({ model: 'demo', transport: 'sse', stored: true });
  for (const event of EVENTS) apply(whole, event);
  assert.equal(textOf(whole), 'Water');
  assert.equal(whole.state, 'completed');
  for (let at = 0; at < EVENTS.length; at++) {
    let answer = newAnswer({ model: 'demo', transport: 'sse', stored: true });
    for (const event of EVENTS.slice(0, at)) apply(answer, event);
    answer = JSON.parse(JSON.stringify(answer));
    for (const event of EVENTS.slice(Math.max(0, at - 2))) apply(answer, event);
    assert.deepEqual(told(answer), told(whole));
  }
});

test('a missing event is noticed', () => {
  const answer = newAnswer({ model: 'demo', transport: 'sse', stored: true });
  apply(answer, EVENTS[0]);
  assert.equal(apply(answer, EVENTS[2]), 'gap');
  assert.equal(answer.seq, 0);
});

test('a cancelled answer takes its state from the server; without usage nothing is invented', () => {
  const answer = newAnswer({ model: 'demo', transport: 'sse', stored: true });
  for (const event of EVENTS.slice(0, 5)) apply(answer, event);
  apply(answer, { type: 'response.incomplete', sequence_number: 5, response: { id: 'resp_1', status: 'cancelled', usage: null } });
  assert.equal(answer.state, 'cancelled');
  assert.equal(figures(answer).rate, null);
  assert.equal(figures(answer).out, null);
});
