// One prompt over one transport, and when each of its events arrived. Times are milliseconds from the first request on.

import { apply, finish, isRunning, newAnswer, textOf } from './answer.js';
import { apiKey, call, chunks, isRefusal } from './api.js';
import { isText, TOGETHER_MS } from './lab-numbers.js';
import { decoderFor } from './stream.js';
import { serverUrl, socketUrl } from './url.js';

export const LANES = ['json', 'ndjson', 'sse', 'eventsource', 'websocket'];

const ACCEPT = { json: 'application/json', ndjson: 'application/x-ndjson', sse: 'text/event-stream' };

const CLOSE_MS = 1000;

export class Lane {
  events = []; // {at, batch, text}
  reads = 0;
  bytes = null; // of the body, where a page can see them
  state = 'waiting'; // then running, ended
  ended = null;
  error = null;
  stopped = false;
  #began = performance.now();
  #last = -Infinity;

  /** `name` is what the server shows of it; `closes`: each of its requests takes a connection of its own. */
  constructor(kind, name, { model, prompt, closes, signal, change }) {
    Object.assign(this, { kind, name, model, prompt, closes, signal, change });
    this.answer = newAnswer({ model, transport: kind, stored: kind === 'eventsource' });
  }

  async run() {
    this.#began = performance.now();
    this.state = 'running';
    try {
      if (this.kind === 'eventsource') await this.#eventSource();
      else if (this.kind === 'websocket') await this.#socket();
      else await this.#fetch();
      if (this.answer.state === 'failed') throw new Error(this.answer.error?.message ?? this.answer.state);
    } catch (error) {
      // Who stops it knows why.
      if (this.signal.aborted) this.stopped = true;
      else this.error = error;
    }
    this.ended ??= this.#now();
    this.state = 'ended';
    this.change();
  }

  get text() {
    return textOf(this.answer);
  }

  /** The query that names it to the lens, and has the server close the connection where the lane wants its own. */
  address(path, more = {}) {
    return `${path}?${new URLSearchParams({ lane: this.name, ...(this.closes ? { close: 'true' } : {}), ...more })}`;
  }

  #now() {
    return performance.now() - this.#began;
  }

  #take(at, frames) {
    this.reads += 1;
    for (const frame of frames) {
      if (!frame.beat && frame.data !== '[DONE]') this.#event(at, this.reads, JSON.parse(frame.data));
    }
    this.change();
  }

  #event(at, batch, event) {
    if (isRefusal(event)) throw new Error(event.error?.message ?? event.error?.code);
    this.events.push({ at, batch, text: isText(event) });
    apply(this.answer, event);
    if (!isRunning(this.answer)) this.ended = at;
  }

  async #fetch() {
    const { kind, model, prompt, signal } = this;
    const json = { model, input: prompt, store: false, stream: kind !== 'json' };
    const reply = await call(this.address('v1/responses'), { accept: ACCEPT[kind], json, signal });
    this.bytes = 0;
    const decoder = kind === 'json' ? null : decoderFor(reply.headers.get('content-type') ?? '');
    const text = new TextDecoder();
    let whole = '';
    let at = 0;
    for await (const bytes of chunks(reply.body)) {
      at = this.#now();
      this.bytes += bytes.length;
      if (decoder) {
        this.#take(at, decoder.push(bytes));
        continue;
      }
      this.reads += 1;
      whole += text.decode(bytes, { stream: true });
    }
    if (decoder) return this.#ended();
    // The document is the one thing that arrives; nothing of it can be used before its last byte.
    this.events.push({ at, batch: this.reads, text: true });
    finish(this.answer, JSON.parse(whole));
    this.ended = at;
  }

  #ended() {
    if (isRunning(this.answer)) throw new Error('the stream ended before the answer did');
  }

  /** An EventSource can only GET: the answer is begun in the background, and read by its id. */
  async #eventSource() {
    const { model, prompt, signal } = this;
    // Not to be stopped: an answer whose id is not known could not be deleted.
    const begun = await call(this.address('v1/responses'), { json: { model, input: prompt, background: true } });
    this.id = (await begun.json()).id;
    signal.throwIfAborted();
    const path = `v1/responses/${encodeURIComponent(this.id)}/events`;
    const source = new EventSource(serverUrl(this.address(path, await this.#ticket(path))));
    try {
      await this.#messages(source, (done, failed) => {
        source.onerror = () => source.readyState === EventSource.CLOSED && failed(new Error('the EventSource was refused'));
      });
    } finally {
      source.close();
    }
  }

  async #socket() {
    const { model, prompt } = this;
    const socket = new WebSocket(socketUrl(this.address('v1/responses', await this.#ticket('v1/responses'))));
    socket.onopen = () => socket.send(JSON.stringify({ type: 'response.create', model, input: prompt, store: false }));
    try {
      await this.#messages(socket, (done, failed) => {
        socket.onclose = ({ code }) => failed(new Error(`the WebSocket was closed with ${code}`));
      });
    } finally {
      await closed(socket);
    }
  }

  /** A browser sends the key with neither: a ticket, good for one connection to this path, stands for it. */
  async #ticket(path) {
    if (!apiKey.get()) return {};
    const made = await call(this.address('v1/tickets'), { json: { for: path }, signal: this.signal });
    return { ticket: (await made.json()).ticket };
  }

  #messages(source, prepare) {
    return new Promise((done, failed) => {
      this.signal.addEventListener('abort', () => failed(this.signal.reason), { once: true });
      source.onmessage = ({ data }) => {
        const at = this.#now();
        if (at - this.#last >= TOGETHER_MS) this.reads += 1;
        this.#last = at;
        try {
          this.#event(at, this.reads, JSON.parse(data));
        } catch (error) {
          failed(error);
        }
        this.change();
        if (!isRunning(this.answer)) done();
      };
      prepare(done, failed);
      if (this.signal.aborted) failed(this.signal.reason);
    });
  }

  /** Whether its reads are a guess, since a browser does not tell them. */
  get guesses() {
    return this.kind === 'eventsource' || this.kind === 'websocket';
  }

  /** Leaves nothing behind: the answer that had to be stored is stopped, if it still runs, and deleted. */
  async forget() {
    if (!this.id) return;
    const path = `v1/responses/${encodeURIComponent(this.id)}`;
    const query = this.closes ? '?close=true' : '';
    try {
      if (isRunning(this.answer)) await call(`${path}/cancel${query}`, { method: 'POST' });
      await call(`${path}${query}`, { method: 'DELETE' });
    } catch { /* it is gone already, or will go with its age */ }
  }
}

/** Closes a socket, and waits for it as long as that is worth while: the server counts its goodbye too. */
function closed(socket) {
  return new Promise((done) => {
    setTimeout(done, CLOSE_MS);
    socket.onclose = done;
    socket.close(1000);
    if (socket.readyState === WebSocket.CLOSED) done();
  });
}
