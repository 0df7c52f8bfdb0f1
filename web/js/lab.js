// The lab: runs one prompt over every transport, and puts beside it what the server saw of it.

import { ApiError, call, models } from './api.js';
import { element } from './dom.js';
import { languageNow, learn, number, speak, t, translate } from './i18n.js';
import { askForKey, takeKey } from './key.js';
import { Lane, LANES } from './lab-lanes.js';
import { capture, hasPackets, json, picture as draw, save } from './lab-export.js';
import { roundSpan } from './lab-numbers.js';
import { record, rotated } from './lab-runs.js';
import { apply, fromFragment, makeControls, nameControls, RELAYS, settings, toFragment } from './lab-settings.js';
import { summaryTable } from './lab-summary.js';
import * as tools from './lab-tools-words.js';
import { LaneView } from './lab-view.js';
import { EN, ZH } from './lab-words.js';

const LENS = 'v1/lens/connections';
const WAYS = 'v1/lens/responses';
const POOL = 6; // connections that a browser keeps to one server
const LOOKS = 12;
const PAUSE_MS = 150;
const BREATH_MS = 50; // a stream that this page has left is soon over at the server, too
const SHARED_LOOKS = 3; // a request on its way is nobody's for a moment, and somebody else's if it stays so
const REDRAW_MS = 100;

learn(EN, ZH);
learn(tools.EN, tools.ZH);
const $ = (id) => document.getElementById(id);
const views = new Map(LANES.map((kind) => [kind, new LaneView(kind, picture)]));
let chosen = []; // the views of the lanes that run, or ran last
let done = null; // what was measured: {settings, began_at, runs: [{lanes}]}
let wanted = fromFragment(location.hash.slice(1)); // of a link, until the models are known
let running = null; // what stops the run
let status = () => '';
let redraw = 0;
let styled = false;

// Running

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const lanes = () => chosen.map(({ lane }) => lane).filter(Boolean);
const isFresh = () => $('fresh').checked;

function say(words) {
  status = words;
  $('status').textContent = words();
}

async function run() {
  const plan = settings();
  if (!plan.lanes.length) return say(() => t('labNoneChosen'));
  const stop = new AbortController();
  running = stop;
  chosen = plan.lanes.map((kind) => views.get(kind));
  done = { settings: plan, began_at: new Date().toISOString(), runs: [] };
  for (const view of views.values()) view.clear();
  $('progress').max = plan.lanes.length * plan.runs;
  $('progress').value = 0;
  refresh();
  try {
    for (let index = 0; index < plan.runs && !stop.signal.aborted; index++) await once(plan, index, stop.signal);
    say(stop.signal.aborted ? () => t('labStopped') : verdict);
  } catch (error) {
    say(() => error.message);
    if (error.status === 401) askForKey(run);
  }
  running = null;
  refresh();
}

/** One run of all lanes; each run starts with another of them. */
async function once(plan, index, signal) {
  const { model, prompt, fresh: closes, cut, slow, second } = plan;
  const marker = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
  const options = { model, prompt, closes, relay: RELAYS[plan.relay], cut, slow, second, signal, change: later };
  // The first look begins the capture of packets. As many as a browser has connections leave it with none.
  await Promise.all(Array.from({ length: closes ? POOL : 1 }, () => look('none', closes)));
  for (const view of chosen) view.begin(new Lane(view.kind, `${marker}-${view.kind}`, options));
  scale();
  const order = rotated(plan.lanes, index).map((kind) => views.get(kind));
  const prefix = () => (plan.runs > 1 ? t('labRunOf', { n: index + 1, of: plan.runs }) : '');
  // The request for a cut needs a connection of its own, and a browser has six for all lanes.
  const atOnce = plan.order === 'together' && cut === 'no';
  await (atOnce ? together(order, prefix, signal) : inTurns(order, prefix, signal));
  if (signal.aborted) return;
  done.runs.push({ order: order.map(({ kind }) => kind), lanes: chosen.map(({ lane, seen }) => record(lane, seen)) });
  $('progress').value = plan.lanes.length * (index + 1);
  showResults();
}

async function inTurns(order, prefix, signal) {
  const before = $('progress').value;
  for (const [index, view] of order.entries()) {
    if (signal.aborted) return;
    say(() => prefix() + t('labRunning', { lane: t(`lane_${view.kind}`), n: index + 1, of: order.length }));
    try {
      const ran = view.lane.run();
      view.show();
      await ran;
      await see([view]);
    } finally {
      await view.lane.forget();
    }
    $('progress').value = before + index + 1;
  }
}

