// Asks Weir with nothing but fetch (Node 20 or newer) and prints the answer as it comes. A connection that breaks is no
// end: the same answer continues after the last event that came. Ctrl-C stops the answer at the server.
//
//   WEIR_URL=http://127.0.0.1:8000 node ask.mjs 'Say hello'

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const SERVER = process.env.WEIR_URL || 'http://127.0.0.1:8000';
const KEY = process.env.WEIR_API_KEY;
const ENDS = ['response.completed', 'response.incomplete', 'response.failed'];
const TRIES = 5;

const headers = { accept: 'application/x-ndjson', ...(KEY && { authorization: `Bearer ${KEY}` }) };

class Refused extends Error {}

/** The events of one answer, each once and in order, over as many connections as it takes. */
export async function* ask(question, { model = 'demo' } = {}) {
  // The same question with the same key is the same answer: the question may be sent again if its reply was lost.
  const create = {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json', 'idempotency-key': randomUUID() },
    body: JSON.stringify({ model, input: question, stream: true }),
  };
  let id;
  let position = -1;
  for (let failures = 0; ;) {
    try {
      const after = position < 0 ? '' : `&starting_after=${position}`;
      const response = id
        ? await fetch(`${SERVER}/v1/responses/${id}?stream=true${after}`, { headers })
        : await fetch(`${SERVER}/v1/responses`, create);
      for await (const event of events(response)) {
        id ??= event.response?.id;
        // An event without a number is about this connection, and not a part of the answer.
        if (event.sequence_number === undefined) throw new Error(event.error?.message ?? event.message ?? event.type);
        position = event.sequence_number;
        failures = 0;
        yield event;
        if (ENDS.includes(event.type)) return;
      }
      throw new Error('it was closed');
    } catch (error) {
      if (error instanceof Refused || ++failures === TRIES) throw error;
      console.error(`lost the connection after event ${position} (${error.message}); going on`);
      await sleep(200 * 2 ** failures);
    }
  }
}

/** The events of one body of NDJSON. Only whole lines are events: what a cut left of one comes again. */
async function* events(response) {
  // A refusal (400, 401, 404 …) will not become better by asking again; an overloaded server will.
  if (response.status >= 400 && response.status < 500 && response.status !== 429) throw new Refused(await response.text());
  if (!response.ok) throw new Error(`status ${response.status}`);
  let rest = '';
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line); // an empty line is a heartbeat
  }
}

/** Closing the connection would not stop a stored answer; this does, and the model is no longer paid. */
export const cancel = (id) => fetch(`${SERVER}/v1/responses/${id}/cancel`, { method: 'POST', headers });

let running;
process.once('SIGINT', async () => {
  if (running) await cancel(running);
  process.exitCode = 130;
  if (!running) process.exit();
});
for await (const event of ask(process.argv[2] ?? '/count 20')) {
  running = event.response?.id ?? running;
  if (event.type === 'response.output_text.delta') process.stdout.write(event.delta);
  if (ENDS.includes(event.type)) {
    process.stdout.write('\n');
    console.error(`status: ${event.response.status}`);
  }
}
