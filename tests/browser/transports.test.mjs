// Every transport as a browser itself speaks it, from an empty page of the server: no script of ours in between.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ask, choose, ended, figures, openPage, startBrowser, startProxy, startWeir, turn } from './world.mjs';

let browser;
let paced;
let guarded;

before(async () => {
  [browser, paced, guarded] = await Promise.all([
    startBrowser(), startWeir({ tokensPerSecond: 150 }), startWeir({ tokensPerSecond: 150, keys: 2 }),
  ]);
});

after(async () => {
  await browser?.close();
  await Promise.all([paced?.stop(), guarded?.stop()]);
});

/** An empty page of the server, with the tools of `TOOLS`. `asked` is what it requested: [path, status]. */
async function blank(url, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  await page.addInitScript(TOOLS);
  await page.goto(`${url}/healthz`);
  const asked = [];
  page.on('response', (response) => asked.push([response.url().slice(url.length), response.status()]));
  return { page, asked, close: () => context.close() };
}

function TOOLS() {
  /** Asks for an answer in the background and gives its id. */
  window.make = async (input, headers = {}) => {
    const body = JSON.stringify({ model: 'demo', input, background: true });
    const reply = await fetch('/v1/responses', { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body });
    return (await reply.json()).id;
  };
  /** An answer's whole log, line by line. */
  window.log = async (id, headers = {}) => {
    const reply = await fetch(`/v1/responses/${id}?stream=true`, { headers: { accept: 'application/x-ndjson', ...headers } });
    return (await reply.text()).split('\n').filter((line) => line.startsWith('{'));
  };
  /** Listens until the browser gives up for good. */
  window.listen = (path) => new Promise((done) => {
    const source = new EventSource(path);
    const told = { ids: [], events: [], opened: 0, errors: 0 };
    window.heard = told;
    source.onopen = () => (told.opened += 1);
    source.onmessage = ({ data, lastEventId }) => {
      told.ids.push(Number(lastEventId));
      told.events.push(data);
    };
    source.onerror = () => {
      told.errors += 1;
      if (source.readyState === EventSource.CLOSED) done(told);
    };
  });
  /** One turn on a WebSocket of its own; `null` if it does not open. */
  window.talk = (message, query = '', origin = location.origin) => new Promise((done) => {
    const socket = new WebSocket(`${origin.replace('http', 'ws')}/v1/responses${query}`);
    const events = [];
    socket.onopen = () => socket.send(JSON.stringify(message));
    socket.onmessage = ({ data }) => {
      events.push(data);
      const { type } = JSON.parse(data);
      if (type === 'error' || /^response\.(completed|incomplete|failed)$/.test(type)) socket.close(1000);
    };
    socket.onclose = ({ code, wasClean }) => done(events.length ? { events, code, wasClean } : null);
  });
  window.ticket = async (key) => {
    const reply = await fetch('/v1/tickets', { method: 'POST', headers: { authorization: `Bearer ${key}` } });
    return (await reply.json()).ticket;
  };
  window.textOf = (events) => events.map((data) => JSON.parse(data)).filter(({ type }) => type === 'response.output_text.delta')
    .map(({ delta }) => delta).join('');
}

const counted = (last) => Array.from({ length: last }, (_, index) => index + 1).join(' ');

/** Everything once and in order, word for word what the log has. */
function assertWhole({ ids, events }, log) {
  assert.deepEqual(ids, log.map((_, index) => index));
  assert.deepEqual(events, log);
}

const streams = (asked, id) => asked.filter(([path]) => path.startsWith(`/v1/responses/${id}/events`)).map(([, status]) => status);

