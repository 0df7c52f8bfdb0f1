// One answer as plain data: a fold over its events. It can be saved and restored, so a reload goes on where it was.

export const now = () => performance.timeOrigin + performance.now();

const TERMINAL = { 'response.completed': 1, 'response.incomplete': 1, 'response.failed': 1 };
const KEEP_READS = 1500;

export function newAnswer({ model, transport, stored }) {
  return {
    model, stored, via: [transport],
    id: null, seq: -1, state: 'running', // then: completed, cancelled, incomplete, failed, aborted
    parts: [], // {key, kind: text|reasoning|refusal|call, text, name?, t0, t1}
    error: null, reason: null, usage: null,
    t0: now(), tFirst: null, tEnd: null,
    events: 0, bytes: 0, readCount: 0, reads: [], // [ms since t0, bytes]
    caughtUp: null, gap: false,
  };
}

export const isRunning = (a) => a.state === 'running';

export function countRead(a, bytes) {
  a.bytes += bytes;
  a.readCount += 1;
  a.reads.push([Math.round(now() - a.t0), bytes]);
  if (a.reads.length > KEEP_READS) {
    // Keep every second one of the older half: the picture stays, the memory does not grow.
    const half = a.reads.length >> 1;
    a.reads = a.reads.filter((_, i) => i >= half || i % 2 === 0);
  }
}

/** Applies one event. Returns 'gap' when events are missing before it, so that the caller reads again from a.seq. */
export function apply(a, event) {
  const n = event.sequence_number;
  if (Number.isInteger(n)) {
    if (n <= a.seq) return 'seen';
    if (n > a.seq + 1) return 'gap';
    a.seq = n;
  }
  a.events += 1;
  const type = event.type ?? '';
  if (type === 'error') {
    a.error = event.error ?? { message: event.message ?? 'error' };
    return 'ok';
  }
  if (event.response?.id) a.id = event.response.id;
  if (TERMINAL[type]) {
    finish(a, event.response ?? {}, type.slice('response.'.length));
    return 'end';
  }
  if (type === 'response.output_item.added' || type === 'response.output_item.done') {
    if (event.item?.type === 'function_call' || event.item?.type === 'custom_tool_call') {
      const call = part(a, `${event.output_index}:call`, 'call');
      call.name = event.item.name || call.name;
      call.text = event.item.arguments || event.item.input || call.text;
    }
    return 'ok';
  }
  const m = /^response\.(output_text|reasoning|reasoning_text|reasoning_summary_text|refusal|function_call_arguments|custom_tool_call_input)\.(delta|done)$/.exec(type);
  if (!m) return 'ok';
  const kind = m[1] === 'output_text' ? 'text' : m[1] === 'refusal' ? 'refusal' : m[1] === 'function_call_arguments' || m[1] === 'custom_tool_call_input' ? 'call' : 'reasoning';
  const p = part(a, keyOf(kind, event), kind);
  if (m[2] === 'delta') {
    a.tFirst ??= now();
    p.text += event.delta ?? '';
    p.t1 = now();
  } else {
    const whole = event.text ?? event.refusal ?? event.arguments ?? event.input;
    if (typeof whole === 'string') p.text = whole;
  }
  return 'ok';
}

function keyOf(kind, event) {
  if (kind === 'call') return `${event.output_index}:call`;
  return `${event.output_index}:${kind}:${event.content_index ?? event.summary_index ?? 0}`;
}

function part(a, key, kind) {
  let p = a.parts.find((x) => x.key === key);
  if (!p) {
    p = { key, kind, text: '', t0: now(), t1: now() };
    a.parts.push(p);
  }
  return p;
}

/** The server's last word: from a terminal event, from JSON, or from the answer to a cancel. */
export function finish(a, response, fallback = 'completed') {
  a.id = response.id ?? a.id;
  a.state = response.status ?? fallback;
  if (!['completed', 'cancelled', 'incomplete', 'failed'].includes(a.state)) a.state = fallback;
  a.reason = response.incomplete_details?.reason ?? null;
  a.error = response.error ?? (a.state === 'failed' ? a.error : null);
  a.usage = response.usage ?? null;
  a.model = response.model ?? a.model;
  a.tEnd = now();
  a.tFirst ??= response.output?.length ? a.tEnd : null;
  for (const [i, item] of (response.output ?? []).entries()) {
    if (item.type === 'function_call') {
      const p = part(a, `${i}:call`, 'call');
      p.name = item.name;
      p.text = item.arguments ?? p.text;
      continue;
    }
    const pieces = item.type === 'reasoning'
      ? [...(item.content ?? []), ...(item.content?.length ? [] : item.summary ?? [])].map((c) => ['reasoning', c.text])
      : (item.content ?? []).map((c) => (c.type === 'refusal' ? ['refusal', c.refusal] : ['text', c.text]));
    for (const [j, [kind, text]] of pieces.entries()) {
      if (typeof text === 'string') part(a, `${i}:${kind}:${j}`, kind).text = text;
    }
  }
}

/** What ended here and not at the server: a closed connection, a refusal with a status. */
export function endHere(a, state, error = null) {
  a.state = state;
  a.error = error;
  a.tEnd = now();
}

export const textOf = (a) => a.parts.filter((p) => p.kind === 'text' || p.kind === 'refusal').map((p) => p.text).join('\n\n');

/** What it cost, in numbers; null is unknown. */
export function figures(a) {
  const end = a.tEnd ?? now();
  const total = end - a.t0;
  const ttft = a.tFirst === null ? null : a.tFirst - a.t0;
  const out = a.usage?.output_tokens ?? null;
  const whole = a.via.includes('json') || a.gap; // no generation time seen: the rate is a lower bound
  const span = whole ? total : end - a.tFirst;
  const rate = a.tEnd !== null && ttft !== null && out > 0 && span > 0 ? (out * 1000) / span : null;
  return { total, ttft, rate, atLeast: whole, in: a.usage?.input_tokens ?? null, out, source: a.usage?.source ?? null };
}
