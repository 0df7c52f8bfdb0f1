// The server's API: models, and one answer read to its end over whatever transport, through cuts and reloads.

import { apply, countRead, endHere, finish, isRunning, now } from './answer.js';
import { messages, Wire } from './socket.js';
import { decoderFor } from './stream.js';
import { serverUrl, socketUrl } from './url.js';

const KEY = 'weir.key';
const TRIES = 6;
const SILENCE_MS = 45_000; // three missed heartbeats
const BURST_MS = 120; // what arrives this soon after a resume counts as caught up

export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? '',
  set: (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY)),
};

export class ApiError extends Error {
  constructor(status, error, retryAfter) {
    super(error?.message || `HTTP ${status}`);
    this.status = status;
    this.code = error?.code ?? null;
    this.param = error?.param ?? null;
    this.retryAfter = retryAfter;
  }
}

/** Asks the API at a path relative to the chat page. Throws what it refuses. */
export async function call(path, { accept = 'application/json', json, method = json ? 'POST' : 'GET', headers: more = {}, signal } = {}) {
  const headers = { accept, ...more };
  if (json) headers['content-type'] = 'application/json';
  if (apiKey.get()) headers.authorization = `Bearer ${apiKey.get()}`;
  const reply = await fetch(serverUrl(path), { method, headers, signal, body: json && JSON.stringify(json), cache: 'no-store' });
  if (reply.ok) return reply;
  let error = null;
  try {
    error = (await reply.json()).error;
  } catch { /* not ours: a proxy's page */ }
  throw new ApiError(reply.status, error, Number(reply.headers.get('retry-after')) || 0);
}

export async function models() {
  return (await (await call('v1/models')).json()).data.map((m) => m.id);
}

const ACCEPT = { sse: 'text/event-stream', ndjson: 'application/x-ndjson' };
const path = (id) => `v1/responses/${encodeURIComponent(id)}`;

/** A browser's WebSocket cannot send the key: a ticket, good for this one connection, stands for it. */
async function socketAddress(signal) {
  if (!apiKey.get()) return socketUrl('v1/responses');
  const { ticket } = await (await call('v1/tickets', { json: { for: 'v1/responses' }, signal })).json();
  return socketUrl(`v1/responses?ticket=${encodeURIComponent(ticket)}`);
}

/** The page's WebSocket. */
export const wire = new Wire(socketAddress);

/**
 * One answer on its way. `on` is told: change() after new data, note(name) for connecting, reconnecting and such.
 * start() and resume() settle when the answer has ended, one way or the other.
 */
export class Run {
  #abort = null;
  #wake = null;
  #heard = now();
  #stopping = false;
  #moved = false;
  #socket = null;
  #leave = null; // gives up the connection of a stream over HTTP
  #freed = null; // lets it be opened again
  #cancelled = null; // until then the stream waits

  constructor(answer, transport, on) {
    this.answer = answer;
    this.transport = transport; // read again at every connection
    this.on = on;
    this.stopped = false;
  }

  async start(body) {
    const json = this.transport() === 'json';
    try {
      if (json) await this.#whole({ ...body, store: false });
      else await this.#follow({ ...body, store: true });
    } catch (error) {
      this.#failed(error);
    }
    this.on.change();
  }

  async resume() {
    this.answer.gap = true;
    try {
      await this.#follow(null);
    } catch (error) {
      this.#failed(error);
    }
    this.on.change();
  }

  /** Asks the server to stop. What the page then shows is how the server ended the answer. */
  async stop() {
    const again = this.stopped;
    this.stopped = true;
    if (!this.answer.stored || (again && !this.answer.id)) {
      this.#abort?.abort(); // nobody else reads this answer, so the server stops the model
      return;
    }
    this.on.note('stopping');
    if (this.answer.id) await this.#cancel();
  }

  /** Takes the answer over to the transport chosen now, in mid-answer. */
  move() {
    if (!this.answer.id || !isRunning(this.answer) || this.transport() === 'json') return;
    this.#moved = true;
    this.#wake?.();
    this.#abort?.abort();
  }

