// What every test of the page needs: a server of its own, a browser, and a page that remembers all that went wrong.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BINARY = resolve(process.env.WEIR_BINARY || join(ROOT, 'target/debug/weir'));
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--force-color-profile=srgb', '--disable-dev-shm-usage', '--no-proxy-server'];

export const PICTURES = join(ROOT, 'target/screenshots');
mkdirSync(PICTURES, { recursive: true });

// Nothing of the person who runs the tests has a say.
const environment = (home, more) => ({ PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: home, ...more });

/**
 * A running server. `stop()` ends it as a service manager does; it must then end well. `crash()` ends it as a power cut
 * does, `end()` as a service manager that restarts it, and `again()` starts it on the same data at the same address.
 * `wrapper` is a program with its arguments that becomes the server. `secrets` are those of the keys, `admin` that of one who
 * looks after the server, if there are keys.
 */
export async function startWeir({ tokensPerSecond = 0, keys = 0, tls = false, settings = {}, wrapper = [] } = {}) {
  const home = mkdtempSync(join(tmpdir(), 'weir-page-'));
  const data = ['--data', join(home, 'data')];
  const key = (...options) => {
    const made = spawnSync(BINARY, ['key', 'create', ...options, ...data], { cwd: home, env: environment(home), encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    return made.stdout.trim();
  };
  const secrets = Array.from({ length: keys }, () => key());
  const admin = keys ? key('--admin') : null;
  let server, ended;
  let log = '';
  async function start(address = '127.0.0.1:0') {
    const [program, ...before] = [...wrapper, BINARY];
    server = spawn(program, [...before, '--listen', address, ...(tls ? ['--tls', 'self-signed'] : []), ...data], {
      cwd: home, env: environment(home, { WEIR_DEMO_TOKENS_PER_SECOND: String(tokensPerSecond), WEIR_SHUTDOWN_GRACE: '5s', ...settings }), stdio: ['ignore', 'pipe', 'pipe'],
    });
    ended = new Promise((done) => server.once('exit', (code, signal) => done(code ?? signal)));
    server.stderr.setEncoding('utf8').on('data', (text) => (log += text));
    return new Promise((done, failed) => {
      let said = '';
      server.stdout.setEncoding('utf8').on('data', (text) => {
        said += text;
        const found = /https?:\/\/127\.0\.0\.1:\d+/.exec(said);
        if (found && said.includes('\n')) done(found[0]);
      });
      server.once('error', failed);
      server.once('exit', () => failed(new Error(`weir did not start: ${log}`)));
    });
  }
  const url = await start();
  return {
    url, secrets, admin,
    api(path, options) {
      return fetch(this.url + path, options);
    },
    crash() {
      server.kill('SIGKILL');
      return ended;
    },
    async end() {
      server.kill('SIGTERM');
      assert.equal(await ended, 0, log);
    },
    again: () => start(new URL(url).host),
    async stop() {
      server.kill('SIGTERM');
      const status = await ended;
      rmSync(home, { recursive: true, force: true });
      assert.equal(status, 0, log);
      assert.doesNotMatch(log, /panicked/);
    },
  };
}

/** Runs `weir compare` with these arguments. `page` is the path of its report; `remove()` deletes it. */
export function compare(...options) {
  const home = mkdtempSync(join(tmpdir(), 'weir-compare-'));
  const ran = spawnSync(BINARY, ['compare', ...options, '--output', join(home, 'out')], { cwd: home, env: environment(home), encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stderr);
  return { page: join(home, 'out', 'report.html'), remove: () => rmSync(home, { recursive: true, force: true }) };
}

/**
 * A network between browser and server. `cut()` ends all connections of now; `cutAfter(bytes)` ends the next one to carry
 * more than that from the server, once. Both without a word, as a network does. `lead(url)` is where new ones go.
 */
export async function startProxy(target) {
  const open = new Set();
  let limit = Infinity;
  let cuts = 0;
  const proxy = createServer({ noDelay: true }, (near) => {
    const { hostname, port } = new URL(target);
    const far = connect({ host: hostname, port, noDelay: true });
    const pair = { end: () => [near, far].forEach((socket) => socket.resetAndDestroy()) };
    open.add(pair);
    let carried = 0;
    near.pipe(far);
    far.on('data', (bytes) => {
      carried += bytes.length;
      if (carried <= limit) return near.write(bytes);
      // The cut falls inside an event, not between two.
      const over = carried - limit;
      limit = Infinity;
      cuts += 1;
      near.write(bytes.subarray(0, bytes.length - over), pair.end);
    });
    far.on('end', () => near.end());
    for (const socket of [near, far]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
        open.delete(pair);
      });
    }
  });
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    cuts: () => cuts,
    cutAfter: (bytes) => (limit = bytes),
    lead: (url) => (target = url),
    cut() {
      for (const pair of open) pair.end();
    },
    stop() {
      this.cut();
      return new Promise((done) => proxy.close(done));
    },
  };
}

function browserPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']) {
    for (const directory of (process.env.PATH ?? '').split(delimiter)) {
      if (existsSync(join(directory, name))) return join(directory, name);
    }
  }
  throw new Error('no chromium was found: scripts/test installs it, or name one in CHROMIUM');
}

export const startBrowser = () => chromium.launch({ executablePath: browserPath(), headless: true, args: FLAGS });

/**
 * A page in a context of its own. Everything that a visitor would find wrong in the console is kept in `page.wrongs`:
 * errors, refusals by the content security policy, requests to other places. `close()` asserts that there is nothing.
 */
export async function openPage(browser, url, { path = '/', width = 1280, height = 800, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, locale: 'en-US', reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const wrongs = [];
  page.on('pageerror', (error) => wrongs.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) wrongs.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) wrongs.push(`request: ${request.url()}`);
  });
  await page.exposeFunction('noteViolation', (text) => wrongs.push(`policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => window.noteViolation(`${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(url + path);
  await page.waitForFunction(() => document.querySelector('#model')?.value || !document.querySelector('#key-form').hidden);
  return {
    page, wrongs,
    async close({ expected = [] } = {}) {
      await context.close();
      assert.deepEqual(wrongs.filter((wrong) => !expected.some((pattern) => pattern.test(wrong))), []);
    },
  };
}

// What a visitor does

export const choose = (page, transport) => page.locator(`label:has(input[value=${transport}])`).click();

export async function ask(page, question) {
  await page.locator('#question').fill(question);
  await page.locator('#question').press('Enter');
}

export const turn = (page, index = -1) => page.locator('.turn').nth(index);

/** Waits until the last answer has ended, and is shown so. */
export const ended = (page) => page.waitForFunction(() => {
  const last = [...document.querySelectorAll('.answer')].at(-1);
  return last?.getAttribute('aria-busy') === 'false' && !document.body.classList.contains('running');
});

/** The figures below an answer, by name. */
export const figures = (page, index = -1) => turn(page, index).locator('.figures').evaluate((list) =>
  Object.fromEntries([...list.children].map((row) => [row.className, row.querySelector('dd').textContent])));
