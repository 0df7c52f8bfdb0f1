// One turn on the page: the question, the answer as it grows, how it ended, and what it cost.

import { figures, isRunning, now, textOf } from './answer.js';
import { element } from './dom.js';
import { duration, has, number, size, t } from './i18n.js';
import { MarkdownView } from './markdown.js';
import { strip } from './strip.js';

const NAMES = { json: 'JSON', ndjson: 'NDJSON', sse: 'SSE', websocket: 'WebSocket' };
const STEP = 'M0 .5h6c12 0 10 11 22 11h6';
const COUNTER_MS = 80; // the eye reads running numbers no faster

export function drawing(view, path, className) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', view);
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', className);
  const line = document.createElementNS(svg.namespaceURI, 'path');
  line.setAttribute('d', path);
  svg.append(line);
  return svg;
}

const button = (action, className = 'quiet') => {
  const node = element('button', { type: 'button', className });
  node.dataset.act = action;
  return node;
};

export class TurnView {
  #parts = new Map(); // key -> {root, body, markdown?}
  #note = '';
  #frame = 0;
  #counted = 0;
  #timer = 0;
  #settled = false;

  /** `act(name)` is told of a press on copy, again or reconnect. */
  constructor(turn, act) {
    this.turn = turn;
    this.question = element('p', { className: 'question', textContent: turn.question });
    this.parts = element('div', { className: 'parts' });
    this.state = element('p', { className: 'state' });
    this.canvas = element('canvas', { className: 'strip' });
    this.canvas.setAttribute('role', 'img');
    this.figures = element('dl', { className: 'figures' });
    this.actions = element('div', { className: 'actions' }, button('copy'), button('again'), button('reconnect'));
    this.actions.addEventListener('click', (event) => {
      const name = event.target.closest('button')?.dataset.act;
      if (name) act(name, event.target);
    });
    this.answer = element('div', { className: 'answer' }, this.parts, this.state, this.canvas,
      element('div', { className: 'foot' }, this.figures, this.actions));
    const step = element('div', { className: 'step' }, element('i'), drawing('0 0 34 12', STEP, ''), element('i'));
    this.root = element('article', { className: 'turn' }, this.question, step, this.answer);
    this.redraw = strip(this.canvas, () => this.#picture());
  }

  note(name) {
    this.#note = name;
    this.later();
  }

  /** Shows what is new, at most once per frame; in a hidden tab at once, since frames do not come there. */
  later() {
    if (document.hidden) this.show();
    else this.#frame ||= requestAnimationFrame(() => this.show());
  }

  show() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = 0;
    const { answer } = this.turn;
    const running = isRunning(answer);
    this.root.classList.toggle('running', running);
    this.answer.setAttribute('aria-busy', String(running));
    if (running || !this.#settled) this.#showParts(answer, running);
    this.#showState(answer, running);
    if (!running || now() - this.#counted >= COUNTER_MS) {
      this.#counted = now();
      this.#showFigures(answer, running);
      this.redraw();
    }
    this.#settled = !running;
    this.shown?.();
    if (running && !document.hidden) this.#timer = setTimeout(() => this.later(), COUNTER_MS);
  }

  /** After a change of language. */
  relabel() {
    this.#settled = false;
    this.show();
  }

  #showParts(answer, running) {
    const current = answer.parts.at(-1);
    for (const part of answer.parts) {
      const shown = this.#parts.get(part.key) ?? this.#add(part);
      const open = running && part === current;
      if (part.kind === 'reasoning') {
        const label = open ? t('thinking') : part.t1 > part.t0 ? t('thought', { s: duration(part.t1 - part.t0) }) : t('thinking').replace('…', '');
        if (shown.label.textContent !== label) shown.label.textContent = label;
      }
      if (part.kind === 'call') shown.label.textContent = `${t('calls')} ${part.name ?? '…'}`;
      if (shown.text === part.text && shown.open === open) continue;
      if (shown.markdown) shown.markdown.show(part.text, !open);
      else if (part.kind === 'call') shown.body.textContent = pretty(part.text);
      else grow(shown.body, part.text);
      shown.text = part.text;
      shown.open = open;
    }
    for (const copy of this.parts.querySelectorAll('[data-copy]:empty')) copy.textContent = t('copy');
  }

