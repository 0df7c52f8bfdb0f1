// WebSocket for the page: one connection that turns use one after another, and one turn read from it, message by message.

const LINGER_MS = 20_000; // a connection silent for longer is not trusted once the page comes back

/** Settles when the connection is open, or failed: why, a browser does not say. */
function opened(socket, signal) {
  return new Promise((done, failed) => {
    const leave = () => {
      socket.close();
      failed(signal.reason);
    };
    if (signal?.aborted) return leave();
    signal?.addEventListener('abort', leave, { once: true });
    socket.onopen = () => {
      signal?.removeEventListener('abort', leave);
      done();
    };
    socket.onerror = socket.onclose = () => {
      signal?.removeEventListener('abort', leave);
      failed(new Error('the WebSocket did not open'));
    };
  });
}

/**
 * The page's connection. `address()` gives a fresh URL for each. One turn has it at a time, until it is given back;
 * meanwhile another turn gets one of its own, so that none waits for an earlier one that does not end.
 */
export class Wire {
  #idle = null;
  #heard = 0;

  constructor(address, open = (url) => new WebSocket(url)) {
    this.address = address;
    this.open = open;
  }

  async take(signal) {
    const idle = this.#idle;
    this.#idle = null;
    if (idle?.readyState === 1) return idle;
    const socket = this.open(await this.address(signal));
    await opened(socket, signal);
    return socket;
  }

  give(socket) {
    if (socket.readyState !== 1 || this.#idle) return socket.close();
    this.#heard = Date.now();
    this.#idle = socket;
    socket.onmessage = null;
    socket.onerror = socket.onclose = () => {
      if (this.#idle === socket) this.#idle = null;
    };
  }

  /** The network is back, or the page is shown again: heartbeats are pings, which a script cannot see. */
  doubt() {
    if (!this.#idle || Date.now() - this.#heard < LINGER_MS) return;
    this.#idle.close();
    this.#idle = null;
  }
}

/** What comes over a connection, each message as it comes. Ends by error: with the connection, or by the signal. */
export async function* messages(socket, signal) {
  const queue = [];
  let end = null;
  let wake = () => {};
  const stop = (error) => {
    end ??= error;
    wake();
  };
  const leave = () => stop(signal.reason);
  socket.onmessage = ({ data }) => {
    queue.push(data);
    wake();
  };
  socket.onclose = ({ code }) => stop(new Error(`the WebSocket was closed with ${code}`));
  socket.onerror = null; // a close follows
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  else if (socket.readyState > 1) stop(new Error('the WebSocket was closed'));
  try {
    for (;;) {
      // What came before the end counts; what came before we left does not.
      if (signal.aborted) throw signal.reason;
      if (queue.length) yield queue.shift();
      else if (end) throw end;
      else await new Promise((done) => (wake = done));
    }
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
