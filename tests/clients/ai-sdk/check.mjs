// The AI SDK and its providers: node check.mjs 6|7

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BASE, Known, TEXT, left, needs, run } from '../checks.mjs';

const major = process.argv[2];
const { embed, generateText, stepCountIs, streamText, tool } = await import(`ai${major}`);
const { createOpenAI } = await import(`openai-of-${major}`);
const { createOpenAICompatible } = await import(`openai-compatible-of-${major}`);
const { createOpenResponses } = await import(`open-responses-of-${major}`);

const options = { name: 'weir', baseURL: BASE, apiKey: 'unused' };
const openai = createOpenAI(options);
const compatible = createOpenAICompatible(options);
const openResponses = createOpenResponses({ ...options, url: `${BASE}/responses` });

const SUMMARY = { openai: { reasoningSummary: 'auto', forceReasoning: true } };

/** What each provider makes of a model's name, which options have it show reasoning, and what it cannot do. */
const providers = {
  openai_responses: { model: (name) => openai.responses(name), providerOptions: SUMMARY },
  openai_chat: { model: (name) => openai.chat(name), reasoning: 'drops reasoning_content' },
  compatible: { model: (name) => compatible.chatModel(name) },
  open_responses: {
    model: (name) => openResponses(name),
    failed: major === '6' ? 'ignores the events error and response.failed' : undefined,
  },
};

const weather = tool({
  description: 'The weather in a city',
  inputSchema: z.object({ city: z.string() }),
  execute: async () => '12 degrees',
});

// The error of a stream is looked for in its parts; without this it is printed as well.
const quiet = { maxRetries: 0, onError: () => {} };

async function parts(stream) {
  const seen = [];
  try {
    for await (const part of stream.fullStream) seen.push(part);
  } catch (error) {
    seen.push({ type: 'error', error });
  }
  return seen;
}

const textOf = (seen, type = 'text-delta') => seen.filter((part) => part.type === type).map((part) => part.text ?? part.delta).join('');

const checks = {};
for (const [name, { model, providerOptions, reasoning, failed }] of Object.entries(providers)) {
  Object.assign(checks, {
    async [`${name}_whole`]() {
      assert.equal((await generateText({ model: model('demo'), prompt: `/echo ${TEXT}`, ...quiet })).text, TEXT);
    },

    async [`${name}_streamed`]() {
      const seen = await parts(streamText({ model: model('demo'), prompt: `/echo ${TEXT}`, ...quiet }));
      assert.equal(textOf(seen), TEXT);
      assert.equal(seen.at(-1).finishReason, 'stop');
    },

    async [`${name}_tools`]() {
      const stream = streamText({ model: model('demo'), prompt: '/tool', tools: { weather }, stopWhen: stepCountIs(3), ...quiet });
      assert.match(textOf(await parts(stream)), /12 degrees/);
    },

    async [`${name}_reasoning`]() {
      const seen = await parts(streamText({ model: model('demo'), prompt: '/think rain', providerOptions, ...quiet }));
      if (reasoning) throw new Known(reasoning);
      assert.match(textOf(seen, 'reasoning-delta'), /^I am asked about: rain/);
    },

    async [`${name}_failed`]() {
      for (const command of ['/fail 5', '/cut 5']) {
        const seen = await parts(streamText({ model: model('demo'), prompt: command, ...quiet }));
        if (failed) throw new Known(failed);
        assert.ok(seen.some((part) => part.type === 'error'), `${command} passes for whole`);
      }
    },

    async [`${name}_status`]() {
      const seen = await parts(streamText({ model: model('fake'), prompt: '/status 429', ...quiet }));
      const { error } = seen.find((part) => part.type === 'error') ?? {};
      assert.equal(error?.statusCode, 429, String(error));
    },

    async [`${name}_abort`]() {
      const stop = new AbortController();
      const store = { openai: { store: false } };
      // open-responses has no setting for `store`; where it is true, the response goes on.
      if (name === 'open_responses') throw new Known('cannot say store: false, so that the response goes on');
      const stream = streamText({ model: model('fake'), prompt: '/endless', abortSignal: stop.signal, providerOptions: store, ...quiet });
      for await (const part of stream.fullStream) if (part.type === 'text-delta') stop.abort();
      await left();
    },
  });
}

checks.embeddings = async () => {
  needs('embeddings');
  const models = [openai.embedding('demo'), compatible.embeddingModel?.('demo') ?? compatible.textEmbeddingModel('demo')];
  for (const model of models) assert.ok((await embed({ model, value: 'one', maxRetries: 0 })).embedding.length > 0);
};

const versions = await Promise.all(
  ['ai', 'openai-of-', 'openai-compatible-of-', 'open-responses-of-'].map(async (name) => {
    const manifest = JSON.parse(await readFile(new URL(`node_modules/${name}${major}/package.json`, import.meta.url), 'utf8'));
    return `${manifest.name} ${manifest.version}`;
  }),
);
run(versions.join(', '), checks);
