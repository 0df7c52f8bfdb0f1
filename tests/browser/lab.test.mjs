// The lab in a real browser against the real server: what it shows is what happened.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';
import { openPage, PICTURES, startBrowser, startWeir } from './world.mjs';

const LANES = ['json', 'ndjson', 'sse', 'eventsource', 'websocket', 'chat', 'classic'];
const TEXT = Array.from({ length: 60 }, (_, index) => index + 1).join(' ');
const LENS = '/v1/lens/connections';

let browser;
let weir;
let mayCapture;

before(async () => {
  [browser, weir] = await Promise.all([startBrowser(), startWeir({ tokensPerSecond: 120 })]);
  mayCapture = (await (await weir.api(LENS)).json()).capture.state === 'on';
  // Bit 13 is CAP_NET_RAW (capabilities(7)): who has it must capture.
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1];
  assert.equal(mayCapture, Boolean((BigInt(`0x${effective}`) >> 13n) & 1n));
});

after(async () => {
  await browser?.close();
  await weir?.stop();
});

const openLab = (server, options = {}) => openPage(browser, server.url, { path: '/lab', ...options });

const lane = (page, kind) => page.locator(`.lane[data-lane=${kind}]`);

/** Runs the lab to its end. */
async function run(page) {
  await page.locator('#run').click();
  await over(page);
}

const over = (page) => page.waitForFunction(() => document.querySelector('#lanes').getAttribute('aria-busy') === 'false'
  && document.querySelector('#status').textContent !== '');

const figure = (page, kind, name) => lane(page, kind).locator(`.figures > .${name} dd`).innerText();

/** Resolves when no answer runs any more. */
async function quiet(server) {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline;) {
    if ((await (await server.api('/readyz')).json()).answers_running === 0) return;
  }
  assert.fail('an answer runs still');
}

/** The rows of bytes by kind, and their sum. */
async function kinds(page, kind) {
  const rows = await lane(page, kind).locator('.kinds > div').evaluateAll((nodes) => nodes.map((node) => [node.className, Number(node.dataset.bytes)]));
  const whole = Number(await lane(page, kind).locator('.sums strong').getAttribute('data-bytes'));
  assert.equal(rows.reduce((sum, [, bytes]) => sum + bytes, 0), whole, `${kind}: ${JSON.stringify(rows)}`);
  return { ...Object.fromEntries(rows), whole };
}

/** The connections of each lane, as the server shows them. */
async function seen(server, key) {
  const options = key ? { headers: { authorization: `Bearer ${key}` } } : {};
  const { data } = await (await server.api(LENS, options)).json();
  const of = (kind) => data.filter(({ last_requests: requests }) => requests.some((request) => request.lane?.endsWith(`-${kind}`)));
  return Object.fromEntries(LANES.map((kind) => [kind, of(kind)]));
}

async function checkBytes(page, kind, connections) {
  const { whole, text } = await kinds(page, kind);
  assert.equal(whole, connections.reduce((all, { sent }) => all + sent.total, 0), kind);
  assert.equal(text, TEXT.length, kind);
}

async function checkLadder(page, kind, word) {
  await lane(page, kind).locator('summary').click();
  const text = await lane(page, kind).locator('svg.ladder').textContent();
  assert.ok(text.includes('SYN') && text.includes('FIN') && text.includes(word), `${kind}: ${text.slice(0, 400)}`);
  const words = [...(await page.locator('#prompt').inputValue()).split(' '), '/count', '59 60'].filter((word) => /\D/.test(word));
  assert.ok(words.length && words.every((word) => !text.includes(word)), `${kind}: nothing of what was said is in it`);
  assert.match(await figure(page, kind, 'handshake'), /SYN, SYN\+ACK, ACK in [\d.]+ (µs|ms)/);
  await lane(page, kind).locator('summary').click();
}

