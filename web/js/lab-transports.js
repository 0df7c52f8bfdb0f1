// How each kind of lane asks and reads, and how it goes on after its connection was cut.

import { apply, finish, isRunning, newAnswer, textOf } from './answer.js';
import { call } from './api.js';
import { isText, TOGETHER_MS } from './lab-numbers.js';
import { decoderFor } from './stream.js';
import { serverUrl, socketUrl } from './url.js';

const ACCEPT = { json: 'application/json', ndjson: 'application/x-ndjson', sse: 'text/event-stream' };

const CLOSE_MS = 1000;
const SECOND_AFTER = 10; // events that the first reader has when the second one comes

const path = (id) => `v1/responses/${encodeURIComponent(id)}`;

/** Each settles when the lane has ended. */
export const READ = {
  json: wholeDocument, ndjson: streamed, sse: streamed, eventsource: eventSource, websocket: socket, chat, classic,
};

/** The id beside a body that does not have it: that of a chunk is another one, and the classic API's pages know none. */
const responseIdOf = (reply) => reply.headers.get('weir-response-id');

/** A retry by this key finds the response that the first request started. */
const keyed = (lane) => (lane.cut === 'no' ? {} : { 'idempotency-key': `lab-${lane.name}` });

async function wholeDocument(lane) {
  const { model, prompt, signal } = lane;
  const whole = async () => {
    const json = { model, input: prompt, store: false };
    const reply = await call(lane.streamAddress('v1/responses'), { accept: ACCEPT.json, json, headers: keyed(lane), signal });
    const text = new TextDecoder();
    let all = '';
    let at = 0;
    for await (const bytes of lane.read(reply.body)) {
      at = lane.now();
      lane.reads += 1;
      all += text.decode(bytes, { stream: true });
    }
    // Nothing of it can be used before its last byte.
    finish(lane.answer, JSON.parse(all));
    lane.document(at);
  };
  await lane.follow(whole, whole);
}

/** Reads a streamed body; `each` takes a frame. */
async function body(lane, address, options, each) {
  const reply = await call(address, { ...options, signal: lane.signal });
  lane.responseId ??= responseIdOf(reply);
  const decoder = decoderFor(reply.headers.get('content-type') ?? '');
  for await (const bytes of lane.read(reply.body)) lane.take(decoder.push(bytes), each);
  if (lane.isRunning) throw new Error('the stream ended before the answer did');
}

async function streamed(lane) {
  const { kind, model, prompt } = lane;
  const accept = ACCEPT[kind];
  const json = { model, input: prompt, store: lane.stored, stream: true };
  const each = (frame, at, batch) => frame.data !== '[DONE]' && lane.event(at, batch, JSON.parse(frame.data));
  await lane.follow(
    () => body(lane, lane.streamAddress('v1/responses'), { accept, json }, each),
    () => body(lane, lane.streamAddress(path(lane.answer.id), { stream: 'true', starting_after: lane.answer.seq }), { accept }, each),
  );
}

/** OpenAI's older API has no positions: a request with the same key gets the response again, from its start. */
async function chat(lane) {
  const { model, prompt } = lane;
  const json = { model, messages: [{ role: 'user', content: prompt }], stream: true };
  const each = (frame, at, batch) => {
    if (frame.data === '[DONE]') return lane.piece(at, batch, null);
    const chunk = JSON.parse(frame.data);
    if (chunk.error) throw new Error(chunk.error.message);
    lane.piece(at, batch, chunk.choices?.[0]?.delta?.content ?? '');
  };
  const ask = () => body(lane, lane.streamAddress('v1/chat/completions'), { accept: ACCEPT.sse, json, headers: keyed(lane) }, each);
  lane.plain();
  await lane.follow(ask, () => {
    lane.again();
    return ask();
  });
}

