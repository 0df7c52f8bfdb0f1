// The tap of the lab, without a page: times, figures and files.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { excerpt, harDocument, isLast, jsonDocument, summary, Timeline } from '../js/tap-data.js';
import { EN, ZH } from '../js/tap-words.js';

const DELTA = 'response.output_text.delta';

/** Events of these types and times, as a tap has them. */
const events = (...of) => of.map(([type, logged, taken], position) => {
  const data = JSON.stringify({ type, sequence_number: position });
  return { position, type, data, bytes: data.length, text: '', logged, taken, shown: logged };
});

test('a running response has times of its own for what is recorded, and those of arrival for the rest', () => {
  const live = new Timeline({ created_at_ms: 5, elapsed_ms: 40, times_ms: [0, 12.5] }, 1000);
  assert.ok(live.isLive);
  assert.deepEqual([live.shown(0, 1010), live.shown(1, 1010), live.shown(2, 1010)], [0, 12.5, 50]);
  const ended = new Timeline({ created_at_ms: 5, elapsed_ms: null, times_ms: [0, 12.5] }, 1000);
  assert.ok(!ended.isLive);
  assert.deepEqual([ended.shown(1, 1010), ended.shown(2, 1010)], [12.5, null]);
});

test('figures are by the server’s times if all of them are known', () => {
  const all = events(['response.created', 0, 3], [DELTA, 50, 4], [DELTA, 70, 5], [DELTA, 75, 6], [DELTA, 275, 7], ['response.completed', 301, 8]);
  const found = summary(all);
  assert.deepEqual(found.text_gaps, { count: 3, median_ms: 20, slowest_ms: 200 });
  assert.deepEqual([found.events, found.duration_ms, found.first_text_ms, found.times], [6, 301, 50, 'log']);
  all[2].logged = null;
  assert.deepEqual([summary(all).duration_ms, summary(all).times, summary(all).first_text_ms], [5, 'arrival', null]);
  assert.equal(summary(all.slice(1, 2)).first_text_ms, null, 'a tap that starts later does not know the first text');
  assert.deepEqual(summary([]).text_gaps, { count: 0, median_ms: null, slowest_ms: null });
});

const tap = () => ({
  id: 'resp_1', server: 'http://h/', created: 1000, from: 0, end: 'complete', started: 1_700_000_000_000,
  connections: [0, 2].map((first) => ({
    url: `http://h/v1/responses/resp_1?stream=true&starting_after=${first}`, opened: 1 + first * 10, answered: 3 + first * 10, first, size: 99,
    status: 200, statusText: 'OK', headers: [['content-type', 'text/event-stream']],
  })),
  events: events(['response.created', 0, 5], [DELTA, 1, 6], ['response.completed', 2, 30]),
});

test('JSON has every event', () => {
  const saved = jsonDocument(tap());
  assert.deepEqual([saved.schema, saved.end, saved.connections, saved.events.length], [1, 'complete', 2, 3]);
  assert.deepEqual(saved.events[1].event, { type: DELTA, sequence_number: 1 });
});

test('HAR has an entry for each connection, with its own events', () => {
  const { log } = harDocument(tap());
  assert.deepEqual(log.entries.map((entry) => entry._eventSourceMessages.length), [2, 1]);
  for (const { time, timings, request, response } of log.entries) {
    assert.equal(time, timings.send + timings.wait + timings.receive);
    assert.equal(request.queryString[0].name, 'stream');
    assert.equal(response.content.mimeType, 'text/event-stream');
  }
  assert.equal(log.entries[0].startedDateTime, '2023-11-14T22:13:20.001Z');
  assert.equal(log.entries[0]._eventSourceMessages[1].time, 1_700_000_000.006);
});

test('excerpts and ends', () => {
  assert.equal(excerpt({ delta: 'a' }), 'a');
  assert.equal(excerpt({ error: { message: 'no' } }), 'no');
  assert.equal(excerpt({ response: { status: 'completed' } }), 'completed');
  assert.equal(excerpt({}), '');
  assert.ok(isLast('response.failed') && !isLast('error'));
});

test('both languages have the same words', () => {
  assert.deepEqual(Object.keys(EN), Object.keys(ZH));
  const slots = (words) => (words.match(/\{\w+\}/g) ?? []).sort();
  for (const key of Object.keys(EN)) assert.deepEqual(slots(EN[key]), slots(ZH[key]), key);
});
