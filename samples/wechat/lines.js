// Turns the chunks of an NDJSON body into events as they come. A chunk of `onChunkReceived` is whatever the network gave: half
// an event, three and a half, or the middle of a character.

const { createUtf8Decoder } = require('./utf8.js');

function createEventDecoder() {
  const decoder = createUtf8Decoder();
  let rest = '';
  return {
    /** The events that are whole after this chunk, an ArrayBuffer. What a cut leaves of an event is never given: it comes again. */
    write(chunk) {
      const lines = (rest + decoder.write(chunk)).split('\n');
      rest = lines.pop();
      // An empty line is a heartbeat.
      return lines.filter((line) => line.trim() !== '').map((line) => JSON.parse(line));
    },
    /** What is not a line yet: the whole body, if it is a refusal. */
    rest: () => rest,
  };
}

module.exports = { createEventDecoder };
