// Reads the events of a response by its id, with their times. Times are milliseconds since the tap started.

import { call, chunks } from './api.js';
import { decoderFor } from './stream.js';
import { excerpt, isLast, Timeline } from './tap-data.js';
import { serverUrl } from './url.js';

const TRIES = 5;
const PAUSE_MS = 500;

const pause = (ms, signal) => new Promise((done, failed) => {
  signal.throwIfAborted();
  const timer = setTimeout(() => {
    signal.removeEventListener('abort', stop);
    done();
  }, ms);
  const stop = () => {
    clearTimeout(timer);
    failed(signal.reason);
  };
  signal.addEventListener('abort', stop, { once: true });
});

export class TapReader {
  events = []; // {position, type, data, bytes, text, logged, taken, shown, gap}
  connections = [];
  end = 'cut'; // then stopped, complete
  created = null;
  server = serverUrl('');
  #lost = 0;
  #size = new TextEncoder();

  /** `change` is called after new events. */
  constructor(id, { from, isPaced, signal, change }) {
    Object.assign(this, { id, from, isPaced, signal, change });
    this.started = Date.now();
    this.#began = performance.now();
  }

  #began;

  #now() {
    return performance.now() - this.#began;
  }

  /** Settles when the response has ended, or the tap was. */
  async run() {
    try {
      await this.#learn();
      this.isLive = this.timeline.isLive;
      while (!(await this.#read())) await pause(PAUSE_MS, this.signal);
      this.end = 'complete';
    } catch (error) {
      if (!this.signal.aborted) throw error;
      this.end = 'stopped';
    } finally {
      await this.#settle();
    }
  }

  get #path() {
    return `v1/responses/${encodeURIComponent(this.id)}`;
  }

  async #learn() {
    const asked = this.#now();
    const told = await (await call(`${this.#path}/event_times`, { signal: this.signal })).json();
    this.timeline = new Timeline(told, (asked + this.#now()) / 2);
    this.created = told.created_at_ms;
  }

  /** What was live has times in the server's log now. */
  async #settle() {
    if (!this.isLive || !this.events.length) return;
    try {
      const told = await (await call(`${this.#path}/event_times`)).json();
      for (const event of this.events) event.logged = told.times_ms[event.position] ?? event.logged;
    } catch { /* the times of arrival are left */ }
  }

  /** Reads one connection. Whether the response has ended with it. */
  async #read() {
    const next = this.events.length ? this.events.at(-1).position + 1 : this.from;
    const path = `${this.#path}?stream=true${next > 0 ? `&starting_after=${next - 1}` : ''}`;
    const connection = { url: serverUrl(path), opened: this.#now(), first: this.events.length, size: 0 };
    try {
      const reply = await call(path, { accept: 'text/event-stream', signal: this.signal });
      Object.assign(connection, { answered: this.#now(), status: reply.status, statusText: reply.statusText, headers: [...reply.headers] });
      this.connections.push(connection);
      const decoder = decoderFor(reply.headers.get('content-type') ?? '');
      for await (const bytes of chunks(reply.body)) {
        connection.size += bytes.length;
        for (const frame of decoder.push(bytes)) {
          if (frame.beat || frame.data === '[DONE]') continue;
          if (await this.#take(frame.data)) return true;
        }
      }
    } catch (error) {
      // What the server refused stays refused; a connection that broke may work again.
      if (this.signal.aborted || error.status || this.#lost >= TRIES) throw error;
    }
    this.#lost += 1;
    if (this.#lost > TRIES) throw new Error('the connection closed before the response ended');
    return false;
  }

  async #take(data) {
    const event = JSON.parse(data);
    if (event.sequence_number === undefined) throw new Error(event.error?.message ?? event.message ?? data);
    const position = event.sequence_number;
    const logged = this.timeline.logged(position);
    if (this.isPaced && !this.isLive && logged !== null) {
      this.base ??= { at: this.#now(), logged };
      const wait = this.base.at + logged - this.base.logged - this.#now();
      if (wait > 0) await pause(wait, this.signal);
    }
    const taken = this.#now();
    const shown = this.timeline.shown(position, taken);
    const before = this.events.at(-1);
    const gap = before && (shown === null ? taken - before.taken : shown - before.shown);
    const bytes = this.#size.encode(data).length;
    this.events.push({ position, type: event.type, data, bytes, text: excerpt(event), logged, taken, shown, gap });
    this.#lost = 0;
    this.change();
    return isLast(event.type);
  }
}
