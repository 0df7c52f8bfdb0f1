// The page in a real browser against the real server.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';
import { ask, choose, ended, figures, openPage, PICTURES, startBrowser, startProxy, startWeir, turn } from './world.mjs';

const NAMES = { json: 'JSON', ndjson: 'NDJSON', sse: 'SSE', websocket: 'WebSocket' };
const counted = (last) => Array.from({ length: last }, (_, index) => index + 1).join(' ');

let browser;
let weir; // as fast as it can
let paced; // as a model speaks

before(async () => {
  [browser, weir, paced] = await Promise.all([startBrowser(), startWeir(), startWeir({ tokensPerSecond: 60 })]);
});

after(async () => {
  await browser?.close();
  await Promise.all([weir?.stop(), paced?.stop()]);
});

describe('an answer', () => {
  for (const transport of ['json', 'ndjson', 'sse', 'websocket']) {
    test(`over ${transport} is shown with what it cost`, async () => {
      const { page, close } = await openPage(browser, weir.url);
      await choose(page, transport);
      await ask(page, 'What can you do?');
      await ended(page);
      const answer = turn(page).locator('.prose');
      await answer.locator('table').waitFor();
      assert.match(await answer.innerText(), /demo model[^]*你好，世界/);
      assert.ok(await answer.locator('pre code').count());
      const shown = await figures(page);
      assert.match(shown.total, /^[\d.,]+ m?s$/);
      assert.match(shown.ttft, /^[\d.,]+ m?s$/);
      assert.match(shown.rate, transport === 'json' ? /^≥ [\d.,]+$/ : /^[\d.,]+$/);
      assert.match(shown.tokens, /^\d+ → \d+$/);
      assert.match(shown.bytes, /kB$/);
      assert.equal(shown.via, `${NAMES[transport]} · demo`);
      assert.equal('events' in shown, transport !== 'json');
      if (transport === 'websocket') assert.equal(shown.reads, shown.events, 'one message is one event');
      await close();
    });
  }

  test('grows while it comes', async () => {
    const { page, close } = await openPage(browser, paced.url);
    await ask(page, '/count 60');
    const text = () => turn(page).locator('.prose').innerText();
    await page.waitForFunction(() => document.querySelector('.prose')?.textContent.includes(' 3'));
    const early = await text();
    assert.ok(!early.includes('60'), early);
    assert.ok((await page.locator('#send').innerText()).includes('Stop'));
    await ended(page);
    assert.ok((await text()).startsWith(early.trim().slice(0, 5)) && (await text()).endsWith('60'));
    await close();
  });

  test('says why it failed', async () => {
    const { page, close } = await openPage(browser, weir.url);
    await ask(page, '/fail 3');
    await ended(page);
    assert.match(await turn(page).locator('.state').innerText(), /^Failed: .*demo failed/);
    await turn(page).locator('[data-act=again]').waitFor();
    await choose(page, 'json');
    await ask(page, '/status 429');
    await ended(page);
    assert.match(await turn(page).locator('.state').innerText(), /^Failed: .*429/);
    // A browser writes every 4xx of a fetch into the console by itself.
    await close({ expected: [/status of 429/] });
  });

  test('goes on a conversation, and tells it again to a server that forgot it', async () => {
    const { page, close } = await openPage(browser, weir.url);
    const made = [];
    page.on('request', (request) => request.method() === 'POST' && made.push(request.postDataJSON()));
    await ask(page, 'My name is Ada.');
    await ended(page);
    await ask(page, 'What is my name?');
    await ended(page);
    assert.match(await turn(page).locator('.prose').innerText(), /Ada/);
    const before = made.at(-1).previous_response_id;
    assert.match(before, /^resp_/);
    const ids = await page.evaluate(() => JSON.parse(sessionStorage.getItem('weir.chat')).map(({ answer }) => answer.id));
    for (const id of ids) assert.equal((await weir.api(`/v1/responses/${id}`, { method: 'DELETE' })).status, 200);
    await ask(page, 'Again: what is my name?');
    await page.waitForFunction(() => document.querySelectorAll('.turn').length === 3);
    await ended(page);
    assert.match(await turn(page).locator('.prose').innerText(), /Ada/);
    assert.ok(made.at(-2).previous_response_id && Array.isArray(made.at(-1).input) && !made.at(-1).previous_response_id);
    await close({ expected: [/status of 400/] });
  });
});

