// Several runs of the same lanes: what each measured, and the median and the slowest of them. No page and no network.

import { figures, mainOf, percentile, sent, shares, total } from './lab-numbers.js';

/** The lanes of run `index` from 0, each run starting with another one: who goes first has the caches cold. */
export function rotated(kinds, index) {
  const from = index % (kinds.length || 1);
  return [...kinds.slice(from), ...kinds.slice(0, from)];
}

/** What a lane measured in one run, as it is exported. */
export function record(lane, seen) {
  const { first, total: whole, events, reads, largest, p50, slowest, gaps, characters, bytes } = figures({ ...lane, answer: lane.text });
  const connections = seen?.connections ?? [];
  const main = connections.length ? mainOf(connections, lane.name, lane.wasCut) : null;
  const { parts } = shares(connections, lane.name);
  return {
    lane: lane.kind, name: lane.name, error: lane.error?.message ?? null, stopped: lane.stopped, partial: lane.partial,
    first_text_ms: first, complete_ms: whole, events, reads, reads_are_estimated: lane.guesses, most_events_in_a_read: largest,
    gap_median_ms: p50, gap_slowest_ms: slowest, gaps, characters, body_bytes: bytes,
    marks: lane.marks.map(({ at, what }) => ({ at_ms: at, what })), repeated_events: lane.repeated, missing_events: lane.missing,
    second_reader: lane.second && {
      joined_ms: lane.second.joined, complete_ms: lane.second.ended, events: lane.second.events.length, reads: lane.second.reads,
      same_text: lane.second.text === lane.text,
    },
    protocol: main?.protocol ?? null, tls: main?.tls?.version ?? null,
    sent_bytes: connections.length ? total(parts, 'sent') : null, sent_by_kind: connections.length ? sent(parts, lane.wasCut) : null,
    connections: connections.map(({ id }) => id), capture: seen?.capture.state ?? null,
    dots: lane.events.map(({ at, batch, text }) => [Math.round(at * 1000) / 1000, batch, text ? 1 : 0]),
  };
}

const MEASURES = ['first_text_ms', 'complete_ms', 'gap_median_ms', 'gap_slowest_ms', 'sent_bytes'];

/** Of each lane and each measure: the median and the largest, and of how many runs. */
export function summary(runs, kinds) {
  return kinds.map((kind) => {
    const own = runs.flatMap(({ lanes }) => lanes.filter((one) => one.lane === kind && !one.error && !one.stopped));
    const measures = MEASURES.map((name) => {
      const values = own.map((one) => one[name]).filter((value) => typeof value === 'number');
      return [name, { median: percentile(values, 0.5), slowest: values.length ? Math.max(...values) : null, runs: values.length }];
    });
    return { lane: kind, ...Object.fromEntries(measures) };
  });
}
