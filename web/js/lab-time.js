// Times as the lab writes them.

import { number } from './i18n.js';

/** A time with as many digits as its measure is worth. */
export function precise(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1) return `${number(ms * 1000)} µs`;
  return ms < 1000 ? `${number(ms, ms < 100 ? 1 : 0)} ms` : `${number(ms / 1000, 2)} s`;
}
