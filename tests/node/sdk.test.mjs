// The official SDK for Node, with nothing changed but its base URL.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { startWeir } from './weir.mjs';

const TOOL = {
  type: 'function', name: 'get_weather', description: 'The weather in a city', strict: true,
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
};
const { type, ...called } = TOOL;
const CHAT_TOOL = { type, function: called };
const TEXT = 'Hello, 世界!';

let weir;
let paced;
let guarded;
let client;

before(async () => {
  [weir, paced, guarded] = await Promise.all([startWeir(), startWeir({ tokensPerSecond: 60 }), startWeir({ keys: 2 })]);
  client = weir.client();
});
after(() => Promise.all([weir?.stop(), paced?.stop(), guarded?.stop()]));

/** The events of one answer, after a check that none is missing. */
async function inOrder(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  const first = events[0].sequence_number;
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => first + index));
  return events;
}

const textOf = (events) => events.filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta).join('');

describe('what passes through', () => {
  test('embeddings, in base64 as the SDK asks for them and as numbers', async () => {
    const { data: [first, second], usage } = await client.embeddings.create({ model: 'demo', input: ['hello', 'world'] });
    const floats = await client.embeddings.create({ model: 'demo', input: 'hello', encoding_format: 'float' });
    assert.deepEqual(first.embedding.map((number) => number.toFixed(6)), floats.data[0].embedding.map((number) => number.toFixed(6)));
    assert.notDeepEqual(first.embedding, second.embedding);
    assert.ok(Math.abs(first.embedding.reduce((sum, number) => sum + number * number, 0) - 1) < 1e-5);
    assert.equal(usage.prompt_tokens, 2);
  });

  test('a completion, whole and streamed', async () => {
    const whole = await client.completions.create({ model: 'demo', prompt: 'once', echo: true });
    assert.match(whole.choices[0].text, /^once … This text is of Weir's built-in demo model/);
    let text = '';
    for await (const chunk of await client.completions.create({ model: 'demo', prompt: 'once', echo: true, stream: true })) {
      text += chunk.choices[0]?.text ?? '';
    }
    assert.equal(text, whole.choices[0].text);
  });

  test('the demo judges nothing', async () => {
    await assert.rejects(client.moderations.create({ model: 'demo', input: 'hello' }), { status: 400, code: 'unsupported_operation' });
  });
});

describe('chat completions', () => {
  const messages = (content) => [{ role: 'user', content }];

  test('whole', async () => {
    const made = await client.chat.completions.create({ model: 'demo', messages: messages(`/echo ${TEXT}`) });
    assert.equal(made.choices[0].message.content, TEXT);
    assert.equal(made.choices[0].finish_reason, 'stop');
    assert.ok(made.usage.completion_tokens > 0);
  });

  test('streamed', async () => {
    const stream = await client.chat.completions.create({
      model: 'demo', messages: messages(`/echo ${TEXT}`), stream: true, stream_options: { include_usage: true },
    });
    let text = '';
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage ??= chunk.usage;
    }
    assert.equal(text, TEXT);
    assert.ok(usage.completion_tokens > 0);
  });

  test('the stream helper adds up', async () => {
    const helper = client.chat.completions.stream({ model: 'demo', messages: messages('/count 20') });
    assert.match(await helper.finalContent(), /^1 2 3 .* 20$/);
  });

  test('tools, there and back', async () => {
    const asked = messages('/tool in Rome');
    const first = await client.chat.completions.create({ model: 'demo', messages: asked, tools: [CHAT_TOOL] });
    assert.equal(first.choices[0].finish_reason, 'tool_calls');
    const [call] = first.choices[0].message.tool_calls;
    assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ['get_weather', { city: 'Rome' }]);
    const back = [...asked, first.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'sunny, 31 degrees' }];
    const second = await client.chat.completions.create({ model: 'demo', messages: back, tools: [CHAT_TOOL] });
    assert.match(second.choices[0].message.content, /sunny, 31 degrees/);
  });

  test('a stream left in the middle stops the model', async () => {
    const stream = await paced.client().chat.completions.create({ model: 'demo', messages: messages('/count 5000'), stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    const running = async () => (await (await fetch(`${paced.url}/readyz`)).json()).answers_running;
    while ((await running()) !== 0);
  });
});

