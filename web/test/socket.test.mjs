// One WebSocket for the page: who has it, what comes over it, and how it ends.

import assert from 'node:assert/strict';
import test from 'node:test';

import { messages, Wire } from '../js/socket.js';

/** A WebSocket that does what the test says. */
class Fake {
  readyState = 0;
  constructor(url) {
    this.url = url;
    queueMicrotask(() => {
      if (this.readyState) return;
      this.readyState = 1;
      this.onopen();
    });
  }
  say(data) {
    this.onmessage?.({ data });
  }
  end(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
  close() {
    this.closed = true;
    this.end(1000);
  }
}

function wireOf(made, Kind = Fake) {
  let count = 0;
  return new Wire(async () => `ws://x/?ticket=${count++}`, (url) => {
    made.push(new Kind(url));
    return made.at(-1);
  });
}

const some = () => new AbortController().signal;

test('turns use one connection one after another', async () => {
  const made = [];
  const wire = wireOf(made);
  const first = await wire.take(some());
  wire.give(first);
  assert.equal(await wire.take(some()), first);
  assert.equal(made.length, 1);
});

test('turns at once have a connection each, with an address of its own; one of them is kept', async () => {
  const made = [];
  const wire = wireOf(made);
  const [first, second] = await Promise.all([wire.take(some()), wire.take(some())]);
  assert.notEqual(first.url, second.url);
  wire.give(first);
  wire.give(second);
  assert.ok(!first.closed && second.closed);
});

test('a connection that ended while it was idle is not used again', async () => {
  const made = [];
  const wire = wireOf(made);
  const first = await wire.take(some());
  wire.give(first);
  first.end();
  assert.notEqual(await wire.take(some()), first);
});

test('a connection long silent is doubted, a fresh one is not', async (context) => {
  context.mock.timers.enable({ apis: ['Date'] });
  const wire = wireOf([]);
  const first = await wire.take(some());
  wire.give(first);
  wire.doubt();
  assert.ok(!first.closed);
  context.mock.timers.tick(60_000);
  wire.doubt();
  assert.ok(first.closed);
  assert.notEqual(await wire.take(some()), first);
});

test('one that does not open fails; one that nobody waits for any more is closed', async () => {
  class Refused extends Fake {
    readyState = 3;
    constructor(url) {
      super(url);
      queueMicrotask(() => this.onerror());
    }
  }
  await assert.rejects(wireOf([], Refused).take(some()), /did not open/);
  const made = [];
  const abort = new AbortController();
  const taking = wireOf(made).take(abort.signal);
  abort.abort();
  await assert.rejects(taking, { name: 'AbortError' });
  assert.ok(made.every((socket) => socket.closed));
});

test('messages come in order, and those before the end are not lost', async () => {
  const socket = await wireOf([]).take(some());
  const seen = [];
  const reading = (async () => {
    for await (const data of messages(socket, some())) seen.push(data);
  })();
  await null;
  socket.say('1');
  await null;
  socket.say('2');
  socket.say('3');
  socket.end(1012);
  await assert.rejects(reading, /closed with 1012/);
  assert.deepEqual(seen, ['1', '2', '3']);
});

test('nothing is read after leaving', async () => {
  const socket = await wireOf([]).take(some());
  const abort = new AbortController();
  const reading = messages(socket, abort.signal);
  const first = reading.next();
  socket.say('1');
  assert.equal((await first).value, '1');
  socket.say('2');
  abort.abort();
  await assert.rejects(reading.next(), { name: 'AbortError' });
});
