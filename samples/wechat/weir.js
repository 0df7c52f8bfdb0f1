// Asks Weir from a WeChat mini-program, over a WebSocket or over a chunked `wx.request`, and goes on where a connection broke.
//
//   const answer = askOverSocket({ server: 'https://chat.example', body: { model: 'demo', input: 'Say hello' },
//     onEvent: (event) => …, onEnd: (error) => … });
//   answer.stop();
//
// A mini-program is public, so a key does not belong in it: let your own server hand out tickets or say who asks.

const { createEventDecoder } = require('./lines.js');

const ENDS = ['response.completed', 'response.incomplete', 'response.failed'];
const TRIES = 5;

/** What both ways share: the id, the position, and when to try again. `connect` opens one connection and gives what closes it. */
function follow({ from, onEvent, onEnd }, connect, cancel) {
  const answer = Object.assign({ id: null, position: -1, over: false }, from);
  let failures = 0;
  let stopping = false;
  let told = false; // whether this connection's server was told to stop
  let close = () => {};

  function end(error) {
    if (answer.over) return;
    answer.over = true;
    close();
    onEnd(error || null);
  }
  function stop() {
    told = true;
    cancel(answer);
  }
  function open() {
    if (answer.over) return;
    let current = true; // a connection may report its loss twice, and a lost one may still talk
    told = false;
    const lost = (why) => {
      if (!current || answer.over) return;
      current = false;
      failures += 1;
      if (failures === TRIES) end(new Error(why));
      else setTimeout(open, 200 * Math.pow(2, failures));
    };
    const refused = (why) => current && end(new Error(why));
    const take = (event) => {
      if (!current || answer.over) return;
      if (event.sequence_number === undefined) {
        // An event without a number is about the request or the connection, and not a part of the answer.
        const why = (event.error && event.error.message) || event.message || event.type;
        return event.status >= 400 && event.status < 500 ? refused(why) : lost(why);
      }
      if (event.sequence_number <= answer.position) return;
      answer.position = event.sequence_number;
      failures = 0;
      if (event.response) answer.id = event.response.id;
      onEvent(event);
      if (ENDS.indexOf(event.type) >= 0) end();
      else if (stopping && !told) stop();
    };
    close = connect(answer, { take, lost, refused });
  }
  open();
  return {
    /** Stops the answer at the server, so that the model is no longer paid. Its last event comes as always. */
    stop() {
      stopping = true;
      if (answer.id && !answer.over && !told) stop();
    },
    /** Where this answer is: `from` of a later call goes on there, also when the mini-program was closed in between. */
    place: () => ({ id: answer.id, position: answer.position }),
  };
}

/** Over a WebSocket. A question has no Idempotency-Key here: one that was sent, and lost before its id came, is not sent again. */
function askOverSocket({ server, header = {}, body, from, onEvent, onEnd }) {
  let send = () => {};
  const connect = (answer, { take, lost, refused }) => {
    let asked = false;
    const gone = (why) => (asked && !answer.id ? refused(`sent, and perhaps not received: ${why}`) : lost(why));
    const socket = wx.connectSocket({ url: `${server.replace(/^http/, 'ws')}/v1/responses`, header, fail: ({ errMsg }) => gone(errMsg) });
    // A message that finds the connection lost is of no use; what follows the loss is decided there.
    send = (message) => socket.send({ data: JSON.stringify(message), fail() {} });
    socket.onOpen(() => {
      const resume = { type: 'response.resume', response_id: answer.id };
      if (answer.position >= 0) resume.starting_after = answer.position;
      asked = !answer.id;
      send(asked ? Object.assign({ type: 'response.create' }, body) : resume);
    });
    socket.onMessage(({ data }) => take(JSON.parse(data)));
    socket.onError(({ errMsg }) => gone(errMsg));
    socket.onClose(({ code }) => gone(`closed with ${code}`));
    return () => socket.close({});
  };
  return follow({ from, onEvent, onEnd }, connect, ({ id }) => send({ type: 'response.cancel', response_id: id }));
}

/** Over chunked HTTP. `wx.request` gives up after `timeout` whatever comes; the next one goes on by position. */
function askOverChunks({ server, header = {}, body, from, onEvent, onEnd, timeout = 60000 }) {
  // The same question with the same key is the same answer: the question may be sent again if its reply was lost.
  const key = `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const connect = (answer, { take, lost, refused }) => {
    const decoder = createEventDecoder();
    const after = answer.position < 0 ? '' : `&starting_after=${answer.position}`;
    const accept = Object.assign({ accept: 'application/x-ndjson' }, header);
    const request = answer.id
      ? { url: `${server}/v1/responses/${answer.id}?stream=true${after}`, method: 'GET', header: accept }
      : { url: `${server}/v1/responses`, method: 'POST', data: Object.assign({}, body, { stream: true }),
        header: Object.assign({ 'content-type': 'application/json', 'idempotency-key': key }, accept) };
    const task = wx.request(Object.assign(request, {
      enableChunked: true, responseType: 'arraybuffer', timeout,
      // `success` says that the body has ended, and not that the answer has: only its last event says that.
      success({ statusCode }) {
        if (statusCode >= 400 && statusCode < 500 && statusCode !== 429) refused(`status ${statusCode}: ${decoder.rest()}`);
        else lost(`the body ended, with status ${statusCode}`);
      },
      fail: ({ errMsg }) => lost(errMsg),
    }));
    task.onChunkReceived(({ data }) => decoder.write(data).forEach(take));
    return () => task.abort();
  };
  return follow({ from, onEvent, onEnd }, connect, ({ id }) => wx.request({ url: `${server}/v1/responses/${id}/cancel`, method: 'POST', header }));
}

module.exports = { askOverSocket, askOverChunks };
