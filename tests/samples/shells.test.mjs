// The samples that run in a shell: what they print on a good network, on one that breaks in mid-answer, and when they are stopped.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startProxy, startWeir } from '../browser/world.mjs';
import { ROOT, count, run, start, startEar } from './run.mjs';

const PYTHON = `${ROOT}/.venv/bin/python`;
const MAVEN = ['mvn', '--quiet', '--batch-mode', '--no-transfer-progress'];

const SAMPLES = [
  { name: 'Node', folder: 'node', command: (question) => ['node', 'ask.mjs', question] },
  { name: 'Python, standard library', folder: 'python', command: (question) => [PYTHON, 'ask_stdlib.py', question] },
  { name: 'Python, official SDK', folder: 'python', command: (question) => [PYTHON, 'ask_openai.py', question] },
  { name: 'Java, OkHttp', folder: 'java', command: (question) => [...MAVEN, 'exec:java', `-Dexec.args='${question}'`] },
];

let weir;
let paced;
let guarded;

before(async () => {
  [weir, paced, guarded] = await Promise.all([startWeir(), startWeir({ tokensPerSecond: 60 }), startWeir({ keys: 1 })]);
});
after(() => Promise.all([weir, paced, guarded].map((server) => server?.stop())));

test('curl: asks, streams, comes back by position, stops', async () => {
  const { text, notes, status } = await run('curl', ['sh', 'ask.sh', '/count 30'], { server: paced.url });
  assert.equal(status, 0, notes);
  assert.equal(notes, '');
  const parts = text.split(/^== .*\n/m).slice(1);
  assert.equal(parts.length, 7, text);
  const [json, sse, ndjson, background, first, rest, stopped] = parts;
  assert.equal(json, `"text":"${count(30)}"\n`);
  assert.match(sse, /^event: response\.created\n(event: .*\n)+event: response\.completed\n$/);
  assert.equal(sse.match(/output_text\.delta/g).length, 30);
  assert.equal(ndjson, `${count(30)}\n`);
  assert.match(background, /begins with resp_/);
  assert.equal(first, '1 …up to event 5\n');
  assert.match(rest, new RegExp(`^ 2 .*\n+whole: ${count(30)}\n$`));
  assert.equal(stopped, '"status":"cancelled"\n"status":"cancelled"\n');
});

test('curl: its key goes along', async () => {
  const { text, notes } = await run('curl', ['sh', 'ask.sh'], { server: guarded.url, env: { WEIR_API_KEY: guarded.secrets[0] } });
  assert.match(text, new RegExp(`whole: ${count(10)}\n`), notes);
});

for (const { name, folder, command } of SAMPLES) {
  describe(name, () => {
    if (folder === 'java') {
      before(async () => {
        const { status, text, notes } = await run('java', [...MAVEN, 'compile'], { server: weir.url });
        assert.equal(status, 0, text + notes);
      });
    }

    test('prints the answer, Chinese and emoji too', async () => {
      const said = '你好，世界 👩‍👩‍👧 ok';
      const { text, notes, status } = await run(folder, command(`/echo ${said}`), { server: weir.url, env: { LC_ALL: 'C.UTF-8', PYTHONUTF8: '1' } });
      assert.equal(status, 0, notes);
      assert.equal(text.trimEnd(), said);
      assert.match(notes, /status: completed/);
    });

    // The head of the reply is about 300 bytes and an event about 200: one cut before there is an id, one after it, one later.
    for (const bytes of [100, 1000, 6000]) {
      test(`goes on after a cut behind ${bytes} bytes`, async () => {
        const proxy = await startProxy(paced.url);
        try {
          proxy.cutAfter(bytes);
          const { text, notes, status } = await run(folder, command('/count 40'), { server: proxy.url });
          assert.equal(status, 0, notes);
          assert.equal(proxy.cuts(), 1);
          assert.equal(text.trimEnd(), count(40));
          assert.match(notes, /status: completed/);
        } finally {
          await proxy.stop();
        }
      });
    }

    test('a key is sent; without one it is refused, and does not try again', async () => {
      const good = await run(folder, command('/count 3'), { server: guarded.url, env: { WEIR_API_KEY: guarded.secrets[0] } });
      assert.equal(good.text.trimEnd(), '1 2 3', good.notes);
      const refused = await run(folder, command('/count 3'), { server: guarded.url });
      assert.notEqual(refused.status, 0);
      assert.doesNotMatch(refused.notes, /going on/);
    });

    test('Ctrl-C stops the answer at the server', async () => {
      const ear = await startEar(paced.url);
      const sample = start(folder, command('/count 100000'), { server: ear.url });
      await sample.until(/ 5 /);
      sample.interrupt();
      await sample.ended;
      await ear.stop();
      assert.equal(ear.cancelled.size, 1);
      const answer = await (await paced.api(`/v1/responses/${[...ear.cancelled][0]}`)).json();
      assert.equal(answer.status, 'cancelled');
    });
  });
}
