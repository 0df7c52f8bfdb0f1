// The page: asks, follows, stops, remembers. The conversation lives in this tab; the answers live at the server.

import { endHere, isRunning, newAnswer, textOf } from './answer.js';
import { ApiError, models, Run, wire } from './api.js';
import { element } from './dom.js';
import { languageNow, speak, t, translate } from './i18n.js';
import { askForKey, takeKey } from './key.js';
import { TurnView } from './view.js';

const CHAT = 'weir.chat';
const SAVE_MS = 800;
const $ = (id) => document.getElementById(id);

const turns = []; // {question, answer, view, run}
let saveTimer = 0;
let leaving = false; // a request that the browser cuts on the way out has not failed
let following = true; // the page scrolls with the answer until the reader scrolls up

const last = () => turns.at(-1);
const running = () => turns.length > 0 && isRunning(last().answer);
const transport = () => document.querySelector('[name=transport]:checked').value;

// Storage

function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch { /* forbidden or full: then it is forgotten */ }
}

function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function save() {
  if (leaving) return;
  clearTimeout(saveTimer);
  saveTimer = 0;
  const plain = turns.map(({ question, answer }) => ({ question, answer }));
  // A long conversation may not fit: its oldest turns go first.
  for (let from = 0; from <= plain.length; from++) {
    try {
      sessionStorage.setItem(CHAT, JSON.stringify(plain.slice(from)));
      return;
    } catch { /* try with less */ }
  }
}

const saveSoon = () => (saveTimer ||= setTimeout(save, SAVE_MS));

function restore() {
  let plain = [];
  try {
    plain = JSON.parse(sessionStorage.getItem(CHAT)) ?? [];
  } catch { /* nothing to restore */ }
  for (const { question, answer } of plain) {
    const turn = addTurn(question, answer);
    if (!isRunning(answer)) continue;
    if (answer.id && answer.stored) resume(turn);
    else endHere(answer, 'aborted', { code: 'reload' });
  }
  refresh();
}

// Turns

function addTurn(question, answer) {
  if (last()) last().view.last = false;
  const turn = { question, answer };
  turn.view = new TurnView(turn, (name, node) => act(turn, name, node));
  turn.view.last = true;
  turn.view.shown = follow;
  turns.push(turn);
  $('transcript').append(turn.view.root);
  return turn;
}

function act(turn, name, node) {
  if (name === 'copy') copy(textOf(turn.answer), node);
  if (name === 'reconnect') resume(turn);
  if (name === 'again') send(turn.question, turns.splice(turns.indexOf(turn), 1)[0]);
}

/** What to send: the stored turn before is named, anything else is told again. */
function bodyFor(question, tellAll = false) {
  const before = last()?.answer;
  const model = $('model').value;
  if (!before) return { model, input: question };
  if (!tellAll && before.stored && before.id && /^(completed|incomplete|cancelled)$/.test(before.state)) {
    return { model, input: question, previous_response_id: before.id };
  }
  const input = turns.flatMap(({ question: asked, answer }) => {
    const text = textOf(answer);
    return [{ role: 'user', content: asked }, ...(text ? [{ role: 'assistant', content: text }] : [])];
  });
  return { model, input: [...input, { role: 'user', content: question }] };
}

async function send(question, replaced) {
  replaced?.view.root.remove();
  const body = bodyFor(question);
  const toldAll = body.previous_response_id && bodyFor(question, true);
  const fresh = () => newAnswer({ model: body.model, transport: transport(), stored: transport() !== 'json' });
  const turn = addTurn(question, fresh());
  following = true;
  await go(turn, (run) => run.start(body));
  if (toldAll && turn.answer.state === 'failed' && turn.answer.error?.code === 'previous_response_not_found') {
    turn.answer = fresh(); // the server no longer has the turn before
    await go(turn, (run) => run.start(toldAll));
  }
  if (turn.answer.error?.status === 401) askForKey(() => turn === last() && act(turn, 'again'));
}

async function resume(turn) {
  turn.answer.state = 'running';
  turn.answer.error = turn.answer.tEnd = null;
  await go(turn, (run) => run.resume());
}

async function go(turn, begin) {
  const run = new Run(turn.answer, transport, {
    change() {
      turn.view.later();
      saveSoon();
      if (!isRunning(turn.answer)) settle(turn);
    },
    note: (name) => turn.view.note(name),
  });
  turn.run = run;
  turn.settled = false;
  say('saysBusy');
  refresh();
  await begin(run);
  settle(turn);
}

function settle(turn) {
  if (turn.settled) return;
  turn.settled = true;
  turn.view.note('');
  say({ completed: 'saysDone', cancelled: 'saysStopped', aborted: 'saysStopped' }[turn.answer.state] ?? 'saysError');
  save();
  refresh();
}

/** The one live region: it speaks of states, never of tokens. */
function say(key) {
  $('status').textContent = t(key);
}

// Composer

function refresh() {
  document.body.classList.toggle('running', running());
  $('send').querySelector('span').textContent = t(running() ? 'stop' : 'send');
  $('send').disabled = !running() && (!$('question').value.trim() || !$('model').value);
  $('explains').textContent = t(transport());
  $('empty').hidden = turns.length > 0;
  $('fresh').hidden = turns.length === 0;
  for (const { view } of turns) if (!view.root.classList.contains('running')) view.later();
}