describe('stop', () => {
  for (const transport of ['ndjson', 'sse', 'websocket']) {
    test(`over ${transport} ends the answer at the server and keeps its text`, async () => {
      const { page, close } = await openPage(browser, paced.url);
      await choose(page, transport);
      await ask(page, '/count 5000');
      await page.waitForFunction(() => document.querySelector('.prose')?.textContent.includes(' 3'));
      await page.locator('#send').click();
      await ended(page);
      assert.match(await turn(page).locator('.state').innerText(), /^Stopped\. The server ended the answer/);
      assert.match(await turn(page).locator('.prose').innerText(), /^1 2 3/);
      const [id] = await page.evaluate(() => JSON.parse(sessionStorage.getItem('weir.chat')).map(({ answer }) => answer.id));
      assert.equal((await (await paced.api(`/v1/responses/${id}`)).json()).status, 'cancelled');
      await close();
    });
  }

  test('over JSON closes the connection, which stops the model', async () => {
    const { page, close } = await openPage(browser, paced.url);
    await choose(page, 'json');
    const running = async () => (await (await paced.api('/readyz')).json()).answers_running;
    await ask(page, '/count 5000');
    while ((await running()) !== 1);
    await page.keyboard.press('Escape');
    await ended(page);
    assert.match(await turn(page).locator('.state').innerText(), /^Stopped: the connection was closed/);
    while ((await running()) !== 0);
    await close();
  });
});

describe('an answer that is under way', () => {
  for (const transport of ['sse', 'websocket']) {
    test(`over ${transport} goes on after a reload, with nothing missing`, async () => {
      const { page, close } = await openPage(browser, paced.url);
      await choose(page, transport);
      await ask(page, '/count 200');
      await page.waitForFunction(() => document.querySelector('.prose')?.textContent.includes(' 9'));
      await page.reload();
      await ended(page);
      assert.equal((await turn(page).locator('.prose').innerText()).trim(), counted(200));
      assert.match(await turn(page).locator('.state').innerText(), /caught up on \d+ events/);
      assert.equal(await turn(page).locator('.question').innerText(), '/count 200');
      assert.equal((await figures(page)).via, `${NAMES[transport]} · demo`);
      await close();
    });
  }

  for (const way of [['sse', 'ndjson'], ['ndjson', 'websocket', 'sse'], ['websocket', 'ndjson', 'websocket']]) {
    test(`moves ${way.join(', ')} in the middle`, async () => {
      const { page, close } = await openPage(browser, paced.url);
      await choose(page, way[0]);
      await ask(page, '/count 300');
      for (const [index, transport] of way.slice(1).entries()) {
        await page.waitForFunction((text) => document.querySelector('.prose')?.textContent.includes(text), ` ${(index + 1) * 30} `);
        await choose(page, transport);
      }
      await ended(page);
      assert.equal((await turn(page).locator('.prose').innerText()).trim(), counted(300));
      assert.equal((await figures(page)).via, `${way.map((name) => NAMES[name]).join(' → ')} · demo`);
      await close();
    });
  }
});

describe('its WebSocket', () => {
  test('is one for all turns', async () => {
    const { page, close } = await openPage(browser, weir.url);
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket.url()));
    await choose(page, 'websocket');
    for (const question of ['My name is Ada.', 'What is my name?', '/echo third']) {
      await ask(page, question);
      await ended(page);
    }
    assert.match(await turn(page, 1).locator('.prose').innerText(), /Ada/);
    assert.deepEqual(sockets, [`${weir.url.replace('http', 'ws')}/v1/responses`]);
    await close();
  });

  test('is opened again when it was cut, and the answer goes on where it was', async () => {
    const proxy = await startProxy(paced.url);
    const { page, close } = await openPage(browser, proxy.url);
    await choose(page, 'websocket');
    await ask(page, '/count 200');
    await page.waitForFunction(() => document.querySelector('.prose')?.textContent.includes(' 9'));
    proxy.cut();
    await ended(page);
    assert.equal((await turn(page).locator('.prose').innerText()).trim(), counted(200));
    assert.match(await turn(page).locator('.state').innerText(), /Reconnected; caught up on \d+ events/);
    // Cut while it is idle: the next turn does not notice.
    proxy.cut();
    await ask(page, '/echo still here');
    await ended(page);
    assert.equal(await turn(page).locator('.prose').innerText(), 'still here');
    await close();
    await proxy.stop();
  });

  test('tells what the server refuses', async () => {
    const { page, close } = await openPage(browser, weir.url);
    await choose(page, 'websocket');
    await ask(page, 'My name is Ada.');
    await ended(page);
    const [id] = await page.evaluate(() => JSON.parse(sessionStorage.getItem('weir.chat')).map(({ answer }) => answer.id));
    assert.equal((await weir.api(`/v1/responses/${id}`, { method: 'DELETE' })).status, 200);
    // The turn before is gone, so the page tells everything again.
    await ask(page, 'What is my name?');
    await ended(page);
    assert.match(await turn(page).locator('.prose').innerText(), /Ada/);
    await ask(page, '/fail 3');
    await ended(page);
    assert.match(await turn(page).locator('.state').innerText(), /^Failed: .*demo failed/);
    await close();
  });
});