  /** The page was shown again or the network is back: do not trust a connection that has been silent. */
  kick(limit = 20_000) {
    this.#wake?.();
    if (this.answer.id && this.answer.stored && now() - this.#heard > limit) this.#abort?.abort();
  }

  #failed(error) {
    if (!isRunning(this.answer)) return;
    if (error.name === 'AbortError' && this.stopped) endHere(this.answer, 'aborted');
    else if (error instanceof ApiError) endHere(this.answer, 'failed', { message: error.message, code: error.code, status: error.status });
    else endHere(this.answer, this.answer.id && this.answer.stored ? 'lost' : 'failed', { code: error.code === 'websocket' ? error.code : 'network' });
  }

  async #whole(body) {
    this.#abort = new AbortController();
    const reply = await call('v1/responses', { json: body, signal: this.#abort.signal });
    const text = new TextDecoder();
    let whole = '';
    for await (const bytes of chunks(reply.body)) {
      countRead(this.answer, bytes.length);
      whole += text.decode(bytes, { stream: true });
      this.on.change();
    }
    finish(this.answer, JSON.parse(whole));
  }

  /** Reads the answer to `body`, or without one goes on with the answer that there is. */
  async #follow(body) {
    for (let tries = 0; ;) {
      const before = this.answer.seq;
      const began = now();
      const resumed = !body;
      try {
        this.#abort = new AbortController();
        this.#heard = now();
        const source = await (this.transport() === 'websocket' ? this.#overSocket(body) : this.#overHttp(body));
        body = null;
        await this.#read(source, resumed);
        if (!isRunning(this.answer)) return;
        throw new Error('the stream ended before the answer did');
      } catch (error) {
        if (!isRunning(this.answer)) return;
        if (error.code === 'websocket_connection_limit_reached' && tries < TRIES) {
          await this.#sleep(250 * tries++); // too old for another turn, so this one has not begun: at once on a new one
          continue;
        }
        const refused = error instanceof ApiError && error.status < 500 && error.status !== 429 && error.status !== 408;
        if (refused || !this.answer.id) throw error;
        body = null;
        if (this.#cancelled) {
          await this.#cancelled;
          this.#cancelled = null;
          continue;
        }
        if (this.#moved) {
          this.#moved = false;
          continue;
        }
        // A WebSocket on which nothing came for long may have been sound: its pings cannot be seen here.
        if (this.answer.seq > before || now() - began > SILENCE_MS) tries = 0;
        if (tries === TRIES) throw error;
        this.on.note('reconnecting');
        await this.#sleep(Math.max(Math.min(8000, 500 * 2 ** tries++), (error.retryAfter ?? 0) * 1000));
      }
    }
  }

  async #overHttp(body) {
    const options = { accept: ACCEPT[this.transport()] ?? ACCEPT.sse, signal: this.#abort.signal };
    const from = this.answer.seq < 0 ? '' : `&starting_after=${this.answer.seq}`;
    const reply = await (body
      ? call('v1/responses', { ...options, json: { ...body, stream: true } })
      : call(`${path(this.answer.id)}?stream=true${from}`, options));
    const type = reply.headers.get('content-type') ?? '';
    const decoder = decoderFor(type);
    if (!decoder) throw new ApiError(415, { message: `unexpected content type: ${type}` });
    this.#leave = () => {
      this.#leave = null;
      this.#cancelled = new Promise((done) => (this.#freed = done));
      this.#abort.abort();
    };
    return { name: decoder.name, reads: decoded(reply.body, decoder) };
  }

  async #overSocket(body) {
    const { signal } = this.#abort;
    let socket;
    try {
      socket = await wire.take(signal);
    } catch (error) {
      if (signal.aborted || error instanceof ApiError) throw error;
      await models(); // says why where the browser does not: a key is wanted, or the server is away
      throw Object.assign(error, { code: 'websocket' });
    }
    const position = this.answer.seq < 0 ? {} : { starting_after: this.answer.seq };
    socket.send(JSON.stringify(body
      ? { type: 'response.create', ...body }
      : { type: 'response.resume', response_id: this.answer.id, ...position }));
    return { name: 'websocket', reads: this.#fromSocket(socket, signal) };
  }

