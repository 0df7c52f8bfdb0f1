// Turns bytes into text as they come, also where a cut falls inside a character. The older base libraries of mini-programs
// have no TextDecoder on a phone. Wrong bytes become U+FFFD exactly as the WHATWG's decoder has it.

function createUtf8Decoder() {
  let point = 0; // the bits of the character so far
  let needed = 0; // how many bytes it still needs
  let lower = 0x80; // what its next byte may be
  let upper = 0xbf;

  function begin(byte) {
    if (byte < 0x80) return String.fromCharCode(byte);
    if (byte >= 0xc2 && byte <= 0xdf) {
      needed = 1;
      point = byte & 0x1f;
    } else if (byte >= 0xe0 && byte <= 0xef) {
      if (byte === 0xe0) lower = 0xa0; // shorter forms are wrong
      if (byte === 0xed) upper = 0x9f; // and so are surrogates
      needed = 2;
      point = byte & 0x0f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
      if (byte === 0xf0) lower = 0x90;
      if (byte === 0xf4) upper = 0x8f; // nothing is beyond U+10FFFF
      needed = 3;
      point = byte & 0x07;
    } else {
      return '\ufffd';
    }
    return '';
  }

  function next(byte) {
    if (needed === 0) return begin(byte);
    if (byte < lower || byte > upper) {
      needed = 0;
      lower = 0x80;
      upper = 0xbf;
      return '\ufffd' + begin(byte);
    }
    lower = 0x80;
    upper = 0xbf;
    point = (point << 6) | (byte & 0x3f);
    needed -= 1;
    return needed === 0 ? String.fromCodePoint(point) : '';
  }

  return {
    /** The text that is whole after these bytes, an ArrayBuffer. The rest waits for the next ones. */
    write(buffer) {
      const bytes = new Uint8Array(buffer);
      let text = '';
      for (let index = 0; index < bytes.length; index += 1) text += next(bytes[index]);
      return text;
    },
    /** What is left at the end: nothing, or a character that was cut off. */
    end() {
      const cut = needed > 0;
      needed = 0;
      lower = 0x80;
      upper = 0xbf;
      return cut ? '\ufffd' : '';
    },
  };
}

module.exports = { createUtf8Decoder };
