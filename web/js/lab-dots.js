// Dots on a time axis: one for each event, one above the other where they came in the same read.

import { drawn } from './dom.js';
import { ticks } from './lab-numbers.js';

const HEIGHT = 76;
const BASE = 54; // the axis
const SIDE = 6;
const RADIUS = 3;

/** Draws the events of a lane into `svg`, `width` pixels wide, on an axis that ends at `span` milliseconds. */
export function dots(svg, { events, ended }, { width, span, label }) {
  svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute('aria-label', label);
  const room = width - 2 * SIDE;
  const x = (ms) => SIDE + (room * Math.min(ms, span)) / span;
  const axis = drawn('g', { class: 'axis' });
  const marks = ticks(span, Math.max(3, Math.floor(width / 110)));
  for (const [index, ms] of marks.entries()) {
    const last = index === marks.length - 1 && x(ms) > width - 40;
    axis.append(drawn('line', { x1: x(ms), x2: x(ms), y1: 4, y2: BASE + 4 }));
    axis.append(drawn('text', { x: x(ms), y: HEIGHT - 6, 'text-anchor': index === 0 ? 'start' : last ? 'end' : 'middle' }, tick(ms)));
  }
  axis.append(drawn('line', { class: 'base', x1: SIDE, x2: width - SIDE, y1: BASE, y2: BASE }));
  const first = events.find(({ text }) => text)?.at;
  if (first !== undefined) axis.append(drawn('line', { class: 'flow', x1: x(first), x2: x(ended ?? events.at(-1).at), y1: BASE, y2: BASE }));
  svg.replaceChildren(axis, ...stacks(events).flatMap(([batch, stack]) => circles(stack, batch, x)));
}

/** The events of each read. */
function stacks(events) {
  const stacks = new Map();
  for (const event of events) {
    if (!stacks.has(event.batch)) stacks.set(event.batch, []);
    stacks.get(event.batch).push(event);
  }
  return [...stacks];
}

function circles(stack, batch, x) {
  // As many as there are find room; of very many only the outlines touch.
  const step = Math.min(2 * RADIUS + 1, (BASE - RADIUS - 8) / Math.max(1, stack.length));
  return stack.map(({ at, text }, index) => drawn('circle', {
    class: `dot ${batch % 2 ? 'odd' : 'even'}${text ? ' text' : ''}`, cx: x(at).toFixed(1), cy: (BASE - RADIUS - 2 - index * step).toFixed(1), r: RADIUS,
  }));
}

const tick = (ms) => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);
