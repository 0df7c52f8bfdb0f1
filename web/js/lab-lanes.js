// One prompt over one transport, and when each of its events arrived. Times are milliseconds from the first request on.

import { apply, isRunning, newAnswer, textOf } from './answer.js';
import { apiKey, call, chunks, isRefusal } from './api.js';
import { isText, TOGETHER_MS } from './lab-numbers.js';
import { READ } from './lab-transports.js';

export const LANES = ['json', 'ndjson', 'sse', 'eventsource', 'websocket', 'chat', 'classic'];

/** Lanes whose reads a page decides itself; of the others the browser reads all that comes. */
export const PACED = ['json', 'ndjson', 'sse', 'chat', 'classic'];

const CUT_AFTER = 20; // events, where the cut is not made by hand
const CUT_AFTER_MS = 300; // the same for the document that has none before its end
const RESUME_AFTER_MS = 300;
const SLICE = 512; // bytes that a slow reader takes at once
const SLICE_MS = 64; // 8 kB a second

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Lane {
  events = []; // {at, batch, text}
  reads = 0;
  bytes = null; // of the body, where a page can see them
  state = 'waiting'; // then running, cut, running again, ended
  ended = null;
  error = null;
  stopped = false;
  marks = []; // {at, what: cut or resumed}
  repeated = 0; // events that came again after a resume
  missing = 0;
  partial = false; // cut, and this transport cannot go on
  second = null; // another reader of the same response: {events, reads, ended, joined, text}
  #began = performance.now();
  #last = -Infinity;
  #plain = null; // the text, where its events are not those of the Responses API
  #done = false;
  #wasCut = false;
  #goOn = null;

  /**
   * `name` is what the server shows of it; `closes`: each of its requests takes a connection of its own. `relay` are parameters that
   * have its body held up on the way, `cut` is no, auto or hand.
   */
  constructor(kind, name, { model, prompt, closes, relay = {}, slow = false, second = false, cut = 'no', signal, change }) {
    Object.assign(this, { kind, name, model, prompt, closes, relay, cut, signal, change });
    this.slow = slow && PACED.includes(kind);
    this.hasSecond = second && kind === 'eventsource';
    // What is cut can only be resumed if it was stored.
    this.stored = kind === 'eventsource' || (cut !== 'no' && ['ndjson', 'sse', 'websocket'].includes(kind));
    this.answer = newAnswer({ model, transport: kind, stored: this.stored });
  }

  async run() {
    this.#began = performance.now();
    this.state = 'running';
    if (this.cut === 'auto' && this.kind === 'json') setTimeout(() => this.break(), CUT_AFTER_MS);
    try {
      await READ[this.kind](this);
      if (this.answer.state === 'failed') throw new Error(this.answer.error?.message ?? this.answer.state);
    } catch (error) {
      // Who stops it knows why.
      if (this.signal.aborted) this.stopped = true;
      else if (!this.partial) this.error = error;
    }
    this.ended ??= this.now();
    this.state = 'ended';
    this.change();
  }

  get text() {
    return this.#plain ?? textOf(this.answer);
  }

  /** Whether there is more to come. */
  get isRunning() {
    return this.#plain === null ? isRunning(this.answer) : !this.#done;
  }

  /** Whether its reads are a guess, since a browser does not tell them. */
  get guesses() {
    return this.kind === 'eventsource' || this.kind === 'websocket';
  }

  now() {
    return performance.now() - this.#began;
  }

  /** The query that names it to the lens, and has the server close the connection where the lane wants its own. */
  address(path, more = {}) {
    return `${path}?${new URLSearchParams({ lane: this.name, ...(this.closes ? { close: 'true' } : {}), ...more })}`;
  }

  /** The same for what streams: held up on the way, if that is wanted. */
  streamAddress(path, more = {}) {
    return this.address(path, { ...this.relay, ...more });
  }

  /** A browser sends the key neither with an EventSource nor with a WebSocket: a ticket, good for one connection to this path. */
  async ticket(path) {
    if (!apiKey.get()) return {};
    const made = await call(this.address('v1/tickets'), { json: { for: path }, signal: this.signal });
    return { ticket: (await made.json()).ticket };
  }

  /** The reads of a body; a slow reader leaves the rest where it is, and so slows the sender down once all buffers are full. */
  async *read(body) {
    this.bytes ??= 0;
    for await (const bytes of chunks(body)) {
      for (let from = 0; from < bytes.length; from += this.slow ? SLICE : bytes.length) {
        const slice = this.slow ? bytes.subarray(from, from + SLICE) : bytes;
        if (this.slow) await pause(SLICE_MS);
        this.signal.throwIfAborted();
        this.bytes += slice.length;
        yield slice;
      }
    }
  }

  /** Takes in the frames of one read. */
  take(frames, each) {
    const at = this.now();
    this.reads += 1;
    for (const frame of frames) if (!frame.beat) each(frame, at, this.reads);
    this.change();
  }

  /** Takes in one event that a browser's own reader delivered. */
  delivered(each) {
    const at = this.now();
    if (at - this.#last >= TOGETHER_MS) this.reads += 1;
    this.#last = at;
    each(at, this.reads);
    this.change();
  }

  /** An event of the Responses API. */
  event(at, batch, event) {
    if (isRefusal(event)) throw new Error(event.error?.message ?? event.error?.code);
    let result = apply(this.answer, event);
    if (result === 'gap') {
      this.missing += event.sequence_number - this.answer.seq - 1;
      this.answer.seq = event.sequence_number - 1;
      result = apply(this.answer, event);
    }
    if (result === 'seen') this.repeated += 1;
    else this.#dot(at, batch, isText(event));
    if (!isRunning(this.answer)) this.ended = at;
  }

  /** Its events are those of another API: their texts are put together by `piece`. */
  plain() {
    this.#plain = '';
  }

  /** An event of another API, and its text if it has any. `null` is the end. */
  piece(at, batch, text) {
    if (text === null) {
      this.#done = true;
      this.ended = at;
      return;
    }
    this.#plain += text;
    this.#dot(at, batch, text !== '');
  }

  /** The whole document, which is the one thing that arrives. */
  document(at) {
    this.#dot(at, this.reads, true);
    this.ended = at;
  }

  /** What is read again from its start begins anew. */
  again() {
    this.repeated += this.events.length;
    this.#plain = '';
  }

  #dot(at, batch, text) {
    this.events.push({ at, batch, text });
    if (this.cut === 'auto' && this.events.length === CUT_AFTER) this.break();
  }

  // Cut and resume

  /** Has the server reset the connections of this lane: a page cannot do that itself. Once. */
  async break() {
    if (this.#wasCut || this.state !== 'running') return;
    this.#wasCut = true;
    try {
      await call(`v1/lens/connections?${new URLSearchParams({ lane: this.name, ...(this.closes ? { close: 'true' } : {}) })}`, { method: 'DELETE' });
    } catch { /* over HTTP/2 this request was on the connection that is reset */ }
  }

  /** Whether a lane that runs may be cut by hand now. */
  get canCut() {
    return this.cut === 'hand' && this.state === 'running' && !this.#wasCut;
  }

  /** Lets a lane that was cut go on. */
  resume() {
    this.#goOn?.();
  }

  mark(what) {
    this.marks.push({ at: this.now(), what });
    this.state = what === 'cut' ? 'cut' : 'running';
    this.change();
  }

  get wasCut() {
    return this.#wasCut;
  }

  /** Reads by `start`; if the connection is cut on purpose, goes on by `resume` once that is wanted. */
  async follow(start, resume) {
    try {
      return await start();
    } catch (error) {
      if (!this.#wasCut || this.signal.aborted || !this.isRunning) throw error;
    }
    this.mark('cut');
    if (!resume) {
      this.partial = true;
      throw new Error('cut');
    }
    await new Promise((done, failed) => {
      this.#goOn = done;
      if (this.cut === 'auto') setTimeout(done, RESUME_AFTER_MS);
      this.signal.addEventListener('abort', () => failed(this.signal.reason), { once: true });
    });
    this.mark('resumed');
    await resume();
  }

  /** Leaves nothing behind: the answer that had to be stored is stopped, if it still runs, and deleted. */
  async forget() {
    const id = this.id ?? (this.stored ? this.answer.id : null);
    if (!id) return;
    const path = `v1/responses/${encodeURIComponent(id)}`;
    const query = this.closes ? '?close=true' : '';
    try {
      if (isRunning(this.answer)) await call(`${path}/cancel${query}`, { method: 'POST' });
      await call(`${path}${query}`, { method: 'DELETE' });
    } catch { /* it is gone already, or will go with its age */ }
  }
}
