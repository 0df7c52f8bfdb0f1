// The settings of a run: in the controls, and in the fragment of a link. A link only fills in the controls; it starts nothing.

import { element } from './dom.js';
import { t } from './i18n.js';
import { LANES } from './lab-lanes.js';

const $ = (id) => document.getElementById(id);

export const MOST_RUNS = 20;

/** What is between server and page, and the parameters by which the server does it itself. */
export const RELAYS = {
  none: {},
  size4: { relay_bytes: '4096' },
  size16: { relay_bytes: '16384' },
  time: { relay_ms: '100' },
  whole: { relay_bytes: '262144' },
  delay: { relay_delay_ms: '100' },
};

const CUTS = ['no', 'auto', 'hand'];

/** Makes the controls that have one entry for each lane, relay and cut. */
export function makeControls() {
  $('which').append(...LANES.map((kind) => element('label', { className: 'check' },
    element('input', { type: 'checkbox', name: 'lane', value: kind, checked: true }), element('span'))));
  $('relay').append(...Object.keys(RELAYS).map((value) => element('option', { value })));
  $('cut').append(...CUTS.map((value) => element('option', { value })));
  nameControls();
}

/** Their names, in the language of now. */
export function nameControls() {
  for (const node of $('which').querySelectorAll('label')) node.querySelector('span').textContent = t(`lane_${node.querySelector('input').value}`);
  for (const option of $('relay').options) option.textContent = t(`relay_${option.value}`);
  for (const option of $('cut').options) option.textContent = t(`cut_${option.value}`);
}

const boxes = () => [...document.querySelectorAll('#which input')];

export function settings() {
  return {
    prompt: $('prompt').value, model: $('model').value,
    lanes: boxes().filter(({ checked }) => checked).map(({ value }) => value),
    order: $('together').checked ? 'together' : 'turns', fresh: $('fresh').checked,
    runs: Math.min(MOST_RUNS, Math.max(1, Math.round(Number($('runs').value)) || 1)),
    relay: $('relay').value, cut: $('cut').value, slow: $('slow').checked, second: $('second').checked,
  };
}

/** The fragment of a link to a run with these settings. */
export function toFragment({ lanes, fresh, slow, second, ...others }) {
  const flags = { fresh, slow, second };
  return String(new URLSearchParams({
    ...others, lanes: lanes.join(','), ...Object.fromEntries(Object.entries(flags).map(([name, flag]) => [name, flag ? '1' : '0'])),
  }));
}

/** The settings in a fragment. Others may have written it: what is not known is left out. */
export function fromFragment(fragment) {
  const query = new URLSearchParams(fragment);
  const one = (name, known) => (known.includes(query.get(name)) ? { [name]: query.get(name) } : {});
  const flag = (name) => (query.has(name) ? { [name]: query.get(name) === '1' } : {});
  const lanes = (query.get('lanes') ?? '').split(',').filter((kind) => LANES.includes(kind));
  const runs = Number(query.get('runs'));
  return {
    ...(query.has('prompt') ? { prompt: query.get('prompt').slice(0, 4000) } : {}),
    ...(query.has('model') ? { model: query.get('model') } : {}),
    ...(lanes.length ? { lanes } : {}),
    ...(Number.isInteger(runs) && runs >= 1 && runs <= MOST_RUNS ? { runs } : {}),
    ...one('order', ['turns', 'together']), ...one('relay', Object.keys(RELAYS)), ...one('cut', CUTS),
    ...flag('fresh'), ...flag('slow'), ...flag('second'),
  };
}

/** Puts settings into the controls. The model is chosen once the models are known. */
export function apply({ prompt, lanes, order, fresh, runs, relay, cut, slow, second }) {
  if (prompt !== undefined) $('prompt').value = prompt;
  if (lanes) for (const box of boxes()) box.checked = lanes.includes(box.value);
  if (order) document.querySelector(`#controls input[name=order][value=${order}]`).checked = true;
  if (runs) $('runs').value = runs;
  if (relay) $('relay').value = relay;
  if (cut) $('cut').value = cut;
  for (const [id, value] of Object.entries({ fresh, slow, second })) if (value !== undefined) $(id).checked = value;
}
