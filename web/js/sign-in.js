// The sign-in: makes a session of a key, for the classic pages, which can send no key themselves; and ends it.

import { learn, speak, t, translate } from './i18n.js';
import { pageUrl, serverUrl } from './url.js';

learn({
  signTitle: 'Sign in',
  signText: 'This server requires an API key. The browser does not store the key, only a session of at most 12 hours.',
  signKey: 'API key',
  signIn: 'Sign in',
  signNone: 'Enter a key.',
  signCookie: 'The key is valid, but the browser did not store the session cookie. Allow cookies for this server.',
  signFailed: 'The server refused: {why}',
  signOffline: 'The server could not be reached. Try again.',
  signedTitle: 'You are signed in',
  signedText: 'The pages of this server work in this browser until you sign out, for 12 hours at most.',
  signGo: 'Open the pages',
  signOut: 'Sign out',
  signedOut: 'You are signed out.',
}, {
  signTitle: '登录',
  signText: '此服务器需要 API 密钥。浏览器不会保存密钥，只会得到一个会话，最长 12 小时。',
  signKey: 'API 密钥',
  signIn: '登录',
  signNone: '请输入密钥。',
  signCookie: '密钥正确，但浏览器没有保存会话的 Cookie。请允许此服务器使用 Cookie。',
  signFailed: '服务器拒绝了请求：{why}',
  signOffline: '无法连接服务器，请重试。',
  signedTitle: '已登录',
  signedText: '在退出登录之前，此浏览器可以使用此服务器的页面，最长 12 小时。',
  signGo: '打开页面',
  signOut: '退出登录',
  signedOut: '已退出登录。',
});

const LED = 'weir.sign-in'; // when this tab was last led on without being asked
const AGAIN_MS = 10_000;

const $ = (id) => document.getElementById(id);
const to = new URLSearchParams(location.search).get('to');
const target = pageUrl(to ?? '') + location.hash;
let wrong = () => '';
let status = () => '';

/** Whatever a key may be; other letters cannot stand in a header. */
const isKey = (text) => /^[\x21-\x7e]+$/.test(text);

function tickets(method, json, key) {
  const headers = { accept: 'application/json' };
  if (json) headers['content-type'] = 'application/json';
  if (key) headers.authorization = `Bearer ${key}`;
  return fetch(serverUrl('v1/tickets'), { method, headers, body: json && JSON.stringify(json), cache: 'no-store' });
}

/** Whether the browser shows a session that the server knows. What asks for a ticket without a key says so. */
const hasSession = async () => (await tickets('POST', {})).ok;

function fill() {
  document.title = `Weir: ${t('signTitle')}`;
  $('wrong').textContent = wrong();
  $('status').textContent = status();
}

function show(isSigned) {
  $('sign-in').hidden = isSigned;
  $('signed').hidden = !isSigned;
  $('go').href = target;
  (isSigned ? $('signed').querySelector('h2') : $('key')).focus();
}

function refuse(words) {
  wrong = words;
  $('key').setAttribute('aria-invalid', 'true');
  fill();
  $('key').focus();
  $('key').select();
}

async function signIn(key) {
  if (!key) return refuse(() => t('signNone'));
  if (!isKey(key)) return refuse(() => t('keyWrong'));
  const reply = await tickets('POST', { cookie: true }, key);
  if (reply.status === 401) return refuse(() => t('keyWrong'));
  if (!reply.ok) {
    const why = await reply.json().then(({ error }) => error.message, () => `HTTP ${reply.status}`);
    return refuse(() => t('signFailed', { why }));
  }
  // Without the cookie the page would lead back here.
  if (!(await hasSession())) return refuse(() => t('signCookie'));
  location.replace(target);
}

$('sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  if ($('sign-in').getAttribute('aria-busy') === 'true') return;
  $('sign-in').setAttribute('aria-busy', 'true');
  $('key').removeAttribute('aria-invalid');
  wrong = status = () => '';
  fill();
  await signIn($('key').value.trim()).catch(() => refuse(() => t('signOffline')));
  $('sign-in').setAttribute('aria-busy', 'false');
});

$('sign-out').addEventListener('click', async () => {
  const isOver = await tickets('DELETE').then((reply) => reply.ok, () => false);
  status = () => t(isOver ? 'signedOut' : 'signOffline');
  if (isOver) {
    $('key').value = '';
    show(false);
  }
  fill();
});

for (const node of document.querySelectorAll('[data-lang]')) {
  node.addEventListener('click', () => {
    speak(node.dataset.lang);
    fill();
  });
}

/**
 * Led here from a page by a link of another site, to which the browser shows no cookie of ours, one has a session all the same and goes
 * on at once. Once only: a proxy may keep the cookie from the page, which then leads back here.
 */
function isLedOn() {
  if (to === null) return false;
  const before = Number(sessionStorage.getItem(LED));
  sessionStorage.setItem(LED, Date.now());
  return Date.now() - before > AGAIN_MS;
}

translate();
fill();
const isSigned = await hasSession().catch(() => false);
if (isSigned && isLedOn()) location.replace(target);
else show(isSigned);
