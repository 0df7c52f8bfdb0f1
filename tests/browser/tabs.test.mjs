// A browser has six connections to a server over HTTP/1.1, for all tabs together: with six answers streaming, stop works at once.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ask, choose, ended, openPage, startBrowser, startWeir, turn } from './world.mjs';

let browser, weir;

before(async () => {
  [browser, weir] = await Promise.all([startBrowser(), startWeir({ tokensPerSecond: 20 })]);
});

after(async () => {
  await browser?.close();
  await weir?.stop();
});

for (const transport of ['sse', 'ndjson']) {
  test(`six tabs over ${transport}: each is stopped at once`, async () => {
    const first = await openPage(browser, weir.url);
    const pages = [first.page];
    while (pages.length < 6) {
      const page = await first.page.context().newPage();
      await page.goto(weir.url);
      await page.waitForFunction(() => document.querySelector('#model')?.value);
      pages.push(page);
    }
    for (const page of pages) {
      await choose(page, transport);
      await ask(page, '/count 5000');
      await page.waitForFunction(() => document.querySelector('.answer')?.textContent.length > 20);
    }
    const running = async () => (await (await weir.api('/readyz')).json()).answers_running;
    assert.equal(await running(), 6);
    for (const page of pages) {
      const begun = performance.now();
      await page.bringToFront();
      await page.locator('#send').click();
      await ended(page);
      // Before, it waited until one of the other answers had ended by itself: minutes.
      assert.ok(performance.now() - begun < 6000, `${performance.now() - begun} ms`);
      assert.match(await turn(page).textContent(), /Stopped|stopped/);
    }
    while (await running()) await new Promise((done) => setImmediate(done));
    await first.close();
  });
}
