// The lab's numbers, from what was measured: no page and no network.

/** What arrives this soon after the event before came with it: EventSource and WebSocket do not tell reads apart. */
export const TOGETHER_MS = 1;

export const isText = (event) => event.type === 'response.output_text.delta';

/** The nearest rank; `values` may be in any order. */
export function percentile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** The pauses between one piece of text and the next. What came in one read has none between. */
export function gaps(events) {
  const texts = events.filter(({ text }) => text);
  return texts.slice(1).map(({ at }, index) => at - texts[index].at);
}

/** The figures of a lane: times in milliseconds from its first request on. */
export function figures({ events, reads, ended, answer, bytes }) {
  const pauses = gaps(events);
  return {
    first: events.find(({ text }) => text)?.at ?? null,
    total: ended,
    events: events.length,
    reads,
    largest: Math.max(0, ...sizes(events)),
    p50: percentile(pauses, 0.5),
    p90: percentile(pauses, 0.9),
    p99: percentile(pauses, 0.99),
    slowest: percentile(pauses, 1),
    gaps: pauses.length,
    characters: [...answer].length,
    bytes,
  };
}

/** How many events each batch has. */
export function sizes(events) {
  const counts = new Map();
  for (const { batch } of events) counts.set(batch, (counts.get(batch) ?? 0) + 1);
  return [...counts.values()];
}

export const KINDS = ['tls', 'head', 'framing', 'dialect', 'text', 'compressed', 'other'];

/**
 * What the server sent and received for a lane: {parts, mixed}. A connection that was the lane's alone is a part as it is; of
 * others those of its requests. Where others were answered beside them it is the whole connection, which had `mixed` requests.
 */
export function shares(connections, lane) {
  const parts = [];
  let mixed = 0;
  for (const connection of connections) {
    const own = connection.last_requests.filter((request) => request.lane === lane);
    const { sampled, requests } = connection;
    if (requests === own.length) parts.push(connection);
    else if (own.every((request) => request.sent)) parts.push(...own.map(({ sent: bytes, said }) => ({ sampled, sent: bytes, said, received: null })));
    else {
      parts.push(connection);
      mixed += requests;
    }
  }
  return { parts, mixed };
}

/**
 * All bytes that the server has sent in these parts, by kind; `null` where one of them was not sampled. What a WebSocket says
 * is told as it was before it was compressed: where that is more than there was, its messages are one kind. Of a lane that was cut,
 * it is told with what was not sent any more: then the bodies are one kind.
 */
export function sent(parts, wasCut = false) {
  const sum = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  for (const { sent: bytes, said, sampled } of parts) {
    if (!sampled) return null;
    sum.tls += bytes.tls;
    sum.head += bytes.head;
    sum.framing += bytes.framing;
    const other = bytes.body - said.framing - said.dialect - said.text;
    if (other < 0) {
      sum[wasCut ? 'other' : 'compressed'] += bytes.body;
      continue;
    }
    sum.framing += said.framing;
    sum.dialect += said.dialect;
    sum.text += said.text;
    sum.other += other;
  }
  return sum;
}

/** Bytes of text and of the JSON around it, before any compression. */
export const said = (parts, kind) => parts.reduce((all, part) => all + (part.said?.[kind] ?? 0), 0);

/** All bytes one way; `null` where they are not told. */
export const total = (parts, way) => (parts.every((part) => part[way]) ? parts.reduce((all, part) => all + part[way].total, 0) : null);

const ASKS = ['/v1/responses', '/v1/chat/completions'];

/**
 * The connection on which a lane's answer came; of a lane that was cut, the one that was reset. Others carried what had to be asked
 * before.
 */
export function mainOf(connections, lane, wasCut = false) {
  const answers = ({ method, path, lane: name }) => name === lane && !path.startsWith('/v1/tickets')
    && (method === 'POST' ? ASKS.includes(path) : true);
  const cut = wasCut && connections.find(({ close, last_requests: requests }) => close?.how === 'reset' && requests.some(answers));
  if (cut) return cut;
  const score = ({ last_requests: requests }) => Math.max(...requests.map((request) => {
    if (!answers(request)) return 0;
    return request.path.endsWith('/events') || request.status === 101 ? 2 : 1;
  }), 0);
  return connections.reduce((best, one) => (!best || score(one) > score(best) ? one : best), null);
}

/** Times for an axis: some four to eight, at round numbers of milliseconds. */
export function ticks(span, most = 8) {
  for (let unit = 1; ; unit *= 10) {
    for (const step of [unit, 2 * unit, 5 * unit]) {
      if (span / step > most) continue;
      return Array.from({ length: Math.floor(span / step) + 1 }, (_, index) => index * step);
    }
  }
}

/** An end for an axis that grows seldom: 1, 2 or 5 times a power of ten seconds. */
export function roundSpan(ms) {
  for (let unit = 1000; ; unit *= 10) {
    const fits = [unit, 2 * unit, 5 * unit].find((span) => span >= ms);
    if (fits) return fits;
  }
}
