// What a mini-program has of a network, as far as the sample uses it: `wx.request` and `wx.connectSocket`, over Node's.

import { request as ask } from 'node:http';
import { createRequire } from 'node:module';

const WebSocket = createRequire(new URL('../node/package.json', import.meta.url))('ws');

/** `split(bytes)` says in which pieces a chunk arrives. */
export function createWx({ split = (bytes) => [bytes] } = {}) {
  return {
    request({ url, method = 'GET', header = {}, data, enableChunked, responseType, success = () => {}, fail = () => {} }) {
      let onChunk = () => {};
      let aborted = false;
      const body = data === undefined ? undefined : JSON.stringify(data);
      const request = ask(url, { method, headers: { ...header, ...(body && { 'content-length': Buffer.byteLength(body) }) } }, (response) => {
        response.on('data', (bytes) => {
          if (!enableChunked || aborted) return;
          for (const piece of split(bytes)) {
            // A buffer of its own, as on a phone, and not a view of Node's pool.
            onChunk({ data: new Uint8Array(piece).buffer });
          }
        });
        response.on('end', () => aborted || success({ statusCode: response.statusCode, data: responseType === 'arraybuffer' ? new ArrayBuffer(0) : '' }));
        response.on('error', (error) => aborted || fail({ errMsg: `request:fail ${error.code}` }));
      });
      request.on('error', (error) => aborted || fail({ errMsg: `request:fail ${error.code}` }));
      request.end(body);
      return {
        onChunkReceived: (callback) => (onChunk = callback),
        abort() {
          aborted = true;
          request.destroy();
        },
      };
    },

    connectSocket({ url, header }) {
      const socket = new WebSocket(url, { headers: header });
      return {
        onOpen: (callback) => socket.on('open', () => callback({ header: {} })),
        onMessage: (callback) => socket.on('message', (data) => callback({ data: String(data) })),
        onError: (callback) => socket.on('error', (error) => callback({ errMsg: error.message })),
        onClose: (callback) => socket.on('close', (code) => callback({ code, reason: '' })),
        send: ({ data, fail = () => {} }) => socket.send(data, (error) => error && fail({ errMsg: error.message })),
        close: () => socket.close(),
      };
    },
  };
}
