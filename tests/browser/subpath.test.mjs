// Weir below a path of a reverse proxy that strips it, with no setting: the pages, every transport, the lab, and the classic API.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ask, choose, ended, figures, openPage, PICTURES, startBrowser, startWeir, turn } from './world.mjs';

const PREFIX = '/weir';
const NAMES = { json: 'JSON', ndjson: 'NDJSON', sse: 'SSE', websocket: 'WebSocket' };
const counted = (last) => Array.from({ length: last }, (_, index) => index + 1).join(' ');

/**
 * A reverse proxy that serves `target` below PREFIX and has nothing at other paths. It adds no header. `url` is where Weir is;
 * `strays` are the requests for other paths.
 */
async function startStripping(target) {
  const { hostname, port } = new URL(target);
  const strays = [];
  const stripped = (incoming) => {
    if (incoming.url.startsWith(`${PREFIX}/`)) return incoming.url.slice(PREFIX.length);
    strays.push(`${incoming.method} ${incoming.url}`);
    return null;
  };
  const proxy = createServer((incoming, outgoing) => {
    const path = stripped(incoming);
    if (!path) return outgoing.writeHead(404).end();
    const { method, headers } = incoming;
    const far = request({ hostname, port, path, method, headers, agent: false }, (response) => {
      outgoing.writeHead(response.statusCode, response.rawHeaders);
      response.pipe(outgoing);
      response.on('error', () => outgoing.destroy());
    });
    far.on('error', () => outgoing.destroy());
    outgoing.on('close', () => far.destroy());
    incoming.pipe(far);
  });
  proxy.on('upgrade', (incoming, near, head) => {
    const path = stripped(incoming);
    if (!path) return near.destroy();
    const far = connect({ host: hostname, port, noDelay: true });
    const lines = [`${incoming.method} ${path} HTTP/1.1`];
    for (let index = 0; index < incoming.rawHeaders.length; index += 2) lines.push(incoming.rawHeaders.slice(index, index + 2).join(': '));
    far.write(`${lines.join('\r\n')}\r\n\r\n`);
    far.write(head);
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) {
      socket.on('error', () => {});
      socket.on('close', () => [near, far].forEach((other) => other.destroy()));
    }
  });
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${proxy.address().port}${PREFIX}`,
    strays,
    stop() {
      proxy.closeAllConnections();
      return new Promise((done) => proxy.close(done));
    },
  };
}

let browser;
let weir;
let proxy;

before(async () => {
  [browser, weir] = await Promise.all([startBrowser(), startWeir({ tokensPerSecond: 60 })]);
  proxy = await startStripping(weir.url);
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
  await weir?.stop();
});

/** Opens a page below the path; `close()` asserts, besides what openPage does, that nothing was requested elsewhere. */
async function openBelow(through, options) {
  const opened = await openPage(browser, through.url, options);
  const sockets = [];
  opened.page.on('websocket', (socket) => sockets.push(socket.url()));
  return {
    page: opened.page, sockets,
    async close() {
      await opened.close();
      assert.deepEqual(through.strays, []);
    },
  };
}

describe('below a path of a reverse proxy', () => {
  test('the page answers over each transport', async () => {
    const { page, sockets, close } = await openBelow(proxy, { path: '/' });
    for (const [transport, name] of Object.entries(NAMES)) {
      await choose(page, transport);
      await ask(page, `/echo over ${transport}`);
      await ended(page);
      assert.equal(await turn(page).locator('.prose').innerText(), `over ${transport}`);
      assert.equal((await figures(page)).via, `${name} · demo`);
    }
    assert.deepEqual(sockets, [`${proxy.url.replace('http', 'ws')}/v1/responses`]);
    await page.screenshot({ path: join(PICTURES, 'subpath.png') });
    await close();
  });

  for (const transport of ['ndjson', 'sse', 'websocket']) {
    test(`an answer over ${transport} goes on after a reload, with nothing missing`, async () => {
      const { page, close } = await openBelow(proxy, { path: '/' });
      await choose(page, transport);
      await ask(page, '/count 150');
      await page.waitForFunction(() => document.querySelector('.prose')?.textContent.includes(' 9'));
      await page.reload();
      await ended(page);
      assert.equal((await turn(page).locator('.prose').innerText()).trim(), counted(150));
      assert.match(await turn(page).locator('.state').innerText(), /caught up on \d+ events/);
      await close();
    });
  }

  test('stop reaches the server', async () => {
    const { page, close } = await openBelow(proxy, { path: '/' });
    await choose(page, 'sse');
    await ask(page, '/count 5000');
    await page.waitForFunction(() => document.querySelector('.prose')?.textContent.includes(' 3'));
    await page.locator('#send').click();
    await ended(page);
    assert.match(await turn(page).locator('.state').innerText(), /^Stopped\. The server ended the answer/);
    await close();
  });

  test('a ticket opens the WebSocket of a page with a key', async () => {
    const guarded = await startWeir({ keys: 1 });
    const front = await startStripping(guarded.url);
    try {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(`${front.url}/`);
      await page.locator('#key').fill(guarded.secrets[0]);
      await page.locator('#key').press('Enter');
      await page.waitForFunction(() => document.querySelector('#model').value === 'demo');
      await choose(page, 'websocket');
      await ask(page, '/echo by ticket');
      await ended(page);
      assert.equal(await turn(page).locator('.prose').innerText(), 'by ticket');
      await context.close();
      assert.deepEqual(front.strays, []);
    } finally {
      await front.stop();
      await guarded.stop();
    }
  });

  test('the lab is one step away, runs every lane, and leads back', async () => {
    const { page, sockets, close } = await openBelow(proxy, { path: '/' });
    await page.locator('a[data-t=lab]').click();
    await page.locator('#lanes .lane').nth(6).waitFor();
    assert.equal(page.url(), `${proxy.url}/lab`);
    await page.waitForFunction(() => document.querySelector('#model').value === 'demo');
    await page.locator('#run').click();
    await page.waitForFunction(() => document.querySelector('#lanes').getAttribute('aria-busy') === 'false'
      && document.querySelector('#status').textContent !== '');
    assert.equal(await page.locator('#status').innerText(), `All 7 lanes delivered the same text: ${counted(60).length} characters.`);
    for (const kind of ['json', 'ndjson', 'sse', 'eventsource', 'websocket']) {
      const bytes = await page.locator(`.lane[data-lane=${kind}] .sums strong`).getAttribute('data-bytes');
      assert.ok(Number(bytes) > 0, `${kind}: the lens is reached`);
    }
    assert.ok(sockets.length === 1 && sockets[0].startsWith(`${proxy.url.replace('http', 'ws')}/v1/responses?`), sockets.join());
    await page.screenshot({ path: join(PICTURES, 'subpath-lab.png'), fullPage: true });
    await page.locator('a[data-t=labBack]').click();
    await page.locator('#question').waitFor();
    assert.equal(page.url(), `${proxy.url}/`);
    await close();
  });

  test('a slash at the end of the lab is taken off', async () => {
    const { page, close } = await openBelow(proxy, { path: '/lab/' });
    assert.equal(page.url(), `${proxy.url}/lab`);
    await page.locator('#lanes .lane').nth(6).waitFor();
    await close();
  });
});

// What the demo's pages do, with relative addresses in place of those of localhost:8000.
const CLASSIC = `
  const text = {};
  const told = (id, data) => {
    if (data === '[DONE]') return (window.finished = id);
    const { content } = JSON.parse(data);
    if (content != null && content !== 'null') text[id] = (text[id] ?? '') + content;
  };
  window.text = text;
  window.byEventSource = (id, question) => {
    const source = new EventSource('chat?message=' + encodeURIComponent(question));
    source.onmessage = ({ data }) => (told(id, data), data === '[DONE]' && source.close());
  };
  window.bySocket = (id, question) => {
    const socket = new WebSocket(new URL('websocket/' + crypto.randomUUID(), location.href.replace('http', 'ws')));
    socket.onopen = () => socket.send(question);
    socket.onmessage = ({ data }) => (told(id, data), data === '[DONE]' && socket.close());
  };