  #add(part) {
    let shown;
    if (part.kind === 'text') {
      const root = element('div', { className: 'prose' });
      shown = { root, markdown: new MarkdownView(root) };
    } else if (part.kind === 'refusal') {
      const root = element('p', { className: 'refusal' });
      shown = { root, body: root };
    } else {
      const label = element(part.kind === 'call' ? 'p' : 'summary', { className: 'label' });
      const body = element(part.kind === 'call' ? 'pre' : 'div');
      const root = element(part.kind === 'call' ? 'div' : 'details', { className: part.kind }, label, body);
      shown = { root, label, body };
    }
    this.#parts.set(part.key, shown);
    this.parts.append(shown.root);
    return shown;
  }

  #showState(answer, running) {
    const lines = [];
    let tone = '';
    if (running) {
      if (this.#note) lines.push(t(this.#note));
      else if (!answer.parts.length) lines.push(t(answer.stored ? 'waiting' : 'waitingJson'));
    } else {
      const why = reason(answer);
      if (answer.state === 'completed' && !answer.parts.length) lines.push(t('noText'));
      if (answer.state === 'cancelled') lines.push(t('cancelled'));
      if (answer.state === 'aborted') lines.push(t(why === 'reload' ? 'reloaded' : answer.stored ? 'abortedStored' : 'aborted'));
      if (answer.state === 'incomplete') lines.push(t('incomplete', { why: has(why) ? t(why) : why }));
      if (answer.state === 'lost') lines.push(t('lost'));
      if (answer.state === 'failed') lines.push(t('failed', { why: has(why) ? t(why) : why }));
      tone = { failed: 'bad', lost: 'bad', incomplete: 'warn', cancelled: 'warn', aborted: 'warn' }[answer.state] ?? '';
    }
    if (answer.caughtUp !== null && this.#note !== 'reconnecting') lines.push(t('caughtUp', { n: number(answer.caughtUp) }));
    const text = lines.join(' · ');
    if (this.state.textContent !== text) this.state.textContent = text;
    this.state.className = `state ${tone}`;
    this.state.hidden = !text;
    for (const [name, visible] of [['copy', !running && textOf(answer)], ['again', this.last && /failed|aborted/.test(answer.state)], ['reconnect', answer.state === 'lost']]) {
      const node = this.actions.querySelector(`[data-act=${name}]`);
      node.hidden = !visible;
      node.textContent = t(name);
    }
  }

  #showFigures(answer, running) {
    const f = figures(answer);
    const json = answer.via[0] === 'json';
    const inMessages = answer.via.every((name) => name === 'websocket');
    const rows = [
      ['total', 'figTotal', duration(f.total), 'figTotalHint'],
      f.ttft !== null && ['ttft', 'figTtft', duration(f.ttft), json ? 'figTtftJson' : 'figTtftHint'],
      f.rate !== null && ['rate', 'figRate', `${f.atLeast ? '≥ ' : ''}${number(f.rate, 1)}`, f.atLeast ? 'figRateLeast' : 'figRateHint'],
      f.out !== null && ['tokens', 'figTokens', `${f.in === null ? '?' : number(f.in)} → ${number(f.out)}`, f.source && `${f.source}Hint`, f.source],
      answer.events > 0 && ['events', 'figEvents', number(answer.events)],
      answer.readCount > 0 && ['bytes', 'figBytes', size(answer.bytes)],
      answer.readCount > 0 && ['reads', inMessages ? 'figMessages' : 'figReads', number(answer.readCount)],
    ].filter(Boolean);
    // Nodes are kept while the numbers run, so that hints and selections survive.
    const shape = rows.map(([name]) => name).join();
    if (this.figures.dataset.shape !== shape) {
      this.figures.dataset.shape = shape;
      this.figures.replaceChildren(...rows.map(([name]) => element('div', { className: name }, element('dt'), element('dd'))),
        element('div', { className: 'via' }, element('dd')));
    }
    for (const [i, [, label, value, hint, extra]] of rows.entries()) {
      const [dt, dd] = this.figures.children[i].children;
      set(dt, `${t(label)}${extra && has(extra) ? ` (${t(extra)})` : ''}`);
      set(dd, value);
      const title = hint && has(hint) ? t(hint) : '';
      if (this.figures.children[i].title !== title) this.figures.children[i].title = title;
    }
    set(this.figures.lastChild.firstChild, `${answer.via.map((name) => NAMES[name]).join(' → ')} · ${answer.model}`);
    if (!running) this.canvas.setAttribute('aria-label', t(inMessages ? 'stripMessages' : 'strip', { n: number(answer.readCount), s: duration(f.total) }));
  }

  #picture() {
    const { answer } = this.turn;
    return {
      reads: answer.reads,
      first: answer.tFirst === null ? null : answer.tFirst - answer.t0,
      end: (answer.tEnd ?? now()) - answer.t0,
      running: isRunning(answer),
    };
  }
}

function reason(answer) {
  if (answer.state === 'incomplete') return answer.reason ?? '?';
  if (['network', 'websocket', 'reload'].includes(answer.error?.code)) return answer.error.code === 'websocket' ? 'noSocket' : answer.error.code;
  return answer.error?.message ?? answer.error?.code ?? '?';
}

function grow(node, text) {
  const shown = node.firstChild;
  if (shown && text.startsWith(shown.data)) shown.appendData(text.slice(shown.data.length));
  else node.textContent = text;
}

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

const set = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