  /** The messages of this answer, to its end; then the connection is free for the next. */
  async *#fromSocket(socket, signal) {
    const size = new TextEncoder();
    this.#socket = socket;
    try {
      for await (const data of messages(socket, signal)) {
        yield [size.encode(data).length, [{ data }]];
        if (!isRunning(this.answer)) return;
      }
    } finally {
      this.#socket = null;
      // Left in the middle, it would go on with this answer: nothing but a close ends that.
      if (isRunning(this.answer)) socket.close();
      else wire.give(socket);
    }
  }

  async #read({ name, reads }, resumed) {
    if (this.answer.via.at(-1) !== name) this.answer.via.push(name);
    let opened = null;
    const watch = setInterval(() => {
      if (!document.hidden && now() - this.#heard > SILENCE_MS) this.#abort.abort();
    }, 5000);
    const take = (frames) => {
      for (const frame of frames) {
        if (frame.beat || frame.data === '[DONE]') continue;
        const event = JSON.parse(frame.data);
        if (isRefusal(event)) {
          if (this.#stopping) continue; // of a stop that came too late, or is asked for again
          throw new ApiError(event.status, event.error);
        }
        const had = this.answer.id;
        const result = apply(this.answer, event);
        if (result === 'gap') throw new Error('events are missing');
        if (!had && this.answer.id && this.#stopWaits()) this.#cancel();
        if (resumed && opened !== null && now() - opened < BURST_MS && result !== 'seen') this.answer.caughtUp += 1;
      }
    };
    try {
      if (resumed) this.answer.caughtUp ??= 0;
      this.on.note('');
      for await (const [bytes, frames] of reads) {
        this.#heard = now();
        opened ??= this.#heard;
        if (bytes) countRead(this.answer, bytes);
        take(frames);
        this.on.change();
      }
    } finally {
      clearInterval(watch);
    }
  }

  #stopWaits() {
    return this.stopped && !this.#stopping;
  }

  async #cancel() {
    this.#stopping = true;
    this.kick(Infinity);
    // A browser has six connections to a server over HTTP/1.1, for all its tabs together: where six answers stream, the request to
    // cancel would wait for one of them to end. This answer's own connection is given up first; its end is read again.
    if (!this.#socket) this.#leave?.();
    if (this.#socket?.readyState === 1) {
      this.#socket.send(JSON.stringify({ type: 'response.cancel', response_id: this.answer.id }));
      await new Promise((done) => setTimeout(done, 3000)); // the stream tells the end
    }
    for (let tries = 0; tries < 3 && isRunning(this.answer); tries++) {
      try {
        const response = await (await call(`${path(this.answer.id)}/cancel`, { method: 'POST' })).json();
        // The stream tells the end itself; if it is cut just now, this is the server's word too.
        this.#freed?.();
        await new Promise((done) => setTimeout(done, 3000));
        if (isRunning(this.answer) && /^(cancelled|completed|incomplete|failed)$/.test(response.status)) {
          finish(this.answer, response);
          this.#abort?.abort();
          this.on.change();
        }
        return;
      } catch (error) {
        if (error instanceof ApiError && error.status < 500) break;
        await new Promise((done) => setTimeout(done, 500 * 2 ** tries));
      }
    }
    this.#freed?.();
    if (!isRunning(this.answer)) return;
    this.#stopping = this.stopped = false;
    this.on.note('stopFailed');
  }

  #sleep(ms) {
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.#wake = () => {
        clearTimeout(timer);
        done();
      };
    }).finally(() => (this.#wake = null));
  }
}

/** A turn that a socket refuses: what would be a status elsewhere. An `error` of the answer itself has a number. */
export const isRefusal = (event) => event.type === 'error' && Number.isInteger(event.status) && !('sequence_number' in event);

/** A body as its reads: how many bytes, and the frames that they completed. */
async function* decoded(body, decoder) {
  for await (const bytes of chunks(body)) yield [bytes.length, decoder.push(bytes)];
  yield [0, decoder.end()];
}

/** A body as network reads; async iteration of streams is missing in older Safari. */
export async function* chunks(body) {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
