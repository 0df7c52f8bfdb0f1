// LangChain for JavaScript, over chat completions and over the Responses API.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { createAgent } from 'langchain';
import { z } from 'zod';
import { BASE, Known, TEXT, all, fails, left, needs, run } from '../checks.mjs';

const connection = { apiKey: 'unused', maxRetries: 0, timeout: 20_000, configuration: { baseURL: BASE } };
const weather = tool(async () => '12 degrees', {
  name: 'get_weather',
  description: 'The weather in a city',
  schema: z.object({ city: z.string() }),
});

const checks = {};
for (const name of ['chat', 'responses']) {
  const model = (id, more = {}) => new ChatOpenAI({ ...connection, model: id, useResponsesApi: name === 'responses', ...more });
  Object.assign(checks, {
    async [`${name}_whole`]() {
      assert.equal((await model('demo').invoke(`/echo ${TEXT}`)).text, TEXT);
    },

    async [`${name}_streamed`]() {
      const chunks = await all(await model('demo').stream(`/echo ${TEXT}`));
      assert.equal(chunks.map((chunk) => chunk.text).join(''), TEXT);
      assert.ok(chunks.length > 2);
    },

    async [`${name}_tools`]() {
      const bound = model('demo').bindTools([weather]);
      const question = new HumanMessage('/tool');
      const call = await bound.invoke([question]);
      assert.equal(call.tool_calls[0].name, 'get_weather');
      const output = new ToolMessage({ tool_call_id: call.tool_calls[0].id, content: '12 degrees' });
      assert.match((await bound.invoke([question, call, output])).text, /12 degrees/);
    },

    async [`${name}_agent`]() {
      const agent = createAgent({ model: model('demo'), tools: [weather] });
      const chunks = await all(await agent.stream({ messages: [new HumanMessage('/tool')] }, { streamMode: 'messages' }));
      assert.match(chunks.map(([message]) => message.text).join(''), /12 degrees/);
    },

    async [`${name}_reasoning`]() {
      if (name === 'chat') throw new Known('drops reasoning_content');
      // Its own setting `reasoning` is sent to models only whose names it knows.
      const chunks = await all(await model('demo', { modelKwargs: { reasoning: { summary: 'auto' } } }).stream('/think rain'));
      const blocks = chunks.flatMap((chunk) => chunk.contentBlocks.filter((block) => block.type === 'reasoning'));
      assert.ok(blocks.length > 3);
      assert.match(blocks.map((block) => block.reasoning).join(''), /rain/);
    },

    async [`${name}_failed`]() {
      const error = await fails(async () => all(await model('demo').stream('/fail 5')));
      assert.match(String(error), /The demo failed/);
      await fails(async () => all(await model('demo').stream('/cut 5')));
    },

    async [`${name}_status`]() {
      const error = await fails(async () => all(await model('fake').stream('/status 429')));
      assert.equal(error.status, 429, String(error));
    },

    async [`${name}_abort`]() {
      const stop = new AbortController();
      const stream = await model('fake', name === 'responses' ? { zdrEnabled: true } : {}).stream('/endless', { signal: stop.signal });
      await fails(async () => {
        for await (const chunk of stream) if (chunk.text) stop.abort();
      });
      await left();
    },
  });
}

checks.embeddings = async () => {
  needs('embeddings');
  const vectors = await new OpenAIEmbeddings({ ...connection, model: 'demo' }).embedDocuments(['one', 'two']);
  assert.ok(vectors.length === 2 && vectors[0].length > 0);
};

const require = createRequire(import.meta.url);
const versions = ['langchain', '@langchain/openai'].map((name) => `${name} ${require(`./node_modules/${name}/package.json`).version}`);
run(versions.join(', '), checks);
