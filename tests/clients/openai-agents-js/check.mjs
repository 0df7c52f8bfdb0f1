// OpenAI's agents for JavaScript, over the Responses API and over chat completions.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { Agent, MemorySession, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, setTracingDisabled, tool } from '@openai/agents';
import OpenAI from 'openai';
import { z } from 'zod';
import { BASE, Known, TEXT, all, fails, left, needs, run } from '../checks.mjs';

setTracingDisabled(true);
const client = new OpenAI({ baseURL: BASE, apiKey: 'unused', maxRetries: 0, timeout: 20_000 });
const runner = new Runner();
const weather = tool({
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: z.object({ city: z.string() }),
  execute: async () => '12 degrees',
});

const models = { responses: OpenAIResponsesModel, chat: OpenAIChatCompletionsModel };
const checks = {};
for (const [name, Model] of Object.entries(models)) {
  const agent = (id, more = {}) => new Agent({ name: 'Tester', model: new Model(client, id), ...more });
  const stream = (made, said, more) => runner.run(made, said, { stream: true, ...more });
  const deltas = (events, type) => events.filter((event) => event.type === 'raw_model_stream_event' && event.data.type === type);

  Object.assign(checks, {
    async [`${name}_whole`]() {
      assert.equal((await runner.run(agent('demo'), `/echo ${TEXT}`)).finalOutput, TEXT);
    },

    async [`${name}_streamed`]() {
      const result = await stream(agent('demo'), `/echo ${TEXT}`);
      assert.equal(deltas(await all(result), 'output_text_delta').map((event) => event.data.delta).join(''), TEXT);
    },

    async [`${name}_tools`]() {
      const result = await stream(agent('demo', { tools: [weather] }), '/tool');
      await all(result);
      assert.match(result.finalOutput, /12 degrees/);
    },

    async [`${name}_session`]() {
      const session = new MemorySession();
      await runner.run(agent('demo'), 'My name is Ada.', { session });
      assert.match((await runner.run(agent('demo'), 'What is my name?', { session })).finalOutput, /Ada/);
    },

    async [`${name}_reasoning`]() {
      if (name === 'chat') throw new Known('drops reasoning_content');
      const events = deltas(await all(await stream(agent('demo'), '/think rain')), 'model').map((event) => event.data.event);
      const thoughts = events.filter((event) => event?.type === 'response.reasoning_text.delta').map((event) => event.delta);
      assert.match(thoughts.join(''), /rain/);
    },

    async [`${name}_failed`]() {
      for (const command of ['/fail 5', '/cut 5']) {
        const error = await fails(async () => {
          const result = await stream(agent('demo'), command);
          await all(result);
          await result.completed;
          return result.finalOutput;
        });
        if (command === '/fail 5') assert.match(String(error), /demo failed|demo_failure/i);
      }
    },

    async [`${name}_abort`]() {
      const stop = new AbortController();
      const result = await stream(agent('fake', { modelSettings: { store: false } }), '/endless', { signal: stop.signal });
      try {
        for await (const event of result) if (event.data?.type === 'output_text_delta') stop.abort();
      } catch {
        // Whether an abort is an error differs between the models.
      }
      await left();
    },
  });
}

checks.conversations_session = async () => {
  needs('conversations');
  const { OpenAIConversationsSession } = await import('@openai/agents');
  const session = new OpenAIConversationsSession({ client });
  const agent = new Agent({ name: 'Tester', model: new OpenAIResponsesModel(client, 'demo') });
  await runner.run(agent, 'My name is Ada.', { session });
  assert.match((await runner.run(agent, 'What is my name?', { session })).finalOutput, /Ada/);
};

const require = createRequire(import.meta.url);
run(`@openai/agents ${require('./node_modules/@openai/agents/package.json').version}`, checks);
