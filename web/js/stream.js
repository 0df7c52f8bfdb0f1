// Bytes to events. Two decoders with one face: push(bytes) gives the frames completed by these bytes,
// each {data: string} for an event or {beat: true} for a heartbeat. Any chunking gives the same frames.

/** Splits text at LF, CR or CRLF. What has no end yet waits, and is not searched twice. */
class Lines {
  #held = [];
  #afterCR = false;

  push(text) {
    const lines = [];
    if (text && this.#afterCR) {
      this.#afterCR = false;
      if (text[0] === '\n') text = text.slice(1);
    }
    let from = 0;
    for (const end of text.matchAll(/\r\n|\n|\r/g)) {
      lines.push(this.#held.join('') + text.slice(from, end.index));
      this.#held = [];
      from = end.index + end[0].length;
    }
    if (from < text.length) this.#held.push(text.slice(from));
    else if (text.endsWith('\r')) this.#afterCR = true;
    return lines;
  }

  rest() {
    const rest = this.#held.join('');
    this.#held = [];
    return rest;
  }
}

/** text/event-stream, as the HTML standard defines it (without `retry`). An event cut by the end is dropped. */
export class SseDecoder {
  name = 'sse';
  #text = new TextDecoder();
  #lines = new Lines();
  #data = [];
  #event = '';
  id = '';

  push(bytes) {
    const frames = [];
    for (const line of this.#lines.push(this.#text.decode(bytes, { stream: true }))) this.#line(line, frames);
    return frames;
  }

  end() {
    return [];
  }

  #line(line, frames) {
    if (line === '') {
      if (this.#data.length) frames.push({ event: this.#event || 'message', data: this.#data.join('\n') });
      this.#data = [];
      this.#event = '';
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) {
      frames.push({ beat: true });
      return;
    }
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value[0] === ' ') value = value.slice(1);
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.id = value;
  }
}

/** application/x-ndjson: one JSON text per line; an empty line is a heartbeat. */
export class NdjsonDecoder {
  name = 'ndjson';
  #text = new TextDecoder();
  #lines = new Lines();

  push(bytes) {
    return this.#lines.push(this.#text.decode(bytes, { stream: true })).map(frame);
  }

  /** A last line without its line end: whole if it parses, cut if it does not. */
  end() {
    const rest = this.#lines.rest();
    try {
      JSON.parse(rest);
      return [{ data: rest }];
    } catch {
      return [];
    }
  }
}

const frame = (line) => (line.trim() === '' ? { beat: true } : { data: line });

export function decoderFor(contentType) {
  if (/^text\/event-stream\b/i.test(contentType)) return new SseDecoder();
  if (/^application\/(x-)?ndjson\b|^application\/jsonl\b/i.test(contentType)) return new NdjsonDecoder();
  return null;
}
