// The sample page in Chromium, served from an origin of its own: every way, on a good network, across a cut, and stopped.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { startBrowser, startProxy, startWeir } from '../browser/world.mjs';
import { ROOT, count } from './run.mjs';

const SAID = '你好，世界 👩‍👩‍👧 ok';
const PAGE = readFileSync(`${ROOT}/samples/browser/index.html`);

let site, origin, weir, stranger, browser;

before(async () => {
  site = createServer((request, response) => response.writeHead(request.url.startsWith('/?') ? 200 : 404, { 'content-type': 'text/html' })
    .end(request.url.startsWith('/?') ? PAGE : ''));
  await new Promise((done) => site.listen(0, '127.0.0.1', done));
  origin = `http://127.0.0.1:${site.address().port}`;
  const settings = { WEIR_SERVER_ORIGINS: origin };
  [weir, stranger, browser] = await Promise.all([startWeir({ tokensPerSecond: 60, settings }), startWeir(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await Promise.all([weir?.stop(), stranger?.stop()]);
  site?.closeAllConnections();
  await new Promise((done) => site.close(done));
});

async function ask(server, way, question, meanwhile = () => {}) {
  const page = await browser.newPage();
  try {
    await page.goto(`${origin}/?server=${server}`);
    await page.selectOption('[name=way]', way);
    await page.fill('[name=question]', question);
    await page.click('text=Ask');
    await meanwhile(page);
    await page.waitForFunction(() => /^(status|error):/.test(document.querySelector('#note').textContent));
    return { text: await page.textContent('#answer'), note: await page.textContent('#note') };
  } finally {
    await page.close();
  }
}

for (const way of ['fetch', 'eventsource', 'websocket']) {
  describe(way, () => {
    test('shows the answer', async () => {
      assert.deepEqual(await ask(weir.url, way, `/echo ${SAID}`), { text: SAID, note: 'status: completed' });
    });

    test('goes on after a cut in mid-answer', async () => {
      const proxy = await startProxy(weir.url);
      try {
        const shown = await ask(proxy.url, way, '/count 100', async (page) => {
          await page.waitForFunction(() => document.querySelector('#answer').textContent.includes(' 5'));
          proxy.cutAfter(0); // the next bytes of the connection that there is
        });
        assert.deepEqual(shown, { text: count(100), note: 'status: completed' });
        assert.equal(proxy.cuts(), 1);
      } finally {
        await proxy.stop();
      }
    });

    test('stops', async () => {
      const shown = await ask(weir.url, way, '/count 100000', async (page) => {
        await page.waitForFunction(() => document.querySelector('#answer').textContent.includes(' 5'));
        await page.click('text=Stop');
      });
      assert.equal(shown.note, 'status: cancelled');
    });

    test('is refused by a server that does not know its origin', async () => {
      assert.match((await ask(stranger.url, way, 'hi')).note, /^error:/);
    });
  });
}
