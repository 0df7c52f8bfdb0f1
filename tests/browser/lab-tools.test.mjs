// The lab's experiments in a real browser: cut and resume, a buffering proxy, slow and second readers, runs, links and exports.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';
import { openPage, PICTURES, startBrowser, startWeir } from './world.mjs';

const TEXT = Array.from({ length: 60 }, (_, index) => index + 1).join(' ');

let browser;
let weir;
let mayCapture;

before(async () => {
  [browser, weir] = await Promise.all([startBrowser(), startWeir({ tokensPerSecond: 120 })]);
  mayCapture = (await (await weir.api('/v1/lens/connections')).json()).capture.state === 'on';
});

after(async () => {
  await browser?.close();
  await weir?.stop();
});

const lane = (page, kind) => page.locator(`.lane[data-lane=${kind}]`);
const figure = (page, kind, name) => lane(page, kind).locator(`.figures > .${name} dd`).innerText();
const status = (page) => page.locator('#status').innerText();

const over = (page) => page.waitForFunction(() => document.querySelector('#lanes').getAttribute('aria-busy') === 'false'
  && document.querySelector('#status').textContent !== '');

/** The lab with these settings, as a link has them. */
const openLab = (settings, options = {}) => openPage(browser, weir.url, {
  path: `/lab#${new URLSearchParams({ prompt: '/count 60', model: 'demo', order: 'together', ...settings })}`, ...options,
});

async function run(page) {
  await page.locator('#run').click();
  await over(page);
}

/** The file that a click offers. */
async function saved(page, button) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator(button).click()]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

const results = async (page) => JSON.parse((await saved(page, '#save-json')).bytes);