function submit() {
  if (running()) return;
  const question = $('question').value.trim();
  if (!question || !$('model').value) return;
  $('question').value = '';
  fit();
  send(question);
}

function fit() {
  const box = $('question');
  box.style.height = 'auto';
  box.style.height = `${Math.min(box.scrollHeight, innerHeight * 0.35)}px`;
  $('send').disabled = !running() && (!box.value.trim() || !$('model').value);
}

const stop = () => running() && last().run?.stop();

$('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  if (running()) stop();
  else submit();
});
$('question').addEventListener('input', fit);
$('question').addEventListener('keydown', (event) => {
  // 229: Safari tells of the Enter that ends a composition only after it has ended.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !event.isComposing) stop();
});
$('prompts').addEventListener('click', (event) => {
  const prompt = event.target.closest('button')?.textContent;
  if (!prompt || !$('model').value) return;
  $('question').value = prompt;
  submit();
});
for (const radio of document.querySelectorAll('[name=transport]')) {
  radio.checked = radio.value === (recall('weir.transport') ?? 'sse');
  radio.addEventListener('change', () => {
    remember('weir.transport', transport());
    refresh();
    if (running() && last().answer.stored) last().run.move();
  });
}
if (!document.querySelector('[name=transport]:checked')) document.querySelector('[value=sse]').checked = true;
$('fresh').addEventListener('click', () => {
  stop();
  for (const { view } of turns.splice(0)) view.root.remove();
  save();
  refresh();
  $('question').focus();
});

// Models and key

async function loadModels(wait = 1000) {
  try {
    const ids = await models();
    const wanted = recall('weir.model');
    $('model').replaceChildren(...ids.map((id) => element('option', { value: id, textContent: id, selected: id === wanted })));
    if (!ids.length) $('model').append(element('option', { value: '', textContent: t('noModels') }));
    $('notice').hidden = true;
    refresh();
  } catch (error) {
    if (error.status === 401) return askForKey();
    $('notice').textContent = error instanceof ApiError ? error.message : t('offline');
    $('notice').hidden = false;
    setTimeout(() => loadModels(Math.min(8000, wait * 2)), wait);
  }
}

takeKey(() => loadModels());
$('model').addEventListener('change', () => remember('weir.model', $('model').value));

// Scroll: one owner

const toBottom = () => document.documentElement.scrollHeight - innerHeight - scrollY;
let lastY = 0;

function follow() {
  if (following && turns.length) scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
  $('latest').hidden = following || toBottom() < 80;
}

addEventListener('scroll', () => {
  if (toBottom() < 40) following = true;
  else if (scrollY < lastY) following = false;
  lastY = scrollY;
  $('latest').hidden = following || toBottom() < 80;
}, { passive: true });
addEventListener('wheel', (event) => {
  if (event.deltaY < 0 && toBottom() >= 0) following = false;
}, { passive: true });
$('latest').addEventListener('click', () => {
  following = true;
  follow();
});

// Copy

async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = element('textarea', { value: text }); // clipboard is missing on plain http beyond localhost
    document.body.append(box);
    box.select();
    document.execCommand('copy');
    box.remove();
  }
  node.textContent = t('copied');
  setTimeout(() => (node.textContent = t('copy')), 1500);
}

document.addEventListener('click', (event) => {
  const node = event.target.closest('[data-copy]');
  if (node) copy(node.closest('figure').querySelector('code').textContent, node);
});

// Coming back

const kick = () => {
  if (document.hidden) return;
  wire.doubt();
  if (running()) {
    last().run?.kick();
    last().view.later();
  } else if (last()?.answer.state === 'lost') resume(last());
};
document.addEventListener('visibilitychange', kick);
addEventListener('pageshow', (event) => {
  leaving = false;
  if (event.persisted) kick();
});
addEventListener('online', kick);
addEventListener('pagehide', () => {
  save();
  leaving = true;
});

// Language

function relabel() {
  $('prompts').replaceChildren(...[1, 2, 3, 4].map((i) => element('button', { type: 'button', textContent: t(`prompt${i}`) })));
  for (const { view } of turns) view.relabel();
  refresh();
}

for (const node of document.querySelectorAll('[data-lang]')) {
  node.addEventListener('click', () => {
    if (node.dataset.lang === languageNow()) return;
    speak(node.dataset.lang);
    relabel();
  });
}

/** The picture of the empty page: level water above, a crest, and the water below it. */
function drawWeir() {
  const svg = document.querySelector('svg.weir');
  for (let i = 0; i < 9; i++) {
    const upper = 22 + i * 11;
    const fall = 46 - i * 1.6;
    const crest = 352 - i * 21;
    const path = document.createElementNS(svg.namespaceURI, 'path');
    path.setAttribute('d', `M-3000 ${upper}H${crest}c44 0 40 ${fall} 88 ${fall}H3720`);
    path.setAttribute('class', `w${i}`);
    svg.append(path);
  }
}

translate();
drawWeir();
relabel();
restore();
loadModels();
$('question').focus({ preventScroll: true });
