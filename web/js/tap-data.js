// What a tap has seen, without a page: times, figures, and the files that are saved.

const TEXTS = new Set([
  'response.output_text.delta', 'response.refusal.delta', 'response.reasoning_text.delta', 'response.reasoning_summary_text.delta',
]);

/** To a tenth of a millisecond, which is as fine as the server records times. */
const tenth = (ms) => Math.round(ms * 10) / 10;

/** When the events of a response were made, as `GET …/event_times` gave it; `at` is when this page asked, by its own clock. */
export class Timeline {
  constructor({ created_at_ms: created, elapsed_ms: elapsed, times_ms: times }, at) {
    this.created = created;
    this.times = times;
    this.createdHere = elapsed === null ? null : at - elapsed;
  }

  /** Whether the response is running. */
  get isLive() {
    return this.createdHere !== null;
  }

  /** When an event was appended to the server's log, since the creation; null if that is not known. */
  logged(position) {
    return this.times[position] ?? null;
  }

  /** The time to show for an event that arrived at `at`. */
  shown(position, at) {
    return this.logged(position) ?? (this.isLive ? Math.max(0, at - this.createdHere) : null);
  }
}

/** Whether an event carries text of the model. */
export const hasText = ({ type }) => TEXTS.has(type);

export const isLast = (type) => type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed';

/** The text that tells an event from others of its type, or what it says of the response. */
export function excerpt(event) {
  for (const name of ['delta', 'text', 'refusal', 'arguments', 'input', 'message']) {
    if (typeof event[name] === 'string') return event[name];
  }
  return event.error?.message ?? event.response?.status ?? event.item?.type ?? event.part?.type ?? '';
}

/** The figures of events {position, type, data, logged, taken}: by the server's times if all are known. */
export function summary(events) {
  const isLogged = events.length > 0 && events.every(({ logged }) => logged !== null);
  const time = (event) => (isLogged ? event.logged : event.taken);
  const texts = events.filter(hasText).map(time);
  const gaps = texts.slice(1).map((at, index) => at - texts[index]).sort((a, b) => a - b);
  const first = events.find(hasText);
  const rounded = (value) => (value === undefined || value === null ? null : tenth(value));
  return {
    events: events.length,
    bytes: events.reduce((sum, { bytes }) => sum + bytes, 0),
    duration_ms: events.length ? tenth(time(events.at(-1)) - time(events[0])) : 0,
    first_text_ms: isLogged && events[0].position === 0 ? rounded(first?.logged) : null,
    text_gaps: { count: gaps.length, median_ms: rounded(gaps[Math.floor(gaps.length / 2)]), slowest_ms: rounded(gaps.at(-1)) },
    times: isLogged ? 'log' : 'arrival',
  };
}

/** The document that `weir tap --save FILE.json` writes. */
export function jsonDocument({ id, server, created, from, end, connections, events }) {
  return {
    schema: 1,
    response_id: id,
    server,
    created_at_ms: created,
    from,
    end,
    connections: connections.length,
    summary: summary(events),
    events: events.map((event) => ({
      sequence_number: event.position,
      type: event.type,
      bytes: event.bytes,
      logged_ms: event.logged,
      taken_ms: tenth(event.taken),
      event: JSON.parse(event.data),
    })),
  };
}

/** HAR 1.2: an entry for each connection, with its events as Chrome exports them. */
export function harDocument({ id, started, connections, events }) {
  const entries = connections.map((connection, index) => {
    const own = events.slice(connection.first, connections[index + 1]?.first ?? events.length);
    const end = Math.max(connection.answered, own.at(-1)?.taken ?? 0);
    const timings = {
      blocked: -1, dns: -1, connect: -1, ssl: -1, send: 0,
      wait: connection.answered - connection.opened, receive: end - connection.answered,
    };
    const url = new URL(connection.url);
    return {
      startedDateTime: new Date(started + connection.opened).toISOString(),
      time: timings.wait + timings.receive,
      request: {
        method: 'GET', url: connection.url, httpVersion: 'unknown', cookies: [], headersSize: -1, bodySize: 0,
        headers: [{ name: 'accept', value: 'text/event-stream' }],
        queryString: [...url.searchParams].map(([name, value]) => ({ name, value })),
      },
      response: {
        status: connection.status, statusText: connection.statusText, httpVersion: 'unknown', cookies: [],
        headers: connection.headers.map(([name, value]) => ({ name, value })),
        content: { size: connection.size, mimeType: connection.headers.find(([name]) => name === 'content-type')?.[1] ?? '' },
        redirectURL: '', headersSize: -1, bodySize: connection.size,
      },
      cache: {},
      timings,
      _resourceType: 'fetch',
      _eventSourceMessages: own.map((event) => ({
        time: (started + event.taken) / 1000, eventName: event.type, eventId: '', data: event.data,
        _sequence_number: event.position, _logged_ms: event.logged,
      })),
    };
  });
  const comment = `The events of ${id}. time of a message is when the page took it; _logged_ms is when the server appended it to its log, in milliseconds since the creation of the response.`;
  return { log: { version: '1.2', creator: { name: 'Weir lab', version: '1' }, pages: [], entries, comment } };
}
