// The official SDK's WebSocket client for responses.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { startWeir } from './weir.mjs';

let weir;
let paced;

before(async () => {
  [weir, paced] = await Promise.all([startWeir(), startWeir({ tokensPerSecond: 60 })]);
});
after(() => Promise.all([weir?.stop(), paced?.stop()]));

const isEnd = ({ type }) => type === 'error' || /^response\.(completed|incomplete|failed)$/.test(type);
const textOf = (events) => events.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta).join('');

/** A connection, with `turns(count)`: the events up to the end of so many turns. A refusal ends a turn, too. */
async function open(client, options) {
  const socket = new ResponsesWS(client, options);
  const events = [];
  const waiting = [];
  socket.on('event', (event) => {
    events.push(event);
    for (const wake of waiting.splice(0)) wake();
  });
  socket.on('error', () => {}); // refusals come as events, too
  const until = async (check) => {
    while (!check()) await new Promise((done) => waiting.push(done));
  };
  return {
    socket, events,
    until,
    async turns(count = 1) {
      await until(() => events.filter(isEnd).length >= count);
      return events.splice(0);
    },
    async close() {
      const closed = once(socket.socket.ws ?? socket.socket, 'close').catch(() => {});
      socket.close();
      await closed;
    },
  };
}

const create = (input, more) => ({ type: 'response.create', model: 'demo', input, ...more });

test('turns follow each other on one connection', async () => {
  const { socket, turns, close } = await open(weir.client());
  socket.send(create('My name is Ada.', { store: false }));
  const first = await turns();
  assert.deepEqual(first.map((event) => event.sequence_number), first.map((_, index) => index));
  socket.send(create('What is my name?', { store: false, previous_response_id: first[0].response.id }));
  assert.match(textOf(await turns()), /Ada/);
  await close();
});

test('lanes run side by side', async () => {
  const { socket, turns, close } = await open(paced.client());
  socket.send(create('/count 200', { stream_id: 'slow' }));
  socket.send(create('/echo quick', { stream_id: 'quick' }));
  const events = await turns(2);
  const of = (name) => events.filter((event) => event.stream_id === name);
  assert.equal(textOf(of('quick')), 'quick');
  assert.match(textOf(of('slow')), /^1 2 3 .* 200$/);
  assert.equal(events.filter(isEnd)[0].stream_id, 'quick');
  await close();
});

test('cancel and resume, our own words, pass through', async () => {
  const { socket, events, until, turns, close } = await open(paced.client());
  socket.send(create('/count 5000'));
  await until(() => textOf(events).includes(' 3'));
  socket.send({ type: 'response.cancel' });
  const whole = await turns();
  assert.equal(whole.at(-1).response.status, 'cancelled');
  socket.send({ type: 'response.resume', response_id: whole[0].response.id, starting_after: 4 });
  assert.deepEqual(await turns(), whole.slice(5));
  await close();
});

test('a refusal is an error of the connection that leaves it open', async () => {
  const { socket, turns, close } = await open(weir.client());
  const failed = new Promise((done) => socket.on('error', done));
  socket.send(create('hi', { previous_response_id: 'resp_none' }));
  const error = await failed;
  assert.match(`${error.message} ${JSON.stringify(error.error ?? {})}`, /resp_none|previous_response_not_found/);
  socket.send(create('/echo still here'));
  const events = await turns(2).catch(() => []);
  assert.equal(textOf(events), 'still here');
  await close();
});

test('the key goes with the handshake; a wrong one is refused', async () => {
  const guarded = await startWeir({ keys: 1 });
  try {
    const { socket, turns, close } = await open(guarded.client({ apiKey: guarded.secrets[0] }));
    socket.send(create('/echo let in'));
    assert.equal(textOf(await turns()), 'let in');
    await close();
    const wrong = new ResponsesWS(guarded.client({ apiKey: 'wk_wrong' }));
    assert.match(String(await new Promise((done) => wrong.on('error', done))), /401/);
  } finally {
    await guarded.stop();
  }
});
