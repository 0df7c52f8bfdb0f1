// WebSocket as two more clients understand it: npm's `ws`, and the one in Node (undici), which is written like a browser's.
// Both check the server's frames by themselves: an unsound one is an error event and a failed case.

const assert = require("node:assert/strict");
const { once } = require("node:events");
const WebSocket = require("ws");

const ASK = JSON.stringify({ type: "response.cancel" });
const PATH = "/v1/responses";

const soon = (promise) =>
  Promise.race([promise, new Promise((_, fail) => setTimeout(() => fail(new Error("nothing within 20 s")), 20_000).unref())]);

/** A `ws` socket and the texts it hears, in order. */
async function open(base, options = {}) {
  const socket = new WebSocket(base + PATH, { perMessageDeflate: false, ...options });
  const heard = [];
  let wake = () => {};
  let ended = null;
  socket.on("message", (data, isBinary) => (assert(!isBinary), heard.push(data.toString()), wake()));
  socket.on("error", (error) => ((ended = error), wake()));
  socket.on("close", (code) => ((ended ??= new Error(`closed by ${code}`)), wake()));
  await soon(once(socket, "open"));
  const next = async () => {
    while (!heard.length) {
      if (ended) throw ended;
      await soon(new Promise((resolve) => (wake = resolve)));
    }
    return JSON.parse(heard.shift());
  };
  return { socket, next, close: (code, reason) => (socket.close(code, reason), soon(once(socket, "close"))) };
}

async function isAnswered({ socket, next }) {
  socket.send(ASK);
  assert.equal((await next()).status, 404);
}

const isTerminal = (event) => /^response\.(completed|failed|incomplete)$/.test(event.type);

/** A turn by `send` and `next` of any client: dense numbers, and the same again when it is resumed. */
async function turn(send, next, input) {
  const until = async (done) => {
    const events = [];
    while (!events.length || !done(events.at(-1))) events.push(await next());
    return events;
  };
  send(JSON.stringify({ type: "response.create", model: "demo", input }));
  const events = await until(isTerminal);
  assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
  send(JSON.stringify({ type: "response.resume", response_id: events[0].response.id, starting_after: 1 }));
  assert.deepEqual(await until(isTerminal), events.slice(2));
}

async function turns(base, perMessageDeflate) {
  const client = await open(base, { perMessageDeflate });
  assert.equal(client.socket.extensions, perMessageDeflate ? "permessage-deflate" : "");
  for (const input of ["hi", `echo ${"many words ".repeat(300)}`]) await turn((text) => client.socket.send(text), client.next, input);
  await client.close(1000);
}

async function pings(base) {
  const client = await open(base);
  for (const payload of ["", "hello", "x".repeat(125)]) {
    client.socket.ping(payload);
    assert.equal((await soon(once(client.socket, "pong")))[0].toString(), payload);
  }
  await isAnswered(client);
  await client.close(1000);
}

async function fragments(base, options) {
  const client = await open(base, options);
  const text = JSON.stringify({ type: "response.cancel", padding: "κόσμε 你好 👋".repeat(options ? 500 : 1) });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 5) {
    client.socket.send(bytes.subarray(at, at + 5), { binary: false, fin: at + 5 >= bytes.length });
    if (at % 50 === 0) client.socket.ping(`${at}`);
  }
  assert.equal((await client.next()).status, 404);
  await isAnswered(client);
  await client.close(1000);
}

async function close(base, code) {
  const client = await open(base);
  const [given, reason] = await client.close(code, code && "κόσμε");
  assert.deepEqual([given, reason.toString()], [code ?? 1000, ""]);
}

async function binary(base) {
  const client = await open(base);
  client.socket.send(Buffer.from(ASK));
  assert.equal((await soon(once(client.socket, "close")))[0], 1003);
}

/** Node's own client, by the interface of browsers. */
async function likeABrowser(base) {
  const socket = new globalThis.WebSocket(base + PATH);
  const heard = [];
  let wake = () => {};
  socket.onmessage = (event) => (heard.push(event.data), wake());
  await soon(new Promise((resolve, fail) => ((socket.onopen = resolve), (socket.onerror = () => fail(new Error("not opened"))))));
  const next = async () => {
    while (!heard.length) await soon(new Promise((resolve) => (wake = resolve)));
    return JSON.parse(heard.shift());
  };
  await turn((text) => socket.send(text), next, "echo and again");
  const closed = soon(new Promise((resolve) => (socket.onclose = resolve)));
  socket.close(4000, "bye");
  const { code, wasClean } = await closed;
  assert.deepEqual([code, wasClean], [4000, true]);
}

const CASES = [
  ["ws", "turns, and their replay", (base) => turns(base, false)],
  ["ws", "turns, compressed", (base) => turns(base, { threshold: 0 })],
  ["ws", "pings", pings],
  ["ws", "pieces, with pings between", (base) => fragments(base)],
  ["ws", "compressed pieces", (base) => fragments(base, { perMessageDeflate: { threshold: 0 } })],
  ...[undefined, 1000, 1001, 1008, 1011, 3000, 4999].map((code) => ["ws", `close ${code ?? "without a code"}`, (base) => close(base, code)]),
  ["ws", "binary is no event", binary],
  ["Node's own", "a turn and its replay", likeABrowser],
];

(async () => {
  const counts = {};
  for (const base of process.argv.slice(2)) {
    for (const [client, name, run] of CASES) {
      const count = (counts[client] ??= { passed: 0, failed: 0 });
      try {
        await run(base);
        count.passed += 1;
      } catch (error) {
        count.failed += 1;
        console.log(`${base} ${client}, ${name}: ${error.message}`);
      }
    }
  }
  for (const [client, { passed, failed }] of Object.entries(counts)) {
    console.log(`${client} (JavaScript): ${passed + failed} cases, ${passed} passed, ${failed} failed`);
  }
  process.exit(Object.values(counts).some(({ failed }) => failed) ? 1 : 0);
})();
