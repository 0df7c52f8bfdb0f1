// A run taken along: as JSON, as a picture, and as a capture file.

import { call } from './api.js';
import { element, drawn } from './dom.js';
import { t } from './i18n.js';
import { ticks } from './lab-numbers.js';

const MOST_CONNECTIONS = 64; // of a capture file, as the server has it
const WIDTH = 960;
const LEFT = 150;
const ROW = 64;
const TOP = 44;

/** Offers a file to save. */
export function save(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = element('a', { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

export const json = (value) => new Blob([`${JSON.stringify(value, null, 2)}\n`], { type: 'application/json' });

/** The dots of all lanes of one run, on one axis, as a document of its own. */
export function picture({ settings, runs }) {
  const run = runs.at(-1);
  const span = Math.max(1, ...run.lanes.map(({ complete_ms: ms, dots }) => ms ?? dots.at(-1)?.[0] ?? 0)) * 1.02;
  const x = (ms) => LEFT + ((WIDTH - LEFT - 20) * ms) / span;
  const height = TOP + ROW * run.lanes.length + 30;
  const text = (attributes, words) => drawn('text', { fill: '#25343a', 'font-size': 13, ...attributes }, words);
  const svg = drawn('svg', { xmlns: 'http://www.w3.org/2000/svg', viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, 'font-family': 'system-ui, sans-serif' },
    drawn('rect', { width: WIDTH, height, fill: '#ffffff' }),
    text({ x: 16, y: 26, 'font-weight': 600 }, `${t('labTitle')} · ${settings.model} · ${t(`relay_${settings.relay}`)}`));
  for (const ms of ticks(span)) {
    svg.append(drawn('line', { x1: x(ms), x2: x(ms), y1: TOP, y2: height - 26, stroke: '#dfe3de' }),
      text({ x: x(ms), y: height - 10, 'text-anchor': 'middle', 'font-size': 11, fill: '#5b6b70' }, ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`));
  }
  run.lanes.forEach((lane, index) => {
    const base = TOP + ROW * (index + 1) - 12;
    svg.append(text({ x: 16, y: base }, t(`lane_${lane.lane}`)), drawn('line', { x1: LEFT, x2: WIDTH - 20, y1: base + 5, y2: base + 5, stroke: '#b9c2c0' }));
    for (const { at_ms: at, what } of lane.marks) {
      svg.append(drawn('line', { x1: x(at), x2: x(at), y1: base - ROW + 22, y2: base + 5, stroke: what === 'cut' ? '#b3261e' : '#2e7d32', 'stroke-width': 2 }));
    }
    const counts = new Map();
    for (const [at, batch, isText] of lane.dots) {
      const level = counts.get(batch) ?? 0;
      counts.set(batch, level + 1);
      const colour = batch % 2 ? '#0c6470' : '#b0610a';
      svg.append(drawn('circle', { cx: x(at).toFixed(1), cy: (base - Math.min(level * 7, ROW - 26)).toFixed(1), r: 3, stroke: colour, fill: isText ? colour : '#ffffff' }));
    }
  });
  return new Blob([new XMLSerializer().serializeToString(svg)], { type: 'image/svg+xml' });
}

/** Whether there were packets, so that a capture file can be made. */
export const hasPackets = (run) => Boolean(run?.lanes.some(({ capture, connections }) => capture === 'on' && connections.length));

/** The packets of the lanes' connections, headers only. Throws what the server says where there are none. */
export async function capture(run) {
  const ids = [...new Set(run.lanes.flatMap(({ connections }) => connections))].slice(0, MOST_CONNECTIONS);
  const reply = await call(`v1/lens/connections.pcapng?${new URLSearchParams({ ids: ids.join(',') })}`, { accept: 'application/x-pcapng' });
  return reply.blob();
}
