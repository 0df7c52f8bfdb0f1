// The table of several runs: median and slowest of each lane, with their count.

import { element } from './dom.js';
import { number, size, t } from './i18n.js';
import { summary } from './lab-runs.js';
import { precise } from './lab-time.js';

const COLUMNS = [['first_text_ms', 'labFirst', precise], ['complete_ms', 'labTotal', precise], ['gap_median_ms', 'labGapMedian', precise],
  ['gap_slowest_ms', 'labGapSlowest', precise], ['sent_bytes', 'labSentShort', (bytes) => (bytes === null ? '–' : size(bytes))]];

/** The table of these runs; nothing for a single one, whose numbers are in its lanes. */
export function summaryTable(runs, kinds) {
  if (runs.length < 2) return [];
  const cell = (row, [name, , show], heading) => {
    const { median, slowest, runs: count } = row[name];
    const words = count ? t('labMedianOf', { median: show(median), slowest: show(slowest), n: number(count) }) : '–';
    const node = element('td', { textContent: words });
    node.dataset.label = heading;
    return node;
  };
  const head = element('tr', {}, element('th', { textContent: t('labLane'), scope: 'col' }), ...COLUMNS.map(([, key]) => element('th', { textContent: t(key), scope: 'col' })));
  const rows = summary(runs, kinds).map((row) => element('tr', {}, element('th', { textContent: t(`lane_${row.lane}`), scope: 'row' }),
    ...COLUMNS.map((column) => cell(row, column, t(column[1])))));
  const caption = element('caption', { textContent: t('labSummary', { n: runs.length }) });
  return [element('table', {}, caption, element('thead', {}, head), element('tbody', {}, ...rows))];
}