/** The API of the Java demo: a stream is opened, the question is posted beside it. What is cut there is lost. */
async function classic(lane) {
  const headers = { uid: lane.name };
  const each = (frame, at, batch) => {
    if (frame.data === '[DONE]') {
      lane.piece(at, batch, ''); // a message like the others here
      return lane.piece(at, batch, null);
    }
    const message = frame.data.startsWith('{') ? JSON.parse(frame.data) : {};
    if (frame.event === 'fault') throw new Error(message.message ?? frame.data);
    lane.piece(at, batch, message.content ?? '');
  };
  lane.plain();
  await lane.follow(async () => {
    // The stream first: where connections are few, the question waits and not its stream.
    const read = body(lane, lane.streamAddress('createSse'), { accept: ACCEPT.sse, headers }, each);
    const asked = call(lane.address('chat'), { json: { msg: lane.prompt }, headers, signal: lane.signal });
    asked.then((reply) => (lane.responseId = responseIdOf(reply)), () => {});
    await read.catch(async (error) => {
      if (!lane.wasCut) await asked; // it says more, where it was refused
      throw error;
    });
  }, null);
}

/** An EventSource can only GET: the answer is begun in the background, and read by its id. It resumes by itself. */
async function eventSource(lane) {
  const { model, prompt, signal } = lane;
  // Not to be stopped: an answer whose id is not known could not be deleted.
  const begun = await call(lane.address('v1/responses'), { json: { model, input: prompt, background: true } });
  lane.id = (await begun.json()).id;
  signal.throwIfAborted();
  const events = `${path(lane.id)}/events`;
  const open = async () => new EventSource(serverUrl(lane.streamAddress(events, await lane.ticket(events))));
  const source = await open();
  let second = null;
  try {
    await messages(lane, source, (done, failed) => {
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) return failed(new Error('the EventSource was refused'));
        if (lane.wasCut && lane.state === 'running') lane.mark('cut');
      };
      source.onopen = () => lane.state === 'cut' && lane.mark('resumed');
    }, () => {
      if (lane.hasSecond && !second && lane.events.length >= SECOND_AFTER) second = joined(lane, open);
    });
  } finally {
    source.close();
  }
  await second;
}

/** A second reader of the same response, from its start. */
async function joined(lane, open) {
  const answer = newAnswer({ model: lane.model, transport: 'eventsource', stored: true });
  const second = { events: [], reads: 0, ended: null, joined: lane.now(), marks: [], text: '', last: -Infinity };
  lane.second = second;
  const source = await open();
  await new Promise((done) => {
    lane.signal.addEventListener('abort', done, { once: true });
    source.onerror = () => source.readyState === EventSource.CLOSED && done();
    source.onmessage = ({ data }) => {
      const [at, event] = [lane.now(), JSON.parse(data)];
      if (at - second.last >= TOGETHER_MS) second.reads += 1;
      second.last = at;
      apply(answer, event);
      second.events.push({ at, batch: second.reads, text: isText(event) });
      second.text = textOf(answer);
      lane.change();
      if (isRunning(answer)) return;
      second.ended = at;
      done();
    };
  });
  source.close();
}

async function socket(lane) {
  const { model, prompt } = lane;
  const over = async (message) => {
    const opened = new WebSocket(socketUrl(lane.address('v1/responses', await lane.ticket('v1/responses'))));
    opened.onopen = () => opened.send(JSON.stringify(message()));
    try {
      await messages(lane, opened, (done, failed) => {
        opened.onclose = ({ code }) => failed(new Error(`the WebSocket was closed with ${code}`));
      });
    } finally {
      await closed(opened);
    }
  };
  await lane.follow(
    () => over(() => ({ type: 'response.create', model, input: prompt, store: lane.stored })),
    () => over(() => ({ type: 'response.resume', response_id: lane.answer.id, starting_after: lane.answer.seq })),
  );
}

function messages(lane, source, prepare, after = () => {}) {
  return new Promise((done, failed) => {
    lane.signal.addEventListener('abort', () => failed(lane.signal.reason), { once: true });
    source.onmessage = ({ data }) => {
      try {
        lane.delivered((at, batch) => lane.event(at, batch, JSON.parse(data)));
      } catch (error) {
        failed(error);
      }
      after();
      if (!isRunning(lane.answer)) done();
    };
    prepare(done, failed);
    if (lane.signal.aborted) failed(lane.signal.reason);
  });
}

/** Closes a socket, and waits for it as long as that is worth while: the server counts its goodbye too. */
function closed(opened) {
  return new Promise((done) => {
    setTimeout(done, CLOSE_MS);
    opened.onclose = done;
    opened.close(1000);
    if (opened.readyState === WebSocket.CLOSED) done();
  });
}
