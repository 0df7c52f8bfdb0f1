// Starts and ends the program under test, as a person at a shell would.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BINARY = resolve(process.env.WEIR_BINARY || join(ROOT, 'target/debug/weir'));

// The SDK's settings of the person who runs the tests must not reach them.
for (const name of Object.keys(process.env)) if (name.startsWith('OPENAI_')) delete process.env[name];

const environment = (home, more) => ({ PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: home, ...more });

/** A running server. `stop()` ends it as a service manager does; it must then end well, and have logged no key. */
export async function startWeir({ tokensPerSecond = 0, keys = 0 } = {}) {
  const home = mkdtempSync(join(tmpdir(), 'weir-node-'));
  const data = ['--data', join(home, 'data')];
  const secrets = Array.from({ length: keys }, () => {
    const made = spawnSync(BINARY, ['key', 'create', ...data], { cwd: home, env: environment(home), encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    return made.stdout.trim();
  });
  const server = spawn(BINARY, ['--listen', '127.0.0.1:0', ...data], {
    cwd: home, env: environment(home, { WEIR_DEMO_TOKENS_PER_SECOND: String(tokensPerSecond) }), stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise((done) => server.once('exit', (code, signal) => done(code ?? signal)));
  let log = '';
  server.stderr.setEncoding('utf8').on('data', (text) => (log += text));
  const url = await new Promise((done, failed) => {
    let said = '';
    server.stdout.setEncoding('utf8').on('data', (text) => {
      said += text;
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said);
      if (found && said.includes('\n')) done(found[0]);
    });
    server.once('error', failed);
    server.once('exit', () => failed(new Error(`weir did not start: ${log}`)));
  });
  return {
    url, secrets,
    /** The SDK with nothing changed but the base URL. It does not repeat requests unless a test wants that. */
    client: (options = {}) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0, timeout: 60_000, ...options }),
    async stop() {
      server.kill('SIGTERM');
      const status = await ended;
      rmSync(home, { recursive: true, force: true });
      assert.equal(status, 0, log);
      assert.doesNotMatch(log, /panicked/);
      for (const secret of secrets) assert.ok(!log.includes(secret));
    },
  };
}