describe('EventSource', () => {
  test('hears every event once, and stops at the end', async () => {
    const { page, asked, close } = await blank(paced.url);
    const id = await page.evaluate(() => window.make('/count 100'));
    const told = await page.evaluate((id) => window.listen(`/v1/responses/${id}/events`), id);
    assertWhole(told, await page.evaluate((id) => window.log(id), id));
    // The end of the stream, and the 204 after which the standard forbids another request.
    assert.deepEqual(streams(asked, id), [200, 204]);
    assert.equal(told.errors, 2);
    await close();
  });

  for (const [where, bytes] of [['at the head', 40], ['in the first event', 700], ['in the middle', 9_000]]) {
    test(`comes back by itself when it is cut ${where}`, async () => {
      const proxy = await startProxy(paced.url);
      const { page, asked, close } = await blank(proxy.url);
      const id = await page.evaluate(() => window.make('/count 200'));
      proxy.cut();
      proxy.cutAfter(bytes);
      const told = await page.evaluate((id) => window.listen(`/v1/responses/${id}/events`), id);
      assert.equal(proxy.cuts(), 1);
      assertWhole(told, await page.evaluate((id) => window.log(id), id));
      assert.equal(streams(asked, id).at(-1), 204);
      await close();
      await proxy.stop();
    });
  }

  // The browser is told nothing: its connection is gone, and for a while nobody is at the address.
  for (const [what, input, ends, reason] of [
    ['is killed', '/count 5000', (weir) => weir.crash(), /"type":"response\.incomplete".*"reason":"server_restarted"/],
    // Longer than the answers that run get to end by themselves.
    ['is restarted in order', '/count 5000', (weir) => weir.end(), /"type":"response\.failed".*"code":"server_shutdown"/],
    // It has ended by itself before the process did.
    ['is restarted in order, behind a short answer', '/count 60', (weir) => weir.end(), /"type":"response\.completed"/],
  ]) {
    test(`comes back by itself when the server ${what}, and stops at the end`, async () => {
      const weir = await startWeir({ tokensPerSecond: 30 });
      try {
        const { page, asked, close } = await blank(weir.url);
        const id = await page.evaluate((input) => window.make(input), input);
        const listening = page.evaluate((id) => window.listen(`/v1/responses/${id}/events`), id);
        await page.waitForFunction(() => window.heard?.events.length > 30);
        await ends(weir);
        await weir.again();
        const told = await listening;
        const log = await page.evaluate((id) => window.log(id), id);
        assertWhole(told, log);
        assert.match(log.at(-1), reason);
        assert.ok(log.length > 30 && told.events.length > 30);
        // Once before, once or not at all behind the restart, and the 204 behind which it may not ask again.
        const statuses = streams(asked, id);
        assert.deepEqual([statuses[0], statuses.at(-1)], [200, 204]);
        assert.ok(statuses.slice(0, -1).every((status) => status === 200) && statuses.length <= 3, statuses.join());
        await close();
      } finally {
        await weir.stop();
      }
    });
  }
});

describe('where keys are asked for', () => {
  const bearer = (key) => ({ authorization: `Bearer ${key}` });

  test('a browser without one gets nothing', async () => {
    const { page, asked, close } = await blank(guarded.url);
    const id = await page.evaluate((headers) => window.make('/echo mine', headers), bearer(guarded.secrets[0]));
    const told = await page.evaluate((id) => window.listen(`/v1/responses/${id}/events`), id);
    assert.deepEqual([told.events, streams(asked, id)], [[], [401]]);
    assert.equal(await page.evaluate(() => window.talk({ type: 'response.create', model: 'demo', input: 'hi' })), null);
    await close();
  });

  test('a session opens EventSource and WebSocket, until it is ended', async () => {
    const { page, close } = await blank(guarded.url);
    const opened = await page.evaluate(async (headers) => {
      const reply = await fetch('/v1/tickets', { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: '{"cookie":true}' });
      return { status: reply.status, body: await reply.json(), visible: document.cookie };
    }, bearer(guarded.secrets[0]));
    assert.deepEqual([opened.status, opened.body.object, opened.visible], [200, 'session', '']);
    const id = await page.evaluate(() => window.make('/count 50'));
    const told = await page.evaluate((id) => window.listen(`/v1/responses/${id}/events`), id);
    assertWhole(told, await page.evaluate((id) => window.log(id), id));
    const talked = await page.evaluate(() => window.talk({ type: 'response.create', model: 'demo', input: '/echo by cookie' }));
    assert.equal(await page.evaluate((events) => window.textOf(events), talked.events), 'by cookie');
    assert.equal(await page.evaluate(async () => (await fetch('/v1/tickets', { method: 'DELETE' })).status), 204);
    assert.equal(await page.evaluate(() => window.talk({ type: 'response.create', model: 'demo', input: 'hi' })), null);
    await close();
  });

  test('a ticket opens one EventSource, also after a cut, and no other', async () => {
    const proxy = await startProxy(guarded.url);
    const { page, asked, close } = await blank(proxy.url);
    const [key, other] = guarded.secrets;
    const id = await page.evaluate((headers) => window.make('/count 200', headers), bearer(key));
    const ticket = await page.evaluate((key) => window.ticket(key), key);
    proxy.cut();
    proxy.cutAfter(9_000);
    const told = await page.evaluate((path) => window.listen(path), `/v1/responses/${id}/events?ticket=${ticket}`);
    assert.equal(proxy.cuts(), 1);
    assertWhole(told, await page.evaluate(([id, headers]) => window.log(id, headers), [id, bearer(key)]));
    asked.length = 0;
    const again = await page.evaluate((path) => window.listen(path), `/v1/responses/${id}/events?ticket=${ticket}`);
    assert.deepEqual([again.events, streams(asked, id)], [[], [401]], 'a used ticket');
    asked.length = 0;
    const theirs = await page.evaluate((key) => window.ticket(key), other);
    const foreign = await page.evaluate((path) => window.listen(path), `/v1/responses/${id}/events?ticket=${theirs}`);
    assert.deepEqual([foreign.events, streams(asked, id)], [[], [404]], 'a ticket of somebody else');
    await close();
    await proxy.stop();
  });

  test('a ticket opens one WebSocket', async () => {
    const { page, close } = await blank(guarded.url);
    const ticket = await page.evaluate((key) => window.ticket(key), guarded.secrets[0]);
    const message = { type: 'response.create', model: 'demo', input: '/echo by ticket' };
    const talk = () => page.evaluate(([message, query]) => window.talk(message, query), [message, `?ticket=${ticket}`]);
    const talked = await talk();
    assert.equal(await page.evaluate((events) => window.textOf(events), talked.events), 'by ticket');
    assert.deepEqual([talked.code, talked.wasClean], [1000, true]);
    assert.equal(await talk(), null, 'a used ticket');
    await close();
  });
});