describe('the page', () => {
  test('speaks English and Chinese, and remembers which', async () => {
    const { page, close } = await openPage(browser, weir.url);
    await ask(page, '/echo hi');
    await ended(page);
    await page.locator('[data-lang=zh]').click();
    assert.equal(await page.locator('html').getAttribute('lang'), 'zh-Hans');
    assert.match(await page.locator('#explains').innerText(), /text\/event-stream 格式/);
    assert.match(await turn(page).locator('.figures').innerText(), /总用时/);
    await page.reload();
    assert.match(await turn(page).locator('.figures').innerText(), /总用时/);
    await page.locator('[data-lang=en]').click();
    assert.match(await turn(page).locator('.figures').innerText(), /total/i);
    await close();
  });

  test('begins in the language of the browser', async () => {
    const { page, close } = await openPage(browser, weir.url, { locale: 'zh-CN' });
    assert.equal(await page.locator('html').getAttribute('lang'), 'zh-Hans');
    assert.equal(await page.locator('#empty h2').innerText(), '提个问题，看看回答是怎样到达的。');
    await close();
  });

  for (const locale of ['en-US', 'zh-CN']) {
    test(`suggests in ${locale} what the demo knows more to say about than an echo`, async () => {
      const { page, close } = await openPage(browser, weir.url, { locale });
      for (let index = 0; index < (await page.locator('#prompts button').count()); index++) {
        await page.locator('#prompts button').nth(index).click();
        await ended(page);
        assert.ok(await turn(page).locator('.prose').locator('table, pre').count(), await turn(page).innerText());
        await page.locator('#fresh').click();
      }
      await close();
    });
  }

  test('runs no script of an answer', async () => {
    const { page, close } = await openPage(browser, weir.url);
    await ask(page, '/echo <img src=x onerror=alert(1)><script>alert(2)</script> [click](javascript:alert(3)) **bold**');
    await ended(page);
    const prose = turn(page).locator('.prose');
    await prose.locator('strong').waitFor();
    assert.equal(await prose.locator('img, script, a[href^=javascript]').count(), 0);
    await close();
  });

  test('asks for a key where the server does', async () => {
    const guarded = await startWeir({ keys: 1 });
    try {
      const { page, close } = await openPage(browser, guarded.url);
      await page.locator('#key').fill('wk_wrong');
      await page.locator('#key').press('Enter');
      await page.locator('#notice:not([hidden])').waitFor();
      await page.locator('#key').fill(guarded.secrets[0]);
      await page.locator('#key').press('Enter');
      await page.waitForFunction(() => document.querySelector('#model').value === 'demo');
      await ask(page, '/echo let in');
      await ended(page);
      assert.equal(await turn(page).locator('.prose').innerText(), 'let in');
      assert.ok(!page.url().includes('wk_'));
      const sockets = [];
      page.on('websocket', (socket) => sockets.push(socket.url()));
      await choose(page, 'websocket');
      for (const word of ['by', 'ticket']) {
        await ask(page, `/echo ${word}`);
        await ended(page);
        assert.equal(await turn(page).locator('.prose').innerText(), word);
      }
      assert.ok(sockets.length === 1 && /\?ticket=tk_/.test(sockets[0]) && !sockets[0].includes('wk_'), sockets.join());
      await close({ expected: [/status of 401/] });
    } finally {
      await guarded.stop();
    }
  });
});

describe('its looks', () => {
  const shots = [
    ['en-light-1280', { width: 1280, height: 800, colorScheme: 'light' }, 'Explain SSE vs WebSocket in a table'],
    ['en-light-390', { width: 390, height: 844, colorScheme: 'light', deviceScaleFactor: 2 }, 'Explain SSE vs WebSocket in a table'],
    ['zh-light-1280', { width: 1280, height: 800, colorScheme: 'light', locale: 'zh-CN' }, '用表格比较 SSE 和 WebSocket'],
    ['zh-dark-390', { width: 390, height: 844, colorScheme: 'dark', locale: 'zh-CN', deviceScaleFactor: 2 }, '用中文介绍一下你自己'],
  ];
  for (const [name, options, question] of shots) {
    test(`${name}: nothing is cut off`, async () => {
      const { page, close } = await openPage(browser, paced.url, options);
      await page.evaluate(() => document.fonts.ready);
      await choose(page, 'websocket');
      await page.screenshot({ path: join(PICTURES, `${name}-empty.png`) });
      await ask(page, question);
      await page.waitForFunction(() => document.querySelector('.prose')?.textContent.length > 60);
      await page.screenshot({ path: join(PICTURES, `${name}-running.png`) });
      await ended(page);
      await page.screenshot({ path: join(PICTURES, `${name}.png`) });
      const [scroll, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(scroll <= width, `${scroll} px of page in ${width} px of window`);
      const words = await page.locator('#explains').evaluate((node) => [node.scrollHeight, node.clientHeight]);
      assert.ok(words[0] <= words[1], 'the explanation has room');
      await close();
    });
  }
});
