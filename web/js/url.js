// Addresses on this server, whether it has a host of its own or is below a path that a reverse proxy strips.

/** The address of the chat page: this module is at `assets/js/url.js` below it. */
const BASE = new URL('../../', import.meta.url);

/** An address on this server. `path` is relative to the chat page, such as `v1/models`. */
export const serverUrl = (path, base = BASE) => new URL(path, base).href;

/** The same for a WebSocket: ws: or wss:, as the page itself is http: or https:. */
export function socketUrl(path, base = BASE) {
  const url = new URL(path, base);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

/** What may be gone to by an address that others may have written: pages, and nothing that asks, stops or looks. */
const PAGE = /^(?:(?:[\w-][\w.-]*\/)*[\w-][\w.-]*\.html|websocket)?$/;

/**
 * The address of a page of this server. `to` is relative to the chat page, such as `1.html?a=b`; what is on another server, or is no
 * page, becomes the page at the top.
 */
export function pageUrl(to, base = BASE) {
  const top = new URL('./', base);
  let url;
  try {
    url = new URL(to, top);
  } catch {
    return top.href;
  }
  const isPage = url.href.startsWith(top.href) && PAGE.test(url.pathname.slice(top.pathname.length));
  return isPage ? url.href : top.href;
}
