// The mini-program's client: its decoders at every split, and both of its ways to a real server, in pieces and across cuts.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, afterEach, before, describe, test } from 'node:test';
import { startProxy, startWeir } from '../browser/world.mjs';
import { ROOT, count } from './run.mjs';
import { createWx } from './wx.mjs';

const load = createRequire(`${ROOT}/samples/wechat/`);
const { createUtf8Decoder } = load('./utf8.js');
const { createEventDecoder } = load('./lines.js');
const { askOverChunks, askOverSocket } = load('./weir.js');

const SAID = 'ab 你好，世界 é ñ 😀👩‍👩‍👧🇨🇳 ok';
const buffer = (bytes) => new Uint8Array(bytes).buffer;
const bytewise = (bytes) => Array.from(bytes, (byte) => [byte]);
const textOf = (events) => events.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta).join('');
const numbers = (events) => events.map(({ sequence_number }) => sequence_number);

/** Numbers that look like chance and are the same each time (mulberry32). */
function chance(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function pieces(bytes, random) {
  const found = [];
  for (let from = 0; from < bytes.length;) {
    const to = from + Math.floor(random() * 40); // also nothing at all
    found.push(bytes.subarray(from, to));
    from = to;
  }
  return found;
}

describe('utf8.js', () => {
  const decode = (parts) => {
    const decoder = createUtf8Decoder();
    return parts.map((part) => decoder.write(buffer(part))).join('') + decoder.end();
  };
  const native = (bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

  test('every split in two, and every byte by itself, gives the same text', () => {
    const bytes = Buffer.from(SAID);
    for (let at = 0; at <= bytes.length; at += 1) assert.equal(decode([bytes.subarray(0, at), bytes.subarray(at)]), SAID);
    assert.equal(decode(bytewise(bytes)), SAID);
  });

  test('every character there is', () => {
    let all = '';
    for (let point = 0; point <= 0x10ffff; point += point < 0x3000 ? 1 : 61) if (point < 0xd800 || point > 0xdfff) all += String.fromCodePoint(point);
    assert.equal(decode(bytewise(Buffer.from(all))), all);
  });

  test('what is no UTF-8 becomes what TextDecoder makes of it', () => {
    const random = chance(1);
    // The bytes at the borders of the standard's table, which chance alone would seldom put together.
    const borders = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff];
    for (let round = 0; round < 20_000; round += 1) {
      const bytes = Uint8Array.from({ length: 1 + Math.floor(random() * 8) }, () => borders[Math.floor(random() * borders.length)]);
      assert.equal(decode(bytewise(bytes)), native(bytes), Buffer.from(bytes).toString('hex'));
    }
  });
});

describe('with a server', () => {
  let weir, paced, guarded, proxy;
  before(async () => {
    [weir, paced, guarded] = await Promise.all([startWeir(), startWeir({ tokensPerSecond: 60 }), startWeir({ keys: 1 })]);
  });
  after(() => Promise.all([weir, paced, guarded].map((server) => server?.stop())));
  afterEach(async () => {
    delete globalThis.wx;
    await proxy?.stop();
    proxy = undefined;
  });

  const ask = (way, options, onEvent = () => {}) => new Promise((done) => {
    const events = [];
    const running = way({
      ...options,
      onEvent(event) {
        events.push(event);
        onEvent(event, running);
      },
      onEnd: (error) => done({ events, error }),
    });
  });

  test('lines.js: any split of a real body gives the same events', async () => {
    const response = await weir.api('/v1/responses', {
      method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/x-ndjson' },
      body: JSON.stringify({ model: 'demo', input: `/echo ${SAID}`, stream: true }),
    });
    const body = Buffer.from(await response.arrayBuffer());
    const expected = body.toString().split('\n').filter(Boolean).map((line) => JSON.parse(line));
    assert.equal(textOf(expected), SAID);
    const events = (parts) => {
      const decoder = createEventDecoder();
      return parts.flatMap((part) => decoder.write(buffer(part)));
    };
    for (let at = 0; at <= body.length; at += 1) assert.deepEqual(events([body.subarray(0, at), body.subarray(at)]), expected);
    assert.deepEqual(events(bytewise(body)), expected);
    const random = chance(2);
    for (let round = 0; round < 200; round += 1) assert.deepEqual(events(pieces(body, random)), expected);
    // A cut takes the event that is not whole, and an empty line is no event.
    assert.deepEqual(events([body.subarray(0, -1)]), expected.slice(0, -1));
    assert.deepEqual(events([Buffer.from('\n'), body, Buffer.from('\n')]), expected);
  });

  for (const way of [askOverSocket, askOverChunks]) {
    describe(way.name, () => {
      test('an answer comes whole and in order, however its chunks are split', async () => {
        const random = chance(3);
        for (const split of [undefined, bytewise, (bytes) => pieces(bytes, random)]) {
          globalThis.wx = createWx({ split });
          const { events, error } = await ask(way, { server: weir.url, body: { model: 'demo', input: `/echo ${SAID}` } });
          assert.equal(error, null);
          assert.equal(textOf(events), SAID);
          assert.deepEqual(numbers(events), events.map((_, index) => index));
        }
      });

      // Both events of the beginning have about 1,200 bytes: the first cut is behind them, and inside an event.
      for (const bytes of [4000, 6500]) {
        test(`goes on after a cut behind ${bytes} bytes`, async () => {
          globalThis.wx = createWx({ split: bytewise });
          proxy = await startProxy(paced.url);
          proxy.cutAfter(bytes);
          const { events, error } = await ask(way, { server: proxy.url, body: { model: 'demo', input: '/count 40' } });
          assert.equal(error, null);
          assert.equal(proxy.cuts(), 1);
          assert.equal(textOf(events), count(40));
          assert.deepEqual(numbers(events), events.map((_, index) => index));
        });
      }

      test('stop ends the answer at the server, and its last event still comes', async () => {
        globalThis.wx = createWx();
        const { events, error } = await ask(way, { server: paced.url, body: { model: 'demo', input: '/count 100000' } },
          (event, running) => event.delta === ' 5' && running.stop());
        assert.equal(error, null);
        assert.equal(events.at(-1).response.status, 'cancelled');
      });

      test('a later call goes on where an earlier one was', async () => {
        globalThis.wx = createWx();
        let place;
        const first = await ask(way, { server: weir.url, body: { model: 'demo', input: '/count 20' } },
          (event, running) => event.delta === ' 5' && (place = running.place()));
        const { events, error } = await ask(way, { server: weir.url, from: place });
        assert.equal(error, null);
        assert.deepEqual(events, first.events.slice(place.position + 1));
      });

      test('a refusal is told, and not tried again', async () => {
        globalThis.wx = createWx();
        const wrong = await ask(way, { server: weir.url, body: { model: 'demo', input: 'hi', previous_response_id: 'resp_none' } });
        assert.match(wrong.error.message, /resp_none/);
        assert.deepEqual(wrong.events, []);
        const header = { authorization: `Bearer ${guarded.secrets[0]}` };
        const good = await ask(way, { server: guarded.url, header, body: { model: 'demo', input: '/count 3' } });
        assert.equal(textOf(good.events), '1 2 3');
      });

      test('a server that is not there is given up', async () => {
        globalThis.wx = createWx();
        proxy = await startProxy('http://127.0.0.1:1');
        const { error } = await ask(way, { server: proxy.url, body: { model: 'demo', input: 'hi' } });
        assert.ok(error instanceof Error);
      });

      test('the page shows it', async () => {
        globalThis.wx = createWx();
        let page;
        globalThis.Page = (definition) => (page = definition);
        const file = load.resolve('./pages/index/index.js');
        delete load.cache[file];
        load(file);
        delete globalThis.Page;
        page.server = weir.url;
        const ended = new Promise((done) => {
          page.setData = (data) => {
            Object.assign(page.data, data);
            if (data.running === false) done();
          };
        });
        page.choose({ detail: { value: way === askOverSocket } });
        page.write({ detail: { value: `/echo ${SAID}` } });
        page.ask();
        await ended;
        assert.deepEqual(page.data, { question: `/echo ${SAID}`, answer: SAID, note: 'completed', running: false, socket: way === askOverSocket });
      });
    });
  }

  test('over chunks, a question whose reply is lost before its id came is one answer', async () => {
    globalThis.wx = createWx({ split: bytewise });
    proxy = await startProxy(paced.url);
    proxy.cutAfter(100);
    const { events, error } = await ask(askOverChunks, { server: proxy.url, body: { model: 'demo', input: '/count 10' } });
    assert.equal(error, null);
    assert.equal(textOf(events), count(10));
  });

  test('over a socket, such a question is not sent twice', async () => {
    globalThis.wx = createWx();
    proxy = await startProxy(paced.url);
    proxy.cutAfter(600); // behind the handshake, in the first event
    const { events, error } = await ask(askOverSocket, { server: proxy.url, body: { model: 'demo', input: '/count 10' } });
    assert.deepEqual(events, []);
    assert.match(error.message, /perhaps not received/);
  });
});
