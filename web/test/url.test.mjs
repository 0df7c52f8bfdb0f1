// Every address is relative, so that the pages work below a path that a reverse proxy strips.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { pageUrl, serverUrl, socketUrl } from '../js/url.js';

const WEB = new URL('../', import.meta.url);

// What begins with a slash and is no address: commands of the demo model, and paths as the server reports them.
const NO_ADDRESSES = {
  'js/i18n.js': ['/help'],
  'js/lab.js': ['/count 60'],
  'js/lab-numbers.js': ['/v1/tickets', '/v1/chat/completions', '/v1/responses', '/events'],
};

const files = ['', 'js/'].flatMap((under) => readdirSync(new URL(under, WEB), { withFileTypes: true })
  .filter((entry) => entry.isFile()).map(({ name }) => under + name));
const read = (name) => readFileSync(new URL(name, WEB), 'utf8');

test('addresses follow the place of the page', () => {
  assert.equal(serverUrl('v1/models', 'http://127.0.0.1:8000/'), 'http://127.0.0.1:8000/v1/models');
  assert.equal(serverUrl('v1/models?a=b', 'https://weir.example/a/weir/'), 'https://weir.example/a/weir/v1/models?a=b');
  assert.equal(socketUrl('v1/responses', 'http://127.0.0.1:8000/'), 'ws://127.0.0.1:8000/v1/responses');
  assert.equal(socketUrl('v1/responses?ticket=t', 'https://weir.example/weir/'), 'wss://weir.example/weir/v1/responses?ticket=t');
});

test('the sign-in leads to pages of this server and to nothing else', () => {
  for (const base of ['http://127.0.0.1:8000/', 'https://weir.example/a/weir/']) {
    for (const to of ['', '1.html', '_.html', 'websocket', 'static/a-b/c.d.html?x=1&y=//evil.example', '?a=b', '1.html#part', './1.html']) {
      assert.equal(pageUrl(to, base), new URL(to, base).href, to);
    }
    for (const to of [
      'https://evil.example/', 'https://evil.example/1.html', '//evil.example/1.html', '/\\evil.example/1.html', '\\\\evil.example/1.html', '\t//evil.example/1.html',
      `${base.slice(0, -1)}.evil.example/1.html`, `${base.slice(0, -1)}@evil.example/1.html`, 'http://127.0.0.1:80/1.html', 'https:///evil.example',
      'javascript:alert(1)', 'javascript:1.html', 'data:text/html,1.html', `blob:${base}1.html`, 'http://[', 'mailto:a@evil.example',
      'chat?message=a', 'chat?message=1.html', 'closeSse', 'createSse', 'v1/lens/connections', 'v1/tickets#.html', 'sign-in', 'sign-in?to=1.html', 'lab', '../../x', '.hidden.html',
      'a//b.html', 'chat/?message=a', 'chat%3Fmessage=a', '%2e%2e/x', 'assets/js/main.js',
    ]) {
      assert.equal(pageUrl(to, base), base, to);
    }
  }
  assert.equal(pageUrl('../../1.html', 'https://weir.example/a/weir/'), 'https://weir.example/a/weir/', 'not above the path of the proxy');
  assert.equal(pageUrl('../../1.html', 'http://127.0.0.1:8000/'), 'http://127.0.0.1:8000/1.html');
});

test('no page names an address from the root of the host', () => {
  const pages = files.filter((name) => /\.(html|svg|css)$/.test(name));
  assert.ok(pages.includes('index.html') && pages.includes('lab.html') && pages.includes('weir.css'));
  for (const name of pages) {
    const found = [/\b(?:href|src|srcset|action|formaction|poster|data)\s*=\s*["']?\/[^"'\s>]*/gi, /(?:url\(|@import)\s*["']?\/[^)"';]*/gi]
      .flatMap((pattern) => read(name).match(pattern) ?? []);
    assert.deepEqual(found, [], name);
    assert.doesNotMatch(read(name), /<base\b/i, name);
  }
});

test('no module names an address from the root of the host', () => {
  const modules = files.filter((name) => name.endsWith('.js'));
  assert.ok(modules.includes('js/main.js') && modules.includes('js/url.js'));
  for (const name of modules) {
    // A literal that begins with a slash, or one that is joined to the host's name.
    const begun = [...read(name).matchAll(/(["'`])(\/[^"'`\n]*)\1/g)].map(([, , text]) => text);
    const joined = [...read(name).matchAll(/\b(?:location\.(?:host|origin|hostname)|document\.domain)\b/g)].map(String);
    assert.deepEqual([...new Set([...begun, ...joined])].sort(), [...(NO_ADDRESSES[name] ?? [])].sort(), name);
  }
});

test('what the pages refer to exists', () => {
  for (const name of files.filter((name) => name.endsWith('.html'))) {
    const assets = [...read(name).matchAll(/(?:href|src)="assets\/([^"]+)"/g)].map(([, asset]) => asset);
    assert.ok(assets.length >= 3, name);
    for (const asset of assets) assert.ok(files.includes(asset), `${name}: ${asset}`);
  }
});