describe('responses', () => {
  test('whole', async () => {
    const made = await client.responses.create({ model: 'demo', input: `/echo ${TEXT}`, metadata: { for: 'test' } });
    assert.deepEqual([made.output_text, made.status, made.metadata.for], [TEXT, 'completed', 'test']);
    const next = await client.responses.create({ model: 'demo', input: 'hello', previous_response_id: made.id });
    assert.equal(next.previous_response_id, made.id);
  });

  test('streamed', async () => {
    const events = await inOrder(await client.responses.create({ model: 'demo', input: `/echo ${TEXT}`, stream: true }));
    assert.equal(textOf(events), TEXT);
    assert.deepEqual([events[0].sequence_number, events[0].type, events.at(-1).type], [0, 'response.created', 'response.completed']);
  });

  test('the stream helper adds up', async () => {
    const final = await client.responses.stream({ model: 'demo', input: '/count 20' }).finalResponse();
    assert.match(final.output_text, /^1 2 3 .* 20$/);
  });

  for (const stream of [false, true]) {
    test(`tools, there and back, ${stream ? 'streamed' : 'whole'}`, async () => {
      const asked = { model: 'demo', input: '/tool in Rome', tools: [TOOL] };
      const first = stream ? (await inOrder(await client.responses.create({ ...asked, stream }))).at(-1).response : await client.responses.create(asked);
      const [call] = first.output.filter((item) => item.type === 'function_call');
      assert.deepEqual([call.name, JSON.parse(call.arguments)], ['get_weather', { city: 'Rome' }]);
      const input = [{ type: 'function_call_output', call_id: call.call_id, output: 'sunny, 31 degrees' }];
      const second = await client.responses.create({ model: 'demo', input, previous_response_id: first.id, tools: [TOOL] });
      assert.match(second.output_text, /sunny, 31 degrees/);
    });
  }

  test('a background answer is polled to its end', async () => {
    const quick = paced.client();
    let made = await quick.responses.create({ model: 'demo', input: '/count 20', background: true });
    assert.match(made.status, /^(queued|in_progress)$/);
    while (/^(queued|in_progress)$/.test(made.status)) made = await quick.responses.retrieve(made.id);
    assert.deepEqual([made.status, made.output_text.endsWith(' 20')], ['completed', true]);
  });

  test('a stream left in the middle goes on where it was', async () => {
    const quick = paced.client();
    const seen = [];
    for await (const event of await quick.responses.create({ model: 'demo', input: '/count 40', background: true, stream: true })) {
      seen.push(event);
      if (seen.length === 15) break;
    }
    const { id } = seen[0].response;
    const rest = await inOrder(await quick.responses.retrieve(id, { stream: true, starting_after: seen.at(-1).sequence_number }));
    assert.equal(rest[0].sequence_number, 15);
    const whole = await inOrder(await quick.responses.retrieve(id, { stream: true }));
    assert.deepEqual([...seen, ...rest], whole);
    assert.match(textOf(whole), /^1 2 3 .* 40$/);
  });

  test('cancel keeps what was written', async () => {
    const quick = paced.client();
    const stream = await quick.responses.create({ model: 'demo', input: '/count 5000', background: true, stream: true });
    const events = [];
    let cancelled = null;
    for await (const event of stream) {
      events.push(event);
      if (!cancelled && textOf(events).includes(' 3')) cancelled = await quick.responses.cancel(events[0].response.id);
    }
    assert.deepEqual([cancelled.status, events.at(-1).type, events.at(-1).response.status], ['cancelled', 'response.incomplete', 'cancelled']);
    // Of a cancel the SDK gives what the server said, without the `output_text` that it adds elsewhere.
    assert.match(cancelled.output[0].content[0].text, /^1 2 3/);
    assert.equal((await quick.responses.retrieve(cancelled.id)).output_text, cancelled.output[0].content[0].text);
  });

  test('is deleted', async () => {
    const made = await client.responses.create({ model: 'demo', input: '/echo gone' });
    await client.responses.delete(made.id);
    await assert.rejects(client.responses.retrieve(made.id), OpenAI.NotFoundError);
  });
});

describe('errors are of the class that the SDK has for them', () => {
  const cases = [
    ['a wrong request', { model: 'demo', input: 7 }, OpenAI.BadRequestError, 400, 'input'],
    ['no such model', { model: 'nobody', input: 'hi' }, OpenAI.NotFoundError, 404, 'model'],
    ['no such turn before', { model: 'demo', input: 'hi', previous_response_id: 'resp_none' }, OpenAI.BadRequestError, 400, 'previous_response_id'],
    ['too many requests', { model: 'demo', input: '/status 429' }, OpenAI.RateLimitError, 429],
    ['an upstream out of order', { model: 'demo', input: '/status 503' }, OpenAI.InternalServerError],
  ];
  for (const [name, body, kind, status, param] of cases) {
    test(name, () => assert.rejects(client.responses.create(body), (error) => {
      assert.ok(error instanceof kind, error.constructor.name);
      assert.ok(error.code && error.requestID);
      if (status) assert.equal(error.status, status);
      if (param) assert.equal(error.param, param);
      return true;
    }));
  }

  test('a wrong key', () => assert.rejects(guarded.client({ apiKey: 'wk_wrong' }).models.list(), OpenAI.AuthenticationError));

  test('an answer of somebody else', async () => {
    const [ada, bob] = guarded.secrets.map((apiKey) => guarded.client({ apiKey }));
    const { id } = await ada.responses.create({ model: 'demo', input: '/echo mine' });
    await assert.rejects(bob.responses.retrieve(id), OpenAI.NotFoundError);
  });

  test('a failure in mid-stream', async () => {
    const failing = async () => {
      for await (const chunk of await client.chat.completions.create({ model: 'demo', messages: [{ role: 'user', content: '/fail 3' }], stream: true })) assert.ok(chunk);
    };
    await assert.rejects(failing, (error) => error instanceof OpenAI.APIError && /demo failed/.test(error.message));
    const events = await inOrder(client.responses.stream({ model: 'demo', input: '/fail 3' })).catch((error) => error);
    assert.ok(events instanceof OpenAI.APIError || events.at(-1).type === 'response.failed', String(events));
  });
});