describe('the lab’s experiments', () => {
  test('cuts every lane once, and each resumes as its transport can', async () => {
    const { page, close } = await openLab({ cut: 'auto', fresh: '1' });
    await run(page);
    assert.equal(await status(page), `All 6 lanes delivered the same text: ${TEXT.length} characters. Not counted: Classic API, cut and unable to resume.`);
    const { runs: [{ lanes }] } = await results(page);
    for (const one of lanes) {
      const marks = one.marks.map(({ what }) => what);
      assert.deepEqual(marks, one.lane === 'classic' ? ['cut'] : ['cut', 'resumed'], one.lane);
      assert.equal(one.missing_events, 0, one.lane);
      if (['ndjson', 'sse', 'eventsource', 'websocket'].includes(one.lane)) assert.equal(one.repeated_events, 0, one.lane);
      assert.equal(one.partial, one.lane === 'classic');
    }
    assert.ok(lanes.find(({ lane: kind }) => kind === 'chat').repeated_events >= 20, 'chat completions begin again');
    assert.match(await figure(page, 'sse', 'cut'), /^cut at [\d.]+ m?s, resumed at [\d.]+ m?s; missing 0, repeated 0$/);
    assert.equal(await lane(page, 'sse').locator('.marks line').count(), 2);
    if (mayCapture) assert.match(await figure(page, 'sse', 'ending'), /reset by the server/);
    await close({ expected: [/ERR_CONNECTION_RESET|ERR_INCOMPLETE|ERR_EMPTY|WebSocket|ERR_NETWORK/] });
  });

  test('cuts and resumes by its buttons', async () => {
    const { page, close } = await openLab({ prompt: '/count 400', cut: 'hand', lanes: 'sse,websocket' });
    await page.locator('#run').click();
    for (const kind of ['sse', 'websocket']) {
      await lane(page, kind).locator('circle.dot').nth(8).waitFor({ state: 'attached' });
      await lane(page, kind).getByRole('button', { name: 'Cut' }).click();
      await lane(page, kind).getByRole('button', { name: 'Resume' }).click();
    }
    await over(page);
    assert.match(await status(page), /^All 2 lanes delivered the same text/);
    for (const kind of ['sse', 'websocket']) assert.match(await figure(page, kind, 'cut'), /missing 0, repeated 0$/, kind);
    await close({ expected: [/ERR_CONNECTION_RESET|ERR_INCOMPLETE|WebSocket|ERR_NETWORK/] });
  });

  test('a buffering proxy makes of a stream a few full buffers, and of a WebSocket nothing', async () => {
    const { page, close } = await openLab({ relay: 'size4', lanes: 'ndjson,sse,websocket,chat,classic' });
    await run(page);
    assert.match(await status(page), /^All 5 lanes delivered the same text/);
    const { runs: [{ lanes }] } = await results(page);
    const of = Object.fromEntries(lanes.map((one) => [one.lane, one]));
    for (const kind of ['ndjson', 'sse', 'chat']) assert.ok(of[kind].most_events_in_a_read >= 5, `${kind}: ${of[kind].most_events_in_a_read}`);
    assert.ok(of.websocket.reads > of.sse.reads, 'it is passed through');
    await page.locator('#relay').selectOption('whole');
    await run(page);
    const { runs: [{ lanes: whole }] } = await results(page);
    const sse = whole.find((one) => one.lane === 'sse');
    assert.ok(sse.first_text_ms > 0.8 * sse.complete_ms, 'everything comes at the end');
    await close();
  });

  test('a slow reader is late, and the server is not', async () => {
    const { page, close } = await openLab({ slow: '1', lanes: 'sse,websocket' });
    await run(page);
    const { runs: [{ lanes: [sse, socket] }] } = await results(page);
    assert.ok(sse.complete_ms > 2 * socket.complete_ms, `${sse.complete_ms} ${socket.complete_ms}`);
    assert.match(await figure(page, 'sse', 'slow'), /8 kB\/s/);
    assert.equal(await lane(page, 'websocket').locator('.figures > .slow').count(), 0);
    await close();
  });

  test('a second reader joins late and ends with the same text', async () => {
    const { page, close } = await openLab({ second: '1', lanes: 'eventsource' });
    await run(page);
    assert.match(await figure(page, 'eventsource', 'second'), /the same text$/);
    const events = Number(await figure(page, 'eventsource', 'events'));
    const { runs: [{ lanes: [{ second_reader: second }] }] } = await results(page);
    assert.deepEqual([second.events, second.same_text], [events, true], 'from its start');
    assert.ok(second.joined_ms > 0 && second.reads < events, 'what it had missed came together');
    assert.equal(await lane(page, 'eventsource').locator('svg.second circle.dot').count(), events);
    await close();
  });

  test('repeats and rotates, and says the median and the slowest of how many', async () => {
    const { page, close } = await openLab({ runs: '3', lanes: 'json,sse,chat' });
    await run(page);
    const { settings, runs } = await results(page);
    assert.equal(settings.runs, 3);
    assert.deepEqual(runs.map(({ order }) => order[0]), ['json', 'sse', 'chat']);
    assert.match(await page.locator('#summary caption').innerText(), /^3 runs/);
    assert.equal(await page.locator('#summary tbody tr').count(), 3);
    assert.match(await page.locator('#summary tbody td').first().innerText(), /\(3\)$/);
    await close();
  });

  test('a link restores the settings and starts nothing', async () => {
    const { page, close } = await openPage(browser, weir.url, { path: '/lab' });
    await page.locator('#prompt').fill('/count 7 & #');
    await page.locator('#relay').selectOption('time');
    await page.locator('#runs').fill('4');
    await page.locator('#which input[value=json]').uncheck();
    await page.locator('#slow').check();
    assert.equal(await lane(page, 'json').isVisible(), false);
    await page.locator('#link').click();
    await page.locator('#export-note:not(:empty)').waitFor();
    const link = page.url();
    await close();
    const again = await openPage(browser, weir.url, { path: link.slice(weir.url.length) });
    assert.equal(await again.page.locator('#prompt').inputValue(), '/count 7 & #');
    assert.equal(await again.page.locator('#relay').inputValue(), 'time');
    assert.equal(await again.page.locator('#runs').inputValue(), '4');
    assert.equal(await again.page.locator('#which input[value=json]').isChecked(), false);
    assert.ok(await again.page.locator('#slow').isChecked());
    assert.equal(await status(again.page), '');
    assert.equal(await again.page.locator('.lane.running').count(), 0);
    await again.close();
  });

  test('is taken along as JSON, as a picture and as a capture file', async () => {
    const { page, close } = await openLab({ lanes: 'sse,classic', fresh: '1', order: 'turns' });
    for (const button of ['#save-json', '#save-svg', '#save-pcapng']) assert.ok(await page.locator(button).isDisabled(), button);
    await run(page);
    const { runs: [{ lanes }] } = await results(page);
    assert.deepEqual(lanes.map((one) => [one.lane, one.characters, one.dots.length === one.events]), [['sse', TEXT.length, true], ['classic', TEXT.length, true]]);
    const svg = await saved(page, '#save-svg');
    const circles = String(svg.bytes).match(/<circle /g).length;
    assert.equal(circles, lanes.reduce((all, { events }) => all + events, 0));
    if (mayCapture) {
      const { name, bytes } = await saved(page, '#save-pcapng');
      assert.deepEqual([name, bytes.readUInt32LE(0)], ['weir-lab.pcapng', 0x0a0d0d0a]);
      assert.ok(bytes.includes('-classic') && !bytes.includes('59 60'), 'names of lanes, and no contents');
    } else {
      assert.match(await page.locator('#export-note').innerText(), /^No capture file/);
    }
    await close();
  });

  test('says how to get HTTP/2 and TLS, and what a lane ran over', async () => {
    const { page, close } = await openLab({ lanes: 'sse' });
    assert.match(await page.locator('.over-tls').innerText(), /weir serve --tls self-signed/);
    await run(page);
    assert.equal(await lane(page, 'sse').locator('.protocol').innerText(), 'over HTTP/1.1');
    await close();
    const encrypted = await startWeir({ tls: true });
    try {
      const secure = await openPage(browser, encrypted.url, { path: '/lab#lanes=sse', ignoreHTTPSErrors: true });
      await run(secure.page);
      assert.match(await lane(secure.page, 'sse').locator('.protocol').innerText(), /^over HTTP\/2 · TLS/);
      assert.match(await secure.page.locator('.over-tls').innerText(), /came through TLS/);
      await secure.close();
    } finally {
      await encrypted.stop();
    }
  });
});

describe('their looks', () => {
  for (const [name, options] of [
    ['lab-tools-en-1280', { width: 1280, height: 900 }],
    ['lab-tools-zh-390', { width: 390, height: 844, locale: 'zh-CN', colorScheme: 'dark' }],
  ]) {
    test(`${name}: nothing is cut off`, async () => {
      const { page, close } = await openLab({ cut: 'auto', runs: '2', second: '1', relay: 'time' }, options);
      await run(page);
      await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
      const [scroll, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(scroll <= width, `${scroll} px of page in ${width} px of window`);
      await close({ expected: [/ERR_CONNECTION_RESET|ERR_INCOMPLETE|ERR_EMPTY|WebSocket|ERR_NETWORK/] });
    });
  }
});
