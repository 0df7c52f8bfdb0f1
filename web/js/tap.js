// The lab's tap: the events of a response with their times, and files of them.

import { call } from './api.js';
import { element } from './dom.js';
import { learn, number, t, translate } from './i18n.js';
import { askForKey } from './key.js';
import { harDocument, jsonDocument, summary } from './tap-data.js';
import { TapReader } from './tap-reader.js';
import { EN, ZH } from './tap-words.js';

const ROWS = 1000; // that a page can show without becoming slow
const EXCERPT = 60;
const REDRAW_MS = 100;
const CONTROL = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;
const COLUMNS = ['tapTime', 'tapGap', '#', 'tapType', 'tapBytes', 'tapText'];

learn(EN, ZH);
const $ = (id) => document.getElementById(id);
let tap = null; // the last one
let stop = null; // ends the running one
let failure = null;
let redraw = 0;
let drawn = 0; // events that have a row

/** Control characters as symbols, and no more than fits. */
function excerptOf(text) {
  const start = [...text.slice(0, EXCERPT * 2)];
  const safe = start.slice(0, EXCERPT).join('').replace(CONTROL, (c) => (c < ' ' ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : '\u{FFFD}'));
  return start.length > EXCERPT ? `${safe}…` : safe;
}

const ms = (value) => (value === null || value === undefined ? '–' : number(value, 1));

function row(event) {
  const cells = [ms(event.shown), event.gap === undefined ? '–' : `+${ms(event.gap)}`, event.position, event.type, number(event.bytes), excerptOf(event.text)];
  return element('tr', {}, ...cells.map((cell) => element('td', { textContent: String(cell) })));
}

function statusText() {
  if (failure) return t('tapFailed', { why: failure.message });
  if (!tap) return '';
  if (stop) return t(tap.isLive ? 'tapLive' : 'tapReplay', { n: number(tap.events.length) });
  const { events, bytes, duration_ms: duration, text_gaps: gaps, times } = summary(tap.events);
  const figures = { n: number(events), bytes: number(bytes), ms: ms(duration), median: ms(gaps.median_ms), slowest: ms(gaps.slowest_ms), gaps: number(gaps.count) };
  return `${t('tapDone', figures)} ${t(times === 'log' ? 'tapLog' : 'tapArrival')}`;
}

function show() {
  const rows = $('tap-rows');
  const fresh = (tap?.events ?? []).slice(Math.max(drawn, (tap?.events.length ?? 0) - ROWS));
  rows.append(...fresh.map(row));
  drawn = tap?.events.length ?? 0;
  while (rows.childElementCount > ROWS) rows.firstElementChild.remove();
  const scroll = $('tap-scroll');
  scroll.hidden = drawn === 0;
  if (stop) scroll.scrollTop = scroll.scrollHeight;
  const hidden = drawn - rows.childElementCount;
  $('tap-hidden').textContent = hidden > 0 ? t('tapHidden', { n: number(hidden) }) : '';
  $('tap-status').textContent = statusText();
  $('tap-run').textContent = t(stop ? 'tapStop' : 'tapStart');
  for (const name of ['tap-json', 'tap-har']) $(name).disabled = drawn === 0;
  $('tap-new').disabled = stop !== null;
}

function later() {
  redraw ||= setTimeout(() => {
    redraw = 0;
    show();
  }, REDRAW_MS);
}

/** Taps a response from now on: also for other parts of the page. */
export async function tapResponse(id) {
  stop?.abort();
  const own = new AbortController();
  stop = own;
  failure = null;
  drawn = 0;
  $('tap-rows').replaceChildren();
  $('tap-id').value = id;
  const isPaced = $('tap-original').checked;
  const reader = new TapReader(id, { from: Number($('tap-from').value) || 0, isPaced, signal: own.signal, change: later });
  tap = reader;
  show();
  try {
    await reader.run();
  } catch (error) {
    if (stop === own) failure = error;
    if (error.status === 401) askForKey(() => tapResponse(id));
  }
  if (stop !== own) return;
  stop = null;
  show();
}

/** Starts a response that is kept, with the prompt and the model of the page. */
async function startNew() {
  try {
    const json = { model: $('model').value, input: $('prompt').value, background: true };
    const { id } = await (await call('v1/responses', { json })).json();
    await tapResponse(id);
  } catch (error) {
    failure = error;
    if (error.status === 401) askForKey(startNew);
    show();
  }
}

function save(document_, ending, type) {
  const url = URL.createObjectURL(new Blob([`${JSON.stringify(document_, null, 2)}\n`], { type }));
  element('a', { href: url, download: `${tap.id}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function build(root) {
  const word = (name, key, props = {}) => {
    const node = element(name, props);
    node.dataset.t = key;
    return node;
  };
  const field = (key, input) => element('label', {}, word('span', key), input);
  const pace = (id, key, checked) => element('label', {}, element('input', { type: 'radio', name: 'tap-pace', id, checked }), word('span', key));
  const button = (id, key) => word('button', key, { id, type: 'button' });
  const paces = element('fieldset', {}, word('legend', 'tapPace'), pace('tap-original', 'tapOriginal', true), pace('tap-fast', 'tapFast', false));
  const form = element('form', { id: 'tap-form' },
    field('tapId', element('input', { id: 'tap-id', required: true, pattern: '[A-Za-z0-9_\\-]+', spellcheck: false, autocomplete: 'off', placeholder: 'resp_…' })),
    field('tapFrom', element('input', { id: 'tap-from', type: 'number', min: 0, step: 1, value: 0 })),
    paces,
    element('div', { className: 'tap-buttons' }, element('button', { id: 'tap-run', type: 'submit' }), button('tap-new', 'tapNew'), button('tap-json', 'tapSaveJson'), button('tap-har', 'tapSaveHar')));
  const head = element('tr', {}, ...COLUMNS.map((key) => (key === '#' ? element('th', { scope: 'col', textContent: key }) : word('th', key, { scope: 'col' }))));
  const table = element('table', {}, element('thead', {}, head), element('tbody', { id: 'tap-rows' }));
  const scroll = element('div', { id: 'tap-scroll', hidden: true, tabIndex: 0, role: 'region' }, table);
  scroll.dataset.tLabel = 'tapEvents';
  root.append(word('h2', 'tapTitle'), word('p', 'tapIntro', { className: 'intro' }), form,
    element('p', { id: 'tap-status', role: 'status' }), element('p', { id: 'tap-hidden', className: 'caption' }), scroll);
}

const root = $('tap');
if (root) {
  build(root);
  $('tap-form').addEventListener('submit', (event) => {
    event.preventDefault();
    if (stop) stop.abort(new Error('stopped'));
    else tapResponse($('tap-id').value.trim());
  });
  $('tap-new').addEventListener('click', startNew);
  $('tap-json').addEventListener('click', () => save(jsonDocument(tap), 'json', 'application/json'));
  $('tap-har').addEventListener('click', () => save(harDocument(tap), 'har', 'application/json'));
  // After the page has changed the language.
  for (const node of document.querySelectorAll('[data-lang]')) node.addEventListener('click', () => setTimeout(show));
  translate();
  show();
  // A link to a response: /lab#tap=resp_…
  const linked = /^#tap=([\w-]+)$/.exec(location.hash)?.[1];
  if (linked) tapResponse(linked);
}