async function together(order, prefix) {
  const before = $('progress').value;
  const ended = () => lanes().filter((lane) => lane.state === 'ended').length;
  const tell = () => {
    $('progress').value = before + ended();
    say(() => prefix() + t('labRunningAll', { n: ended(), of: order.length }));
  };
  tell();
  try {
    await Promise.all(order.map((view) => view.lane.run().then(tell)));
    say(() => t('labLooking'));
    await see(order);
  } finally {
    await Promise.all(lanes().map((lane) => lane.forget()));
  }
}

const verdict = () => {
  const failed = lanes().filter((lane) => lane.error).length;
  if (failed) return t('labFailed', { n: failed, of: chosen.length });
  const partial = lanes().filter((lane) => lane.partial);
  const [first = '', ...others] = lanes().filter((lane) => !lane.partial).map((lane) => lane.text);
  const values = { of: others.length + 1, n: number([...first].length) };
  const same = t(others.every((text) => text === first) ? 'labSame' : 'labDifferent', values);
  if (!partial.length) return same;
  return t('labSomePartial', { same, lanes: partial.map(({ kind }) => t(`lane_${kind}`)).join(', ') });
};

/** The table of several runs, and what can be taken along. */
function showResults() {
  const run = done?.runs.at(-1);
  $('summary').replaceChildren(...(done ? summaryTable(done.runs, done.settings.lanes) : []));
  $('save-json').disabled = $('save-svg').disabled = !run;
  $('save-pcapng').disabled = !hasPackets(run);
  const state = run?.lanes.find(({ capture: known }) => known)?.capture;
  const why = !run ? t('labNotRun') : state && state !== 'on' ? t(`why_${state}`) : t('labNoPacketsOfIt');
  $('save-pcapng').title = hasPackets(run) ? t('labPcapngHow') : t('labNoPcapng', { why });
  $('export-note').textContent = run && !hasPackets(run) ? t('labNoPcapng', { why }) : '';
}

// What the server saw

async function look(name, closes = isFresh()) {
  const query = new URLSearchParams({ ...(name ? { lane: name } : { limit: 100 }), ...(closes ? { close: 'true' } : {}) });
  return (await call(`${LENS}?${query}`)).json();
}

/** Asks until the server has taken note of the end of these lanes: that may be a moment after the last byte. */
async function see(of) {
  // One look for all of them, before any picture: each is a request too, and what is old is forgotten.
  const name = of.length === 1 ? of[0].lane.name : null;
  let seen = [];
  await pause(BREATH_MS);
  for (let tries = 1; tries <= LOOKS; tries++) {
    const { capture, data } = await look(name);
    seen = of.map(({ lane }) => {
      const connections = data.filter(({ last_requests: requests }) => requests.some((request) => request.lane === lane.name));
      return { capture, connections, isSettled: isSettled(lane, { capture, connections }, tries) };
    });
    if (seen.every(({ isSettled: settled }) => settled)) break;
    await pause(PAUSE_MS);
  }
  const ways = await Promise.all(of.map(({ lane }) => wayOf(lane.answer.id ?? lane.responseId)));
  for (const [index, view] of of.entries()) await view.look({ ...seen[index], way: ways[index] });
}

/** The way of a response from the model to this page; null if the server no longer knows it. */
async function wayOf(id) {
  if (!id) return null;
  try {
    return await (await call(`${WAYS}/${encodeURIComponent(id)}${isFresh() ? '?close=true' : ''}`)).json();
  } catch {
    return null;
  }
}

function isSettled({ name, closes, kind }, { capture, connections }, tries) {
  if (connections.some(({ shared }) => shared)) return tries >= SHARED_LOOKS;
  const requests = connections.flatMap((connection) => connection.last_requests.filter((request) => request.lane === name));
  if (!requests.length || requests.some((request) => request.ended_ms === null)) return false;
  // A connection of HTTP/2 is for all requests of the page, and stays.
  const ending = connections.filter(({ protocol }) => protocol === 'http1' && (closes || kind === 'websocket'));
  const isOver = ({ ending: { state } }) => state === 'closed' || state === 'reset';
  return ending.every(({ close, packets }) => close && (capture.state !== 'on' || !packets || isOver(packets)));
}

/** The ladder of a connection, as a part of the page: its text can be read and searched. */
async function picture(id, width) {
  const query = new URLSearchParams({ language: languageNow(), width: Math.max(340, Math.min(1200, width)), ...(isFresh() ? { close: 'true' } : {}) });
  const reply = await call(`${LENS}/${id}/ladder.svg?${query}`, { accept: 'image/svg+xml' });
  const text = await reply.text();
  // The page's policy lets no style stand in a document; a sheet that a script makes is another thing.
  const [style, rules] = /<style>([^<]*)<\/style>/.exec(text) ?? ['', ''];
  if (rules && !styled) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(rules);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    styled = true;
  }
  const parsed = new DOMParser().parseFromString(text.replace(style, ''), 'image/svg+xml');
  if (parsed.querySelector('parsererror') || parsed.documentElement.localName !== 'svg') throw new Error(t('labNoSvg'));
  return document.adoptNode(parsed.documentElement);
}