describe('the lab', () => {
  test('shows each lane as it was, one after another on connections of their own', async () => {
    const { page, close } = await openLab(weir);
    assert.equal(await page.locator('#prompt').inputValue(), '/count 60');
    await run(page);
    assert.equal(await page.locator('#status').innerText(), `All 7 lanes delivered the same text: ${TEXT.length} characters.`);
    const connections = await seen(weir);
    for (const kind of LANES) {
      const events = Number(await figure(page, kind, 'events'));
      assert.equal(await lane(page, kind).locator('circle.dot').count(), events, kind);
      const said = connections[kind].reduce((all, one) => all + one.said.events, 0);
      assert.equal(kind === 'json' ? events - 1 : events, said, `${kind}: the server counts as many`);
      assert.equal(await figure(page, kind, 'characters'), `${TEXT.length} characters`);
      await checkBytes(page, kind, connections[kind]);
      assert.equal(connections[kind].length, ['eventsource', 'classic'].includes(kind) ? 2 : 1, `${kind}: a connection for every request`);
      assert.match(await figure(page, kind, 'route-first'), /^log .+ → connection \+/, kind);
      assert.equal(await figure(page, kind, 'upstream'), 'none: the model is in the server', kind);
      assert.match(await lane(page, kind).locator('.opened').innerText(), /0 reused/);
      if (mayCapture) await checkLadder(page, kind, 'client');
    }
    assert.ok(Number(await lane(page, 'sse').locator('circle.dot.odd').count()) > 5, 'reads have colours');
    const left = await Promise.all(connections.eventsource.map(({ last_requests: [{ path }] }) => /resp_\w+/.exec(path)?.[0]));
    assert.equal((await weir.api(`/v1/responses/${left.find(Boolean)}`)).status, 404, 'nothing is left behind');
    await close();
  });

  test('runs them at the same time, on whatever connections there are', async () => {
    const { page, close } = await openLab(weir);
    await page.locator('label:has(#together)').click();
    await page.locator('#fresh').uncheck();
    await run(page);
    assert.match(await page.locator('#status').innerText(), /^All 7 lanes delivered the same text/);
    for (const kind of LANES) {
      const events = Number(await figure(page, kind, 'events'));
      assert.equal(await lane(page, kind).locator('circle.dot').count(), events, kind);
    }
    // A second run finds connections that the first has left.
    await run(page);
    const reused = await page.locator('.opened').allInnerTexts();
    assert.ok(reused.some((text) => /[1-9] reused/.test(text)), reused.join());
    await close();
  });

  test('speaks both languages, pictures included', async () => {
    const { page, close } = await openLab(weir);
    await run(page);
    await page.locator('[data-lang=zh]').click();
    assert.equal(await page.locator('html').getAttribute('lang'), 'zh-Hans');
    assert.match(await page.locator('#status').innerText(), /^7 个通道收到的文本相同/);
    assert.equal(await page.title(), 'Weir: 传输实验台');
    assert.ok((await lane(page, 'sse').innerText()).includes('服务器在自己的套接字上计数'));
    if (mayCapture) {
      await page.waitForFunction(() => [...document.querySelectorAll('svg.ladder')].filter((svg) => svg.textContent.includes('客户端')).length === 7);
    }
    await page.locator('[data-lang=en]').click();
    assert.match(await page.locator('#status').innerText(), /^All 7 lanes/);
    await close();
  });

  test('stops, and with it the model', async () => {
    const { page, close } = await openLab(weir);
    await page.locator('label:has(#together)').click();
    await page.locator('#prompt').fill('/count 5000');
    await page.locator('#run').click();
    await lane(page, 'eventsource').locator('circle.dot').nth(12).waitFor({ state: 'attached' });
    await page.locator('#run').click();
    await over(page);
    assert.equal(await page.locator('#status').innerText(), 'Stopped.');
    assert.equal(await page.locator('.lane .bad').count(), 0, 'a stop is no failure');
    await quiet(weir);
    await close();
  });

  test('stops in turns, and leaves the other lanes as they were', async () => {
    const { page, close } = await openLab(weir);
    await page.locator('#prompt').fill('/count 5000');
    await page.locator('#run').click();
    await lane(page, 'json').and(page.locator('.running')).waitFor();
    assert.equal(await page.locator('.lane.running').count(), 1, 'one is running');
    assert.match(await lane(page, 'sse').innerText(), /not run yet/);
    await page.locator('#run').click();
    await over(page);
    assert.equal(await page.locator('.lane.running').count(), 0);
    assert.match(await lane(page, 'json').innerText(), /Stopped\./);
    assert.match(await lane(page, 'websocket').innerText(), /not run yet/);
    await quiet(weir);
    await close();
  });

  test('tells what a lane cost on a connection that was there before', async () => {
    const { page, close } = await openLab(weir);
    await page.locator('#fresh').uncheck();
    let before = null;
    for (let runs = 0; runs < 3; runs++) {
      await run(page);
      const shown = Object.fromEntries(await Promise.all(LANES.map(async (kind) => [kind, await kinds(page, kind)])));
      for (const kind of LANES) {
        assert.equal(shown[kind].text, TEXT.length, kind);
        assert.match(await lane(page, kind).locator('.ratio').innerText(), /bytes per byte of text/, kind);
        // The same answer costs the same, but for how many chunks it came in.
        if (before) assert.ok(Math.abs(shown[kind].whole - before[kind].whole) < 3000, `${kind}: ${before[kind].whole}, ${shown[kind].whole}`);
      }
      before = shown;
    }
    assert.match(await lane(page, 'sse').locator('.by-kernel .caption').innerText(), /for the whole connection, \d+ requests/);
    await close();
  });

  test('draws what is new, and not everything again', async () => {
    const { page, close } = await openLab(weir);
    await page.locator('label:has(#together)').click();
    await page.locator('#prompt').fill('/count 5000');
    await page.locator('#run').click();
    const dots = lane(page, 'ndjson').locator('circle.dot');
    // The axis grows by steps: behind the first second it is the same until the second.
    await page.waitForFunction(() => document.querySelector('.lane[data-lane=ndjson] .axis text:last-of-type')?.textContent === '2 s');
    const label = await lane(page, 'ndjson').locator('svg.dots').first().getAttribute('aria-label');
    assert.equal(label, 'NDJSON', 'a label that counts would be read out ten times a second');
    const count = await dots.count();
    await dots.first().evaluate((node) => (node.dataset.kept = 'yes'));
    await dots.nth(count + 20).waitFor({ state: 'attached' });
    assert.equal(await dots.first().getAttribute('data-kept'), 'yes');
    await page.locator('#run').click();
    await over(page);
    assert.match(await lane(page, 'ndjson').locator('svg.dots').first().getAttribute('aria-label'), /NDJSON: \d+ events in \d+ reads/);
    await close();
  });

  test('draws of very many events as many as can be told apart', async () => {
    const { page, close } = await openLab(weir);
    const drawn = await page.evaluate(async () => {
      const { Dots } = await import('/assets/js/lab-dots.js');
      const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      const dots = new Dots(svg);
      const events = [];
      return [400, 401, 1000].map((count) => {
        while (events.length < count) events.push({ at: events.length, batch: events.length >> 1, text: true });
        dots.draw({ events, ended: null }, { width: 400, span: 1000 });
        const at = [...svg.querySelectorAll('circle')].map((circle) => Number(circle.getAttribute('cx')));
        const scale = (400 - 12) / 1000;
        return { events: at.map((x) => Math.round((x - 6) / scale)), isInOrder: at.every((x, index) => !index || x >= at[index - 1]) };
      });
    });
    const every = (count, stride) => Array.from({ length: Math.ceil(count / stride) }, (_, index) => index * stride);
    assert.deepEqual(drawn, [[400, 1], [401, 2], [1000, 4]].map(([count, stride]) => ({ events: every(count, stride), isInOrder: true })));
    await close();
  });

  test('deletes the stored answer also where the server cannot be asked what it saw', async () => {
    const { page, close } = await openLab(weir);
    const stored = [];
    page.on('response', async (response) => {
      if (response.request().postDataJSON?.()?.background) stored.push((await response.json()).id);
    });
    await page.route(`**${LENS}?*`, (route) => (/lane=none/.test(route.request().url()) ? route.continue() : route.abort()));
    await page.locator('label:has(#together)').click();
    await run(page);
    await page.waitForFunction(() => !document.body.classList.contains('running'));
    assert.equal(stored.length, 1);
    assert.equal((await weir.api(`/v1/responses/${stored[0]}`)).status, 404);
    await close({ expected: [/ERR_FAILED/] });
  });

  /** Opens the lab against a server whose list of connections is changed on its way. */
  async function openChanged(change) {
    const { page, close } = await openLab(weir);
    await page.route(`**${LENS}?*`, async (route) => {
      const reply = await route.fetch();
      const list = await reply.json();
      list.data.forEach((connection) => change(connection, list));
      await route.fulfill({ response: reply, json: list });
    });
    await page.locator('label:has(#together)').click();
    await run(page);
    return { page, close };
  }

  test('says what is not known, or not the whole', async () => {
    const { page, close } = await openChanged((connection, { capture }) => {
      capture.dropped = 7;
      if (connection.tcp) connection.tcp.segments_sent = connection.tcp.retransmissions = null;
      if (connection.packets) Object.assign(connection.packets, { listed: 3, total: 30, ending: { ...connection.packets.ending, state: 'closing' } });
    });
    for (const kind of LANES) {
      const shown = await lane(page, kind).innerText();
      assert.match(await figure(page, kind, 'segments'), /^– \/ \d+$/, kind);
      assert.equal(await figure(page, kind, 'retransmissions'), '–', kind);
      if (!mayCapture) continue;
      assert.match(shown, /The diagram shows the first 3 of 30 packets\./, kind);
      assert.match(shown, /7 packets were lost since the capture started/, kind);
      assert.match(shown, /the connection was still closing/, kind);
    }
    await close();
  });

  test('shows nothing of a connection that others have a part in', async () => {
    const { page, close } = await openChanged((connection) => {
      for (const name of Object.keys(connection)) if (!['id', 'protocol', 'last_requests'].includes(name)) connection[name] = null;
      connection.shared = true;
    });
    for (const kind of LANES) {
      assert.match(await lane(page, kind).innerText(), /only an admin sees its numbers and packets/, kind);
      assert.equal(await lane(page, kind).locator('.by-server').count(), 0, kind);
    }
    await close();
  });

  test('says why there is no picture', async () => {
    const { page, close } = await openLab(weir);
    await page.route('**/ladder.svg?*', (route) => route.fulfill({ status: 404, json: { error: { message: 'It was eaten by the dog.' } } }));
    await run(page);
    const shown = await page.locator('.lane .by-packets').allInnerTexts();
    assert.equal(shown.filter((text) => text.includes('No diagram: It was eaten by the dog.')).length, mayCapture ? LANES.length : 0);
    await close({ expected: [/status of 404/] });
  });

  test('says why there are no packets and no kinds of bytes', async () => {
    // Where this process may capture, the server's must not.
    const wrapper = mayCapture ? ['setpriv', '--bounding-set', '-net_raw', '--inh-caps', '-net_raw'] : [];
    const restricted = await startWeir({ wrapper, settings: { WEIR_LENS_SAMPLING: '0.0' } });
    try {
      const { page, close } = await openLab(restricted);
      await run(page);
      assert.match(await page.locator('#status').innerText(), /^All 7 lanes/);
      for (const kind of LANES) {
        const text = await lane(page, kind).innerText();
        assert.match(text, /No packets: the server is not permitted to capture them \(no CAP_NET_RAW\)\./, kind);
        assert.match(text, /lens\.sampling left this connection out/, kind);
        assert.equal(await lane(page, kind).locator('details').count(), 0);
      }
      await close();
    } finally {
      await restricted.stop();
    }
  });

  test('works with a key, which is never in an address, for a caller who is no admin', async () => {
    const guarded = await startWeir({ keys: 1 });
    try {
      const { page, close } = await openLab(guarded);
      const addresses = [];
      page.on('request', (request) => addresses.push(request.url()));
      page.on('websocket', (socket) => addresses.push(socket.url()));
      const looks = await guarded.api(LENS, { headers: { authorization: `Bearer ${guarded.admin}` } });
      assert.equal((await looks.json()).capture.state === 'on', mayCapture);
      await page.locator('#key').fill(guarded.secrets[0]);
      await page.locator('#key').press('Enter');
      await page.waitForFunction(() => document.querySelector('#model').value === 'demo');
      await run(page);
      assert.match(await page.locator('#status').innerText(), /^All 7 lanes delivered the same text/);
      const connections = await seen(guarded, guarded.secrets[0]);
      for (const kind of LANES) {
        await checkBytes(page, kind, connections[kind]);
        if (mayCapture) await checkLadder(page, kind, 'client');
      }
      assert.ok(addresses.length > 10 && addresses.every((address) => !address.includes('wk_')));
      await close({ expected: [/status of 401/] });
    } finally {
      await guarded.stop();
    }
  });

  test('without the look of an admin a caller sees counts and no packets', async () => {
    const guarded = await startWeir({ keys: 1 });
    try {
      const { page, close } = await openLab(guarded);
      await page.locator('#key').fill(guarded.secrets[0]);
      await page.locator('#key').press('Enter');
      await page.waitForFunction(() => document.querySelector('#model').value === 'demo');
      await run(page);
      for (const kind of LANES) {
        assert.equal((await kinds(page, kind)).text, TEXT.length);
        assert.match(await lane(page, kind).innerText(), /No packets: only an admin can start a capture, and none is running\./);
      }
      await close({ expected: [/status of 401/] });
    } finally {
      await guarded.stop();
    }
  });

  test('tells through TLS what TLS costs, and that HTTP/2 needs one connection', async () => {
    const encrypted = await startWeir({ tls: true });
    try {
      const { page, close } = await openLab(encrypted, { ignoreHTTPSErrors: true });
      for (const order of ['turns', 'together']) {
        await page.locator(`label:has(input[value=${order}])`).click();
        await run(page);
        assert.match(await page.locator('#status').innerText(), /^All 7 lanes delivered the same text/, order);
        for (const kind of LANES) {
          const shown = await kinds(page, kind);
          assert.ok(shown.tls > 0 && shown.text >= TEXT.length, `${order} ${kind}: ${JSON.stringify(shown)}`);
          // The stream and the question of the classic API overlap, so that their connection cannot be divided.
          if (order === 'turns' && kind === 'classic') assert.match(await lane(page, kind).innerText(), /for the whole connection, \d+ requests/, kind);
          else if (order === 'turns') assert.equal(shown.text, TEXT.length, `${kind}: of this lane alone`);
        }
        const sse = await lane(page, 'sse').innerText();
        assert.match(sse, /0 opened, 1 reused/, order);
        assert.match(sse, /Over HTTP\/2 all requests of a page share one connection/, order);
        assert.equal(await lane(page, 'sse').locator('.ratio').count(), order === 'turns' ? 1 : 0, order);
        assert.equal(/counted by the server on its socket · for the whole connection, \d+ requests/.test(sse), order === 'together', sse);
      }
      await close();
    } finally {
      await encrypted.stop();
    }
  });

  test('says which lanes failed, and why', async () => {
    const { page, close } = await openLab(weir);
    await page.locator('#prompt').fill('/fail 3');
    await run(page);
    assert.equal(await page.locator('#status').innerText(), '7 of 7 lanes failed.');
    // A browser discards what it has not handed to the page when a body is aborted, and so may lose the error before it.
    for (const kind of LANES) assert.match(await lane(page, kind).innerText(), kind === 'chat' ? /Failed: (.*demo failed|network error)/ : /Failed: .*demo failed/, kind);
    // A chat stream that fails is broken off on purpose, so that it does not look complete.
    await close({ expected: [/status of 5\d\d/, /ERR_INCOMPLETE_CHUNKED_ENCODING .*\/chat\/completions/] });
  });

  test('is one step from the chat page, and back', async () => {
    const { page, close } = await openPage(browser, weir.url);
    await page.locator('a[href="lab"]').click();
    await page.locator('#lanes .lane').nth(6).waitFor();
    await page.locator('a[href="./"]').click();
    await page.locator('#question').waitFor();
    await close();
  });
});