`;

test('classic pages with relative addresses work below a path', async () => {
  const pages = mkdtempSync(join(tmpdir(), 'weir-classic-'));
  const head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">';
  writeFileSync(join(pages, '1.html'), `${head}<script src="classic.js"></script>`);
  writeFileSync(join(pages, 'classic.js'), CLASSIC);
  const classic = await startWeir({ settings: { WEIR_CLASSIC_PAGES: pages } });
  const front = await startStripping(classic.url);
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${front.url}/`);
    const asked = async (way, question) => {
      await page.evaluate(([way, question]) => void window[way](question, question), [way, question]);
      await page.waitForFunction((id) => window.finished === id, question);
      return page.evaluate((id) => window.text[id], question);
    };
    await asked('byEventSource', 'My name is Ada.');
    assert.match(await asked('byEventSource', 'What is my name?'), /Ada/, 'the cookie that names the conversation is sent');
    assert.match(await asked('bySocket', '/echo over a socket'), /over a socket/);
    await context.close();
    assert.deepEqual(front.strays, []);
  } finally {
    await front.stop();
    await classic.stop();
    rmSync(pages, { recursive: true, force: true });
  }
});

test("with keys, the demo's pages lead to the sign-in below a path, and back", async () => {
  const pages = mkdtempSync(join(tmpdir(), 'weir-classic-'));
  mkdirSync(join(pages, 'deep'));
  const script = CLASSIC.replaceAll("'chat?", "'../chat?");
  writeFileSync(join(pages, 'deep/page.html'), `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script>${script}</script>`);
  const classic = await startWeir({ keys: 1, settings: { WEIR_CLASSIC_PAGES: pages } });
  const front = await startStripping(classic.url);
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${front.url}/deep/page.html?a=b`);
    assert.equal(new URL(page.url()).pathname, `${PREFIX}/sign-in`);
    await page.locator('#key').fill(classic.secrets[0]);
    await page.locator('#key').press('Enter');
    await page.waitForURL(`${front.url}/deep/page.html?a=b`);
    await page.evaluate(() => window.byEventSource('here', '/echo below a path'));
    await page.waitForFunction(() => window.finished === 'here');
    assert.match(await page.evaluate(() => window.text.here), /below a path/);
    await page.goto(`${front.url}/sign-in`);
    await page.locator('#sign-out').click();
    await page.goto(`${front.url}/deep/page.html`);
    await page.waitForURL(`${front.url}/sign-in?to=deep/page.html`);
    await context.close();
    assert.deepEqual(front.strays, []);
  } finally {
    await front.stop();
    await classic.stop();
    rmSync(pages, { recursive: true, force: true });
  }
});
