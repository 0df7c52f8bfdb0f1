// What the Node clients' checks share: where the servers are, what is asked, and how a result is printed for tests/clients/run.

import assert from 'node:assert/strict';

export const WEIR = process.env.WEIR_URL;
export const BASE = `${WEIR}/v1`;
export const TEXT = 'Hello, 世界!';
export const PARAMETERS = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
export const FUNCTION = { name: 'get_weather', description: 'The weather in a city', parameters: PARAMETERS };

// No single check takes longer.
const CHECK_MILLISECONDS = 30_000;

/** The client itself cannot do this. */
export class Known extends Error {}
/** This server does not have what the check is about. */
export class Skipped extends Error {}

export function needs(path) {
  if (!process.env.WEIR_PATHS.split(',').includes(path)) throw new Skipped(`no /v1/${path}`);
}

/** Waits until the fake upstream saw its caller leave an endless response. */
export async function left() {
  const response = await fetch(`${process.env.UPSTREAM_URL}/left`);
  assert.equal(response.status, 200, 'the upstream was not left');
}

/** The error with which something fails. */
export async function fails(action) {
  let result;
  try {
    result = await action();
  } catch (error) {
    return error;
  }
  assert.fail(`it did not fail, but gave ${JSON.stringify(result)?.slice(0, 200)}`);
}

/** Everything that a stream gives. */
export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

const line = (word, text) => console.log(`${word} ${text.replaceAll(/\s+/g, ' ').slice(0, 500)}`);

/** Runs checks one after the other; their names are those of the functions. */
export async function run(version, checks) {
  line('version', version);
  for (const [name, check] of Object.entries(checks)) {
    let timer;
    const late = new Promise((_, failed) => {
      timer = setTimeout(() => failed(new Error('it took too long')), CHECK_MILLISECONDS);
    });
    try {
      await Promise.race([check(), late]);
      line('passed', name);
    } catch (error) {
      const at = /check\.mjs:\d+/.exec(error?.stack ?? '')?.[0] ?? '';
      if (error instanceof Known) line('known', `${name}: ${error.message}`);
      else if (error instanceof Skipped) line('skipped', `${name}: ${error.message}`);
      else line('failed', `${name}: ${error} (${at})`);
    } finally {
      clearTimeout(timer);
    }
  }
  // What a client leaves open must not hold the program.
  process.exit(0);
}

// A library that fails beside a check must not end the others; it is a failure all the same.
process.on('unhandledRejection', (error) => line('failed', `unhandled rejection: ${error?.stack ?? error}`));