describe('its looks', () => {
  for (const [name, options] of [
    ['lab-en-light-1280', { width: 1280, height: 900, colorScheme: 'light' }],
    ['lab-en-dark-390', { width: 390, height: 844, colorScheme: 'dark' }],
    ['lab-zh-dark-1280', { width: 1280, height: 900, colorScheme: 'dark', locale: 'zh-CN' }],
    ['lab-zh-light-390', { width: 390, height: 844, colorScheme: 'light', locale: 'zh-CN' }],
  ]) {
    test(`${name}: nothing is cut off`, async () => {
      const { page, close } = await openLab(weir, options);
      await page.evaluate(() => document.fonts.ready);
      await page.screenshot({ path: join(PICTURES, `${name}-empty.png`) });
      await run(page);
      await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
      if (mayCapture) await lane(page, 'websocket').locator('summary').click();
      await lane(page, 'websocket').screenshot({ path: join(PICTURES, `${name}-ladder.png`) });
      const [scroll, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(scroll <= width, `${scroll} px of page in ${width} px of window`);
      const small = await page.evaluate(() => [...document.querySelectorAll('button, select, .transports label, .check, summary, header a')]
        .filter((node) => node.getClientRects().length && node.getBoundingClientRect().height < 40).map((node) => node.textContent));
      assert.deepEqual(small, [], 'a finger finds everything');
      await close();
    });
  }
});
