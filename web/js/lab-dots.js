// Dots on a time axis: one for each event, one above the other where they came in the same read.

import { drawn } from './dom.js';
import { ticks } from './lab-numbers.js';

const HEIGHT = 76;
const BASE = 54; // the axis
const SIDE = 6;
const RADIUS = 3;

/** The dots of one lane in an SVG. What is drawn stays, and only what is new is drawn, until the scale changes. */
export class Dots {
  #scale = '';
  #axis = null;
  #layer = null;
  #flow = null;
  #marks = null;
  #done = 0; // events that are drawn, those of the last read left out: it may grow
  #last = []; // circles of that one

  constructor(svg) {
    this.svg = svg;
  }

  /** Shows these events, `width` pixels wide, on an axis that ends at `span` milliseconds. */
  draw({ events, ended, marks = [] }, { width, span }) {
    const x = (ms) => SIDE + ((width - 2 * SIDE) * Math.min(ms, span)) / span;
    // Above one for each pixel they could not be told apart: every second, fourth and so on is shown.
    let stride = 1;
    while (events.length / stride > width) stride *= 2;
    const scale = `${width} ${span} ${stride}`;
    if (scale !== this.#scale || events.length < this.#done) this.#begin(scale, width, span, x);
    this.#add(events, stride, x);
    this.#marks.replaceChildren(...marks.map(({ at, what }) => drawn('line', { class: what, x1: x(at), x2: x(at), y1: 2, y2: BASE + 4 })));
    const first = events.find(({ text }) => text)?.at;
    if (first === undefined) return this.#flow.setAttribute('visibility', 'hidden');
    this.#flow.setAttribute('visibility', 'visible');
    this.#flow.setAttribute('x1', x(first));
    this.#flow.setAttribute('x2', x(ended ?? events.at(-1).at));
  }

  #begin(scale, width, span, x) {
    this.#scale = scale;
    this.#done = 0;
    this.#last = [];
    this.svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    this.#flow = drawn('line', { class: 'flow', y1: BASE, y2: BASE });
    this.#axis = drawn('g', { class: 'axis' }, ...axis(width, span, x), this.#flow);
    this.#layer = drawn('g');
    this.#marks = drawn('g', { class: 'marks' });
    this.svg.replaceChildren(this.#axis, this.#layer, this.#marks);
  }

  #add(events, stride, x) {
    this.#last.forEach((circle) => circle.remove());
    this.#last = [];
    for (let begin = this.#done; begin < events.length;) {
      let end = begin + 1;
      while (end < events.length && events[end].batch === events[begin].batch) end += 1;
      const circles = stack(events.slice(begin, end), x).filter((_, index) => (begin + index) % stride === 0);
      this.#layer.append(...circles);
      if (end === events.length) this.#last = circles;
      else this.#done = end;
      begin = end;
    }
  }
}

function axis(width, span, x) {
  const marks = ticks(span, Math.max(3, Math.floor(width / 110)));
  const parts = marks.flatMap((ms, index) => {
    const last = index === marks.length - 1 && x(ms) > width - 40;
    return [
      drawn('line', { x1: x(ms), x2: x(ms), y1: 4, y2: BASE + 4 }),
      drawn('text', { x: x(ms), y: HEIGHT - 6, 'text-anchor': index === 0 ? 'start' : last ? 'end' : 'middle' }, tick(ms)),
    ];
  });
  return [...parts, drawn('line', { class: 'base', x1: SIDE, x2: width - SIDE, y1: BASE, y2: BASE })];
}

/** The events of one read. As many as there are find room; of very many only the outlines touch. */
function stack(events, x) {
  const step = Math.min(2 * RADIUS + 1, (BASE - RADIUS - 8) / events.length);
  return events.map(({ at, batch, text }, index) => drawn('circle', {
    class: `dot ${batch % 2 ? 'odd' : 'even'}${text ? ' text' : ''}`, cx: x(at).toFixed(1), cy: (BASE - RADIUS - 2 - index * step).toFixed(1), r: RADIUS,
  }));
}

const tick = (ms) => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);