describe('WebSocket', () => {
  test('carries what the log has, and is closed in order', async () => {
    const { page, close } = await blank(paced.url);
    const talked = await page.evaluate(() => window.talk({ type: 'response.create', model: 'demo', input: '/count 50' }));
    const { id } = JSON.parse(talked.events[0]).response;
    assert.deepEqual(talked.events, await page.evaluate((id) => window.log(id), id));
    assert.deepEqual([talked.code, talked.wasClean], [1000, true]);
    await close();
  });

  test('is refused to a page of another origin', async () => {
    // The same server by another name is another origin.
    const elsewhere = paced.url.replace('127.0.0.1', 'localhost');
    const { page, close } = await blank(elsewhere);
    const message = { type: 'response.create', model: 'demo', input: '/echo stolen' };
    assert.equal(await page.evaluate(([message, origin]) => window.talk(message, '', origin), [message, paced.url]), null);
    assert.ok(await page.evaluate((message) => window.talk(message), message), 'its own origin');
    await close();
  });
});

describe('over TLS with HTTP/2', () => {
  let secure;
  before(async () => (secure = await startWeir({ tokensPerSecond: 150, tls: true })));
  after(() => secure?.stop());

  test('every transport gives the same', async () => {
    assert.match(secure.url, /^https:/);
    const { page, asked, close } = await blank(secure.url, { ignoreHTTPSErrors: true });
    const session = await page.context().newCDPSession(page);
    await session.send('Network.enable');
    const handshakes = [];
    session.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response.status));

    const fetched = await page.evaluate(async () => {
      const ask = async (accept, stream) => {
        const reply = await fetch('/v1/responses', {
          method: 'POST', headers: { 'content-type': 'application/json', accept },
          body: JSON.stringify({ model: 'demo', input: '/count 50', stream }),
        });
        return { type: reply.headers.get('content-type'), text: await reply.text() };
      };
      const json = await ask('application/json', false);
      const ndjson = await ask('application/x-ndjson', true);
      const sse = await ask('text/event-stream', true);
      return { json, ndjson, sse };
    });
    assert.equal(JSON.parse(fetched.json.text).output[0].content[0].text, counted(50));
    assert.match(fetched.ndjson.type, /^application\/x-ndjson/);
    assert.match(fetched.sse.type, /^text\/event-stream/);
    const lines = fetched.ndjson.text.split('\n').filter((line) => line.startsWith('{'));
    const data = fetched.sse.text.split('\n').filter((line) => line.startsWith('data: {')).map((line) => line.slice(6));
    for (const events of [lines, data]) assert.equal(await page.evaluate((events) => window.textOf(events), events), counted(50));

    const id = await page.evaluate(() => window.make('/count 50'));
    const told = await page.evaluate((id) => window.listen(`/v1/responses/${id}/events`), id);
    assertWhole(told, await page.evaluate((id) => window.log(id), id));
    assert.deepEqual(streams(asked, id), [200, 204]);

    const talked = await page.evaluate(() => window.talk({ type: 'response.create', model: 'demo', input: '/count 50' }));
    assert.equal(await page.evaluate((events) => window.textOf(events), talked.events), counted(50));
    // 200: a stream of the same HTTP/2 connection (RFC 8441). 101 would be a connection of its own.
    assert.deepEqual(handshakes, [200]);

    const protocols = await page.evaluate(() => performance.getEntriesByType('resource').map(({ nextHopProtocol }) => nextHopProtocol));
    assert.ok(protocols.length >= 6, protocols.join());
    assert.deepEqual([...new Set(protocols)], ['h2']);
    await close();
  });

  test('the page answers over each', async () => {
    const { page, close } = await openPage(browser, secure.url, { ignoreHTTPSErrors: true });
    for (const [transport, name] of [['json', 'JSON'], ['ndjson', 'NDJSON'], ['sse', 'SSE'], ['websocket', 'WebSocket']]) {
      await choose(page, transport);
      await ask(page, `/echo over ${transport}`);
      await ended(page);
      assert.equal(await turn(page).locator('.prose').innerText(), `over ${transport}`);
      assert.equal((await figures(page)).via, `${name} · demo`);
    }
    await close();
  });
});