// Showing

function later() {
  redraw ||= setTimeout(() => {
    redraw = 0;
    scale();
    for (const view of chosen) view.show();
  }, REDRAW_MS);
}

/** All lanes have one axis. While they run it grows by steps, or it would never rest. */
function scale() {
  const last = Math.max(1, ...lanes().map((lane) => lane.ended ?? lane.events.at(-1)?.at ?? 0));
  const span = running || !lanes().length ? roundSpan(last) : last * 1.02;
  for (const view of views.values()) view.span = span;
}

function refresh() {
  document.body.classList.toggle('running', running !== null);
  $('run').querySelector('span').textContent = t(running ? 'labStop' : 'labRun');
  $('run').disabled = !running && !$('model').value;
  document.querySelector('.progress').hidden = !running;
  $('lanes').setAttribute('aria-busy', String(running !== null));
  for (const node of $('controls').querySelectorAll('input, select, textarea')) node.disabled = running !== null;
  if (!running) showChosen();
  scale();
  for (const view of views.values()) view.show();
  showResults();
}

/** Only the chosen lanes are on the page; those that ran stay until others are chosen. */
function showChosen() {
  const { lanes: kinds } = settings();
  for (const view of views.values()) view.root.hidden = !kinds.includes(view.kind);
}

// Controls

function suggest() {
  const suggestions = ['', '/count 60', EN.labDefault, ZH.labDefault];
  if (suggestions.includes($('prompt').value)) $('prompt').value = $('model').value === 'demo' ? '/count 60' : t('labDefault');
}

async function loadModels() {
  try {
    const ids = await models();
    $('model').replaceChildren(...ids.map((id) => element('option', { value: id, textContent: id, selected: id === 'demo' })));
    if (ids.includes(wanted.model)) $('model').value = wanted.model;
    if (!ids.length) $('model').append(element('option', { value: '', textContent: t('noModels') }));
    $('notice').hidden = true;
  } catch (error) {
    if (error.status === 401) return askForKey();
    $('notice').textContent = error instanceof ApiError ? error.message : t('offline');
    $('notice').hidden = false;
    setTimeout(loadModels, 2000);
  }
  if (wanted.prompt === undefined) suggest();
  wanted = {};
  refresh();
}

// Taking along

function showTls() {
  const isHere = location.protocol === 'https:';
  $('over-tls').replaceChildren(...(isHere ? [t('labTlsHere')] : [
    `${t('labTlsMissing')} `, element('code', { textContent: 'weir serve --tls self-signed' }), ` ${t('labTlsThen')} `,
    element('code', { textContent: location.href.split('#')[0].replace(/^http:/, 'https:') }), '.']));
}

$('link').addEventListener('click', async () => {
  const address = `${location.href.split('#')[0]}#${toFragment(settings())}`;
  history.replaceState(null, '', address);
  try {
    await navigator.clipboard.writeText(address);
    $('export-note').textContent = t('labCopied');
  } catch {
    $('export-note').textContent = address; // the page may not write to the clipboard
  }
});
$('save-json').addEventListener('click', () => save('weir-lab.json', json(done)));
$('save-svg').addEventListener('click', () => save('weir-lab.svg', draw(done)));
$('save-pcapng').addEventListener('click', async () => {
  try {
    save('weir-lab.pcapng', await capture(done.runs.at(-1)));
  } catch (error) {
    $('export-note').textContent = t('labNoPcapng', { why: error.message });
  }
});

takeKey(() => loadModels());
$('controls').addEventListener('submit', (event) => {
  event.preventDefault();
  if (running) running.abort(new Error(t('labStopped')));
  else if ($('model').value && $('prompt').value.trim()) run();
});
$('prompt').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  $('controls').requestSubmit();
});
$('model').addEventListener('change', suggest);

for (const node of document.querySelectorAll('[data-lang]')) {
  node.addEventListener('click', async () => {
    if (node.dataset.lang === languageNow()) return;
    speak(node.dataset.lang);
    document.title = `Weir: ${t('labTitle')}`;
    nameControls();
    showTls();
    suggest();
    $('status').textContent = status();
    refresh();
    for (const view of views.values()) {
      await view.fetchLadder();
      view.show();
    }
  });
}

$('lanes').append(...[...views.values()].map(({ root }) => root));
makeControls();
apply(wanted);
$('which').addEventListener('change', () => refresh());
globalThis.addEventListener('hashchange', () => {
  wanted = fromFragment(location.hash.slice(1));
  if (running) return;
  apply(wanted);
  if ([...$('model').options].some(({ value }) => value === wanted.model)) $('model').value = wanted.model;
  refresh();
});
showTls();
translate();
document.title = `Weir: ${t('labTitle')}`;
refresh();
loadModels();
