// The lab's tap in a real browser against the real server: live, at its own pace, and saved.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';
import { openPage, PICTURES, startBrowser, startWeir } from './world.mjs';

let browser;
let weir;

before(async () => {
  [browser, weir] = await Promise.all([startBrowser(), startWeir({ tokensPerSecond: 40 })]);
});

after(async () => {
  await browser?.close();
  await weir?.stop();
});

const openLab = (options = {}) => openPage(browser, weir.url, { path: '/lab', ...options });

/** Starts a response that is kept; its id. */
async function respond(text, more = {}) {
  const body = JSON.stringify({ model: 'demo', input: text, ...more });
  const reply = await weir.api('/v1/responses', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  return (await reply.json()).id;
}

const times = async (id) => (await weir.api(`/v1/responses/${id}/event_times`)).json();

/** The cells of every row. */
const rows = (page) => page.locator('#tap-rows tr').evaluateAll((nodes) => nodes.map((node) => [...node.cells].map((cell) => cell.textContent)));

const over = (page) => page.waitForFunction(() => /^\d[\d,]* events, /.test(document.querySelector('#tap-status').textContent));

async function saved(page, button) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator(button).click()]);
  return JSON.parse(readFileSync(await download.path(), 'utf8'));
}

describe('the tap of the lab', () => {
  test('shows a finished response with the times of the server, and saves it', async () => {
    const id = await respond('/count 12');
    const { times_ms: recorded } = await times(id);
    const { page, close } = await openLab();
    await page.locator('#tap-id').fill(id);
    await page.locator('#tap-fast').check();
    await page.locator('#tap-run').click();
    await over(page);
    const shown = await rows(page);
    assert.deepEqual(shown.map(([, , position]) => Number(position)), recorded.map((_, position) => position));
    assert.deepEqual(shown.map(([time]) => Number(time.replaceAll(',', ''))), recorded);
    assert.match(await page.locator('#tap-status').innerText(), /when the server appended/);
    const document = await saved(page, '#tap-json');
    assert.deepEqual(document.events.map((event) => event.logged_ms), recorded);
    assert.equal(document.end, 'complete');
    const { log } = await saved(page, '#tap-har');
    assert.equal(log.entries[0]._eventSourceMessages.length, recorded.length);
    await page.locator('[data-lang=zh]').click();
    await page.waitForFunction(() => document.querySelector('#tap-status').textContent.includes('个事件'));
    await close();
  });

  test('replays at the original pace', async () => {
    const id = await respond('/count 12');
    const { times_ms: recorded } = await times(id);
    const { page, close } = await openLab();
    await page.goto(`${weir.url}/lab#tap=${id}`);
    await page.reload();
    await over(page);
    const { events } = await saved(page, '#tap-json');
    const lag = (event) => event.taken_ms - event.logged_ms;
    assert.equal(events.length, recorded.length);
    for (const event of events) assert.ok(lag(event) - lag(events[0]) > -5, `event ${event.sequence_number} came before its time`);
    await close();
  });

  test('shows a running response live, and can be ended', async () => {
    const { page, close } = await openLab();
    await page.locator('#prompt').fill('/count 100000');
    await page.locator('#tap-new').click();
    await page.waitForFunction(() => document.querySelectorAll('#tap-rows tr').length > 20);
    assert.match(await page.locator('#tap-status').innerText(), /^Live: /);
    await page.locator('#tap-run').click();
    await over(page);
    const id = await page.locator('#tap-id').inputValue();
    assert.equal((await (await weir.api(`/v1/responses/${id}`)).json()).status, 'in_progress', 'it goes on');
    assert.equal((await saved(page, '#tap-json')).end, 'stopped');
    await weir.api(`/v1/responses/${id}`, { method: 'DELETE' });
    await close();
  });

  test('says what is unknown', async () => {
    const { page, close } = await openLab();
    await page.locator('#tap-id').fill('resp_unknown');
    await page.locator('#tap-run').click();
    await page.waitForFunction(() => document.querySelector('#tap-status').textContent.includes('not found'));
    await close({ expected: [/404/] });
  });

  for (const width of [390, 1280]) {
    test(`fits a page of ${width} px`, async () => {
      const id = await respond('/count 12');
      const { page, close } = await openLab({ width, height: 900 });
      await page.locator('#tap-id').fill(id);
      await page.locator('#tap-fast').check();
      await page.locator('#tap-run').click();
      await over(page);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${wide} px`);
      await page.locator('#tap').screenshot({ path: join(PICTURES, `tap-${width}.png`) });
      await close();
    });
  }
});
