// The report of `weir compare` in a real browser: on a phone and on a wide screen, in both languages, in light and dark.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compare, PICTURES, startBrowser } from './world.mjs';

const FORMS = [390, 1280].flatMap((width) => ['en', 'zh'].flatMap((language) => ['light', 'dark'].map((scheme) => ({ width, language, scheme }))));

let browser;
let report;

before(async () => {
  report = compare('--quick', '--runs', '2', '--dialect', 'responses,classic', '--http', '1.1,2');
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  report?.remove();
});

async function open({ width, language, scheme }) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(`${pathToFileURL(report.page)}?lang=${language}`);
  return page;
}

describe('the report', () => {
  for (const form of FORMS) {
    test(`is whole at ${form.width} pixels, ${form.language}, ${form.scheme}`, async () => {
      const page = await open(form);
      // A picture in the other format or language is not there.
      const seen = await page.evaluate(() => {
        const shown = (element) => element.getClientRects().length > 0;
        const name = (element) => `${element.tagName} ${element.id} ${element.className?.baseVal ?? element.className} ${element.textContent.slice(0, 40)}`;
        const boxes = [...document.querySelectorAll('h1, h2, p, th, td, figure, svg, button, dd, .claim')].filter(shown);
        return {
          width: document.documentElement.scrollWidth,
          beyond: boxes.filter((box) => box.getBoundingClientRect().right > innerWidth + 0.5 || box.getBoundingClientRect().left < -0.5).map(name),
          clipped: boxes.filter((box) => /^T[DH]$/.test(box.tagName) && box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).display !== 'block').map(name),
          ladders: [...document.querySelectorAll('.ladders svg')].filter(shown).length,
          charts: [...document.querySelectorAll('svg.chart')].filter(shown).length,
          // The smallest text of a picture, in pixels of the screen.
          smallest: Math.min(...[...document.querySelectorAll('svg text')].filter(shown).map((text) => {
            const svg = text.ownerSVGElement;
            return parseFloat(getComputedStyle(text).fontSize) * (svg.getBoundingClientRect().width / svg.viewBox.baseVal.width);
          })),
          last: [...document.querySelectorAll('h2')].at(-1).innerText,
          advice: [...document.querySelectorAll('#advice tbody tr')].filter(shown).length,
        };
      });
      assert.deepEqual({ width: seen.width, beyond: seen.beyond, clipped: seen.clipped }, { width: form.width, beyond: [], clipped: [] });
      assert.equal(seen.charts, 3);
      assert.ok(seen.ladders >= 6, 'ladders of both APIs, without unfolding anything');
      assert.ok(seen.smallest >= 9, `text of ${seen.smallest} pixels`);
      assert.match(seen.last, form.language === 'en' ? /^Conclusion: if you/ : /^结论/);
      assert.equal(seen.advice, 5);
      await page.screenshot({ path: join(PICTURES, `report-${form.width}-${form.language}-${form.scheme}.png`), fullPage: true });
      await page.context().close();
    });
  }

  test('keeps the headings of the long table in sight', async () => {
    const page = await open(FORMS.find((form) => form.width === 1280));
    await page.locator('#cells tbody tr').last().scrollIntoViewIfNeeded();
    const top = await page.locator('#cells thead th').nth(1).evaluate((heading) => heading.getBoundingClientRect().top);
    assert.equal(top, 0);
    const rows = await page.locator('#cells tbody tr:not(.group)').evaluateAll((all) => all.map((row) => row.getBoundingClientRect().height));
    assert.ok(Math.max(...rows) < 48, `rows are dense: ${rows}`);
    await page.context().close();
  });

  test('says the size of each sample and how busy the machine was before the first number', async () => {
    const page = await open(FORMS[0]);
    const said = await page.evaluate(() => document.querySelector('main > p').innerText);
    assert.match(said, /other programs used|what other programs used/);
    const delays = await page.locator('#lanes tbody tr:not(.group) td:nth-child(3)').allInnerTexts();
    for (const delay of delays) assert.match(delay, /^[\d.]+\/[\d./]+ \(\d+\)$/);
    await page.context().close();
  });
});
