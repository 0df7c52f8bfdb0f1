// The lab's numbers, without a page.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figures, gaps, KINDS, mainOf, percentile, roundSpan, said, sent, shares, ticks, total } from '../js/lab-numbers.js';
import { rotated, summary } from '../js/lab-runs.js';
import { fromFragment, toFragment } from '../js/lab-settings.js';
import * as tools from '../js/lab-tools-words.js';
import { EN, ZH } from '../js/lab-words.js';

test('percentiles are values that were measured', () => {
  assert.equal(percentile([], 0.5), null);
  assert.equal(percentile([7], 0.99), 7);
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual([0.5, 0.9, 0.99, 1].map((share) => percentile(values, share)), [50, 90, 99, 100]);
});

test('gaps lie between pieces of text, and there are none within a read', () => {
  const events = [[0, 1, false], [5, 2, true], [5, 2, true], [9, 3, false], [15, 4, true]].map(([at, batch, text]) => ({ at, batch, text }));
  assert.deepEqual(gaps(events), [0, 10]);
  const shown = figures({ events, reads: 4, ended: 20, answer: '你好', bytes: null });
  assert.deepEqual([shown.first, shown.total, shown.events, shown.largest, shown.p50, shown.p99, shown.slowest, shown.gaps, shown.characters], [5, 20, 5, 2, 0, 10, 10, 2, 2]);
});

const connection = (body, said, requests = []) => ({
  sampled: true, last_requests: requests, received: { total: 10 },
  sent: { total: 120 + body, tls: 0, head: 100, framing: 20, body }, said,
});

test('bytes are told by kind, and add up', () => {
  const connections = [
    connection(500, { framing: 40, dialect: 300, text: 160 }),
    connection(70, { framing: 0, dialect: 0, text: 0 }),
  ];
  const kinds = sent(connections);
  assert.deepEqual(kinds, { tls: 0, head: 200, framing: 80, dialect: 300, text: 160, compressed: 0, other: 70 });
  assert.equal(KINDS.reduce((sum, kind) => sum + kinds[kind], 0), total(connections, 'sent'));
  assert.equal(total(connections, 'received'), 20);
  assert.equal(sent([...connections, { sampled: false }]), null);
});

test('what was compressed is one kind, and nothing is negative', () => {
  const parts = [connection(200, { framing: 0, dialect: 300, text: 160 })];
  assert.deepEqual(sent(parts), { tls: 0, head: 100, framing: 20, dialect: 0, text: 0, compressed: 200, other: 0 });
  assert.deepEqual([sent(parts, true).other, sent(parts, true).compressed], [200, 0], 'of a lane that was cut');
  assert.deepEqual([said(parts, 'text'), said(parts, 'dialect')], [160, 300]);
});

test('a lane has its share of a connection, or it is said that it cannot be told', () => {
  const request = (lane, bytes) => ({ lane, sent: bytes && { total: bytes }, said: bytes && {} });
  const of = (requests, ...last) => ({ sampled: true, requests, sent: { total: 100 }, received: { total: 50 }, last_requests: last });
  const check = (connections, mixed, sum, received) => {
    const shown = shares(connections, 'a');
    assert.deepEqual([shown.mixed, total(shown.parts, 'sent'), total(shown.parts, 'received')], [mixed, sum, received]);
  };
  check([of(1, request('a', 90))], 0, 100, 50);
  check([of(3, request('b', 5), request('a', 20))], 0, 20, null);
  check([of(3, request('a', 20), request('a', 30))], 0, 50, null);
  check([of(3, request('b', null), request('a', null))], 3, 100, 50);
  check([of(1, request('a', null)), of(7, request('a', 9))], 0, 109, null);
});

test('the connection of a lane is the one with its answer', () => {
  const of = (id, ...requests) => ({ id, last_requests: requests.map(([method, path, status = 200, lane = 'a']) => ({ method, path, status, lane })) });
  const find = (...connections) => mainOf(connections, 'a')?.id;
  assert.equal(find(of(1, ['POST', '/v1/responses'])), 1);
  assert.equal(find(of(1, ['POST', '/v1/responses']), of(2, ['GET', '/v1/responses/resp_1/events'])), 2);
  assert.equal(find(of(1, ['POST', '/v1/tickets']), of(2, ['GET', '/v1/responses', 101])), 2);
  assert.equal(find(of(2, ['GET', '/v1/responses', 101]), of(1, ['POST', '/v1/tickets'])), 2);
  assert.equal(find(), undefined);
});

test('an axis has round times, and not too many', () => {
  assert.deepEqual(ticks(1000, 5), [0, 200, 400, 600, 800, 1000]);
  assert.deepEqual(ticks(9, 8), [0, 2, 4, 6, 8]);
  assert.deepEqual([0, 1000, 1001, 4000, 9000, 11_000].map(roundSpan), [1000, 1000, 2000, 5000, 10_000, 20_000]);
  for (const span of [1, 17, 980, 12_345, 600_000]) assert.ok(ticks(span).length <= 9, String(span));
});

test('each run starts with another lane', () => {
  assert.deepEqual([0, 1, 2, 3].map((index) => rotated(['a', 'b', 'c'], index).join('')), ['abc', 'bca', 'cab', 'abc']);
  assert.deepEqual(rotated([], 3), []);
});

test('of several runs there is the median, the slowest, and how many there were', () => {
  const run = (first, more = {}) => ({ lanes: [{ lane: 'sse', first_text_ms: first, complete_ms: 9, sent_bytes: null, ...more }] });
  const [row] = summary([run(30), run(10), run(20), run(1, { error: 'no' }), run(2, { stopped: true })], ['sse']);
  assert.deepEqual(row.first_text_ms, { median: 20, slowest: 30, runs: 3 });
  assert.deepEqual(row.sent_bytes, { median: null, slowest: null, runs: 0 });
});

test('a link has all settings of a run, and unknown ones are left out', () => {
  const settings = {
    prompt: '数到 60 & 100%\n#1', model: 'demo', lanes: ['sse', 'classic'], order: 'together', fresh: false, runs: 3, relay: 'size4', cut: 'auto', slow: true, second: false,
  };
  assert.deepEqual(fromFragment(toFragment(settings)), settings);
  assert.deepEqual(fromFragment('relay=constructor&cut=x&runs=99&lanes=none,json&order=%3Cb%3E'), { lanes: ['json'] });
  assert.deepEqual(fromFragment(''), {});
});

test('the connection of a lane that was cut is the one that was reset', () => {
  const of = (id, how, path) => ({ id, close: { how }, last_requests: [{ method: 'GET', path, status: 200, lane: 'a' }] });
  const connections = [of(2, 'close', '/v1/responses/resp_1'), of(1, 'reset', '/v1/responses/resp_1')];
  assert.deepEqual([mainOf(connections, 'a').id, mainOf(connections, 'a', true).id], [2, 1]);
});

test('both languages have the same words', () => {
  for (const [english, chinese] of [[EN, ZH], [tools.EN, tools.ZH]]) {
    assert.deepEqual(Object.keys(english).sort(), Object.keys(chinese).sort());
    const holes = (words) => [...words.matchAll(/\{\w+\}/g)].map(String).sort();
    for (const key of Object.keys(english)) assert.deepEqual(holes(english[key]), holes(chinese[key]), key);
  }
});
