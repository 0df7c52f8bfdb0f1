// The form that asks for the API key, on every page that has one.

import { apiKey } from './api.js';
import { t } from './i18n.js';

const $ = (id) => document.getElementById(id);
let after = null; // what to do again once a key is given

// Asks for a key, because there was none or it was refused.
export function askForKey(then) {
  after = then ?? after;
  if (!$('key-form').hidden) return;
  $('notice').textContent = t('keyWrong');
  $('notice').hidden = !apiKey.get();
  $('key-form').hidden = false;
  $('key').focus();
}

// Takes the key that is given; `load` tries it, and asks again where it is refused.
export function takeKey(load) {
  $('key-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    apiKey.set($('key').value.trim());
    $('key').value = '';
    $('key-form').hidden = $('notice').hidden = true;
    await load();
    if (!$('key-form').hidden) return;
    const then = after;
    after = null;
    then?.();
  });
}
