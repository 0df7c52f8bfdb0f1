// OpenAI's SDK for Node: node check.mjs PACKAGE

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { BASE, FUNCTION, TEXT, all, fails, left, needs, run } from '../checks.mjs';

const name = process.argv[2];
const { default: OpenAI } = await import(name);
const { version } = createRequire(import.meta.url)(`./node_modules/${name}/package.json`);

const client = new OpenAI({ baseURL: BASE, apiKey: 'unused', maxRetries: 0, timeout: 20_000 });
const TOOL = { type: 'function', strict: true, ...FUNCTION };
const CHAT_TOOL = { type: 'function', function: FUNCTION };

const user = (content) => [{ role: 'user', content }];
const chat = (content, more = {}) => client.chat.completions.create({ model: 'demo', messages: user(content), ...more });
const respond = (input, more = {}) => client.responses.create({ model: 'demo', input, ...more });
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
const deltas = (events, type) => events.filter((event) => event.type === type).map((event) => event.delta);

run(`openai ${version}`, {
  async chat_whole() {
    const [choice] = (await chat(`/echo ${TEXT}`)).choices;
    assert.deepEqual([choice.message.content, choice.finish_reason], [TEXT, 'stop']);
  },

  async chat_streamed() {
    const chunks = await all(await chat(`/echo ${TEXT}`, { stream: true, stream_options: { include_usage: true } }));
    assert.equal(textOf(chunks), TEXT);
    assert.ok(chunks.at(-1).usage.completion_tokens > 0);
  },

  async chat_tools() {
    const tool = { type: 'function', function: { ...FUNCTION, parse: JSON.parse, function: () => '12 degrees' } };
    const runner = client.chat.completions.runTools({ model: 'demo', messages: user('/tool'), tools: [tool], stream: true });
    assert.match(await runner.finalContent(), /12 degrees/);
  },

  async chat_reasoning() {
    const chunks = await all(await chat('/think rain', { stream: true }));
    assert.match(chunks.map((chunk) => chunk.choices[0]?.delta.reasoning_content ?? '').join(''), /rain/);
  },

  async chat_failed() {
    const error = await fails(async () => all(await chat('/fail 5', { stream: true })));
    assert.match(error.message, /The demo failed/);
    assert.ok((await fails(async () => all(await chat('/cut 5', { stream: true })))) instanceof OpenAI.APIError);
  },

  async chat_status() {
    assert.ok((await fails(() => chat('/status 429', { stream: true }))) instanceof OpenAI.RateLimitError);
  },

  async chat_heartbeats() {
    const texts = [];
    for await (const chunk of await chat('/slow 700', { stream: true })) {
      texts.push(chunk.choices[0].delta.content ?? '');
      if (texts.length === 3) break;
    }
    assert.ok(texts.join(''));
  },

  async chat_abort() {
    const stream = await client.chat.completions.create({ model: 'fake', messages: user('/endless'), stream: true });
    for await (const _ of stream) stream.controller.abort();
    await left();
  },

  async responses_whole() {
    const made = await respond(`/echo ${TEXT}`);
    assert.deepEqual([made.output_text, made.status], [TEXT, 'completed']);
  },

  async responses_streamed() {
    const stream = client.responses.stream({ model: 'demo', input: `/echo ${TEXT}` });
    assert.equal(deltas(await all(stream), 'response.output_text.delta').join(''), TEXT);
    assert.equal((await stream.finalResponse()).output_text, TEXT);
  },

  async responses_tools() {
    const first = await respond('/tool', { tools: [TOOL] });
    const call = first.output.find((item) => item.type === 'function_call');
    assert.ok('city' in JSON.parse(call.arguments));
    const output = [{ type: 'function_call_output', call_id: call.call_id, output: '12 degrees' }];
    assert.match((await respond(output, { previous_response_id: first.id, tools: [TOOL] })).output_text, /12 degrees/);
  },

  async responses_reasoning() {
    const events = await all(await respond('/think rain', { stream: true }));
    assert.match(deltas(events, 'response.reasoning_text.delta').join(''), /rain/);
  },

  // The helper throws at any event that it does not know, and the whole answer is lost.
  async responses_reasoning_helper() {
    const stream = client.responses.stream({ model: 'demo', input: '/think rain' });
    assert.match((await stream.finalResponse()).output_text, /rain/);
  },

  async responses_reasoning_summary() {
    const stream = client.responses.stream({ model: 'demo', input: '/think rain', reasoning: { summary: 'auto' } });
    assert.match(deltas(await all(stream), 'response.reasoning_summary_text.delta').join(''), /rain/);
    const reasoning = (await stream.finalResponse()).output.find((item) => item.type === 'reasoning');
    assert.match(reasoning.summary[0].text, /rain/);
  },

  async responses_failed() {
    for (const command of ['/fail 5', '/cut 5']) {
      let last;
      try {
        for await (const event of await respond(command, { stream: true })) last = event;
      } catch (error) {
        if (command === '/fail 5') assert.match(error.message, /The demo failed/);
        continue;
      }
      assert.equal(last.type, 'response.failed');
    }
  },

  async responses_status() {
    const error = await fails(() => client.responses.create({ model: 'fake', input: '/status 429', stream: true }));
    assert.ok(error instanceof OpenAI.RateLimitError, String(error));
  },

  async responses_abort() {
    const stream = await client.responses.create({ model: 'fake', input: '/endless', stream: true, store: false });
    for await (const event of stream) if (event.type === 'response.output_text.delta') stream.controller.abort();
    await left();
  },

  async embeddings() {
    needs('embeddings');
    for (const model of ['demo', 'fake']) {
      const made = await client.embeddings.create({ model, input: ['one', 'two'] });
      assert.ok(made.data.length === 2 && made.data[0].embedding.length > 0);
    }
  },

  async completions() {
    needs('completions');
    assert.ok((await client.completions.create({ model: 'demo', prompt: 'Hello' })).choices[0].text);
  },
});
