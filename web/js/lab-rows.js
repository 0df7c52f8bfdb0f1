// Rows of figures, as the views of a lane have them.

import { element } from './dom.js';

export const caption = (text) => element('p', { className: 'caption', textContent: text });

export function group(name, hint, rows) {
  return element('div', { className: `group by-${name}` }, caption(hint), element('dl', { className: `figures ${name}` }, ...rows.map(row)));
}

export function row([name, label, value, hint]) {
  return element('div', { className: name, title: hint }, element('dt', { textContent: label }), element('dd', { textContent: value }));
}
