// Runs a sample as a user would: in its own folder, told by its environment where Weir is.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A sample that runs: `text` is what it has said so far, `until(pattern)` waits for more of it, `ended` is how it ended. */
export function start(folder, command, { server, env = {} }) {
  const [name, ...options] = command;
  const child = spawn(name, options, {
    cwd: `${ROOT}/samples/${folder}`,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NO_PROXY: '*', WEIR_URL: server, PYTHONDONTWRITEBYTECODE: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { text: '', notes: '' };
  const waiting = new Set();
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said.text += text.replaceAll('\x1b[0m', ''); // Maven resets the colours of a terminal, where there is one or not
    for (const check of waiting) check();
  });
  child.stderr.setEncoding('utf8').on('data', (text) => (said.notes += text));
  const ended = new Promise((done, failed) => {
    child.once('error', failed);
    child.once('close', (code, signal) => done({ ...said, status: code ?? signal }));
  });
  return {
    ended,
    interrupt: () => child.kill('SIGINT'),
    until: (pattern) => Promise.race([
      new Promise((done) => {
        const check = () => pattern.test(said.text) && (waiting.delete(check), done());
        waiting.add(check);
        check();
      }),
      ended.then((end) => assert.match(end.text, pattern, end.notes)),
    ]),
  };
}

export const run = (folder, command, options) => start(folder, command, options).ended;

export const count = (to) => Array.from({ length: to }, (_, index) => index + 1).join(' ');

/** A way to the server that notes which answers were cancelled on it. */
export async function startEar(target) {
  const { hostname, port } = new URL(target);
  const cancelled = new Set();
  const ear = createServer((near) => {
    const far = connect({ host: hostname, port });
    near.on('data', (bytes) => {
      const found = /^POST \/v1\/responses\/(resp_[0-9a-f]+)\/cancel /.exec(bytes.toString('latin1'));
      if (found) cancelled.add(found[1]);
    });
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  await new Promise((done) => ear.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${ear.address().port}`, cancelled, stop: () => new Promise((done) => ear.close(done)) };
}
