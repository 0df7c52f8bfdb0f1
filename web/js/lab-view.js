// One lane on the page: its dots and figures, and below what the server, the kernel and the packets say.

import { element, drawn } from './dom.js';
import { number, size, t } from './i18n.js';
import { dots } from './lab-dots.js';
import { figures, KINDS, mainOf, sent, total } from './lab-numbers.js';

/** A time with as many digits as its measure is worth. */
export function precise(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1) return `${number(ms * 1000)} µs`;
  return ms < 1000 ? `${number(ms, ms < 100 ? 1 : 0)} ms` : `${number(ms / 1000, 2)} s`;
}

export class LaneView {
  /** `picture(id, width)` gives the ladder of a connection as an element. */
  constructor(kind, picture) {
    this.kind = kind;
    this.picture = picture;
    this.lane = this.seen = this.ladder = null;
    this.span = 1000;
    this.name = element('h2');
    this.how = element('p', { className: 'way' });
    this.svg = drawn('svg', { class: 'dots', role: 'img', preserveAspectRatio: 'none' });
    this.page = element('div', { className: 'page-view' });
    this.wire = element('div', { className: 'wire-view' });
    this.root = element('section', { className: 'lane' }, element('div', { className: 'title' }, this.name, this.how), this.svg, this.page, this.wire);
    this.root.dataset.lane = kind;
    new ResizeObserver(() => this.draw()).observe(this.root);
  }

  begin(lane) {
    this.lane = lane;
    this.seen = this.ladder = null;
    this.show();
  }

  /** What the server has shown: {capture, connections}. */
  async look(seen) {
    this.seen = seen;
    await this.fetchLadder();
    this.show();
  }

  /** A ladder is fetched at once: what was captured is not kept for long. */
  async fetchLadder() {
    const main = this.#main();
    if (!main?.packets) return;
    const fetched = await this.picture(main.id, Math.round(this.root.clientWidth));
    this.ladder = fetched ?? this.ladder;
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!width) return;
    const { events, reads, ended } = this.lane ?? { events: [], reads: 0, ended: null };
    const label = t('labDots', { lane: t(`lane_${this.kind}`), n: events.length, reads, s: precise(ended ?? 0) });
    dots(this.svg, { events, ended }, { width, span: this.span, label });
  }

  show() {
    this.name.textContent = t(`lane_${this.kind}`);
    this.how.textContent = t(`how_${this.kind}`);
    this.root.classList.toggle('running', this.lane !== null && this.lane.ended === null);
    this.root.classList.toggle('failed', Boolean(this.lane?.error));
    this.draw();
    this.#showPage();
    this.#showWire();
  }

  #main() {
    return this.seen && mainOf(this.seen.connections, this.lane.name);
  }

  #showPage() {
    if (!this.lane) return this.page.replaceChildren(element('p', { className: 'caption', textContent: t('labWaiting') }));
    const { first, total: whole, events, reads, largest, p50, p90, p99, characters, bytes } = figures({ ...this.lane, answer: this.lane.text });
    const { kind, error } = this.lane;
    const guessed = kind === 'eventsource' || kind === 'websocket';
    const byPage = t('labByPageShort');
    const rows = [
      ['first', t('labFirst'), precise(first), byPage],
      ['total', t('labTotal'), precise(whole), byPage],
      ['events', kind === 'json' ? t('labDocument') : t('labEvents'), number(events), byPage],
      ['reads', t('labReads'), largest > 1 ? t('labReadsMost', { n: number(reads), most: largest }) : number(reads), guessed ? t('labReadsGuess') : byPage],
      ['gaps', t('labGaps'), p50 === null ? '–' : `${[p50, p90, p99].map((ms) => number(ms, 1)).join(' / ')} ms`, t('labGapsHint')],
      ['characters', t('labCharacters'), t('labCharactersOf', { n: number(characters) }), byPage],
      ...(bytes === null ? [] : [['size', t('labBytes'), size(bytes), t('labBytesHint')]]),
    ];
    const failed = error ? [element('p', { className: 'bad', textContent: t('labError', { why: error.message }) })] : [];
    this.page.replaceChildren(group('page', byPage, rows), ...failed);
  }

  #showWire() {
    if (!this.seen) return this.wire.replaceChildren();
    const { connections } = this.seen;
    const main = this.#main();
    if (!main) return this.wire.replaceChildren(element('p', { className: 'caption', textContent: t('labNothing') }));
    const open = this.wire.querySelector('details')?.open ?? false;
    const ladder = main.packets && this.ladder ? [this.#ladder(open)] : [];
    this.wire.replaceChildren(this.#server(connections), this.#kernel(main), this.#packets(main), ...ladder);
  }

  #server(connections) {
    const all = total(connections, 'sent');
    const kinds = sent(connections);
    const before = connections.map(({ last_requests: requests }) => Math.min(...requests.filter((one) => one.lane === this.lane.name).map((one) => one.number)));
    const reused = before.filter((count) => count > 0).length;
    const heading = caption(t('labByServerShort'));
    const about = element('p', { className: 'sums' },
      element('strong', { textContent: t('labSent', { n: size(all) }) }),
      ...(kinds?.text ? [element('span', { textContent: t('labPerText', { n: number(all / kinds.text, 1) }) })] : []),
      element('span', { textContent: t('labReceived', { n: size(total(connections, 'received')) }) }),
      element('span', { className: 'opened', textContent: t('labConnectionsOf', { opened: connections.length - reused, reused }) }));
    about.querySelector('strong').dataset.bytes = all;
    const notes = [...(kinds ? [] : [t('labNotSampled')]), ...(reused ? [t('labReusedBy', { n: Math.max(...before) })] : [])];
    return element('div', { className: 'group by-server' }, heading, about, ...(kinds ? [bar(kinds), legend(kinds)] : []), ...notes.map(caption));
  }

  #kernel({ tcp }) {
    const hint = t('labByKernelShort');
    const rows = tcp ? [
      ['rtt', t('labRtt'), precise(tcp.rtt_ms), hint],
      ['segments', t('labSegments'), `${number(tcp.segments_sent ?? 0)} / ${number(tcp.segments_received ?? 0)}`, hint],
      ['retransmissions', t('labRetransmissions'), number(tcp.retransmissions ?? 0), hint],
    ] : [['none', '', t('labNoKernel'), hint]];
    return group('kernel', hint, rows);
  }

  #packets({ packets, shared }) {
    const { capture } = this.seen;
    const hint = t('labByPacketsShort');
    if (!packets) {
      const why = capture.state !== 'on' ? t(`why_${capture.state}`) : shared ? t('labShared') : t('labNoPacketsOfIt');
      return element('p', { className: 'caption no-packets', title: capture.reason, textContent: t('labNoPackets', { why }) });
    }
    const { handshake, client, server, ending } = packets;
    const side = (name) => t(`side_${name}`);
    const end = [t(`end_${ending.state}`, { by: ending.by ? side(ending.by) : '', n: ending.segments ?? '' }),
      ...ending.time_wait.map((by) => t('labTimeWait', { by: side(by) }))].join(' · ');
    const rows = [
      ['handshake', t('labHandshake'), handshake ? t('labHandshakeOf', { s: precise(handshake.round_trip_ms) }) : t('labNoHandshake'), hint],
      ['payload', t('labPayload'), `${size(server.payload_bytes)} / ${size(client.payload_bytes)}`, hint],
      ['acks', t('labPureAcks'), `${number(client.pure_acks)} / ${number(server.pure_acks)}`, hint],
      ['ending', t('labEnding'), end, hint],
    ];
    return group('packets', hint, rows);
  }

  #ladder(open) {
    const label = t('labLadderLabel', { lane: t(`lane_${this.kind}`) });
    this.ladder.setAttribute('aria-label', label);
    const room = element('div', { className: 'ladder-room', tabIndex: 0 }, this.ladder);
    room.setAttribute('role', 'region');
    room.setAttribute('aria-label', label);
    return element('details', { open }, element('summary', { textContent: t('labLadder') }), room);
  }
}

const caption = (text) => element('p', { className: 'caption', textContent: text });

function group(name, hint, rows) {
  return element('div', { className: `group by-${name}` }, caption(hint), element('dl', { className: `figures ${name}` }, ...rows.map(row)));
}

function row([name, label, value, hint]) {
  return element('div', { className: name, title: hint }, element('dt', { textContent: label }), element('dd', { textContent: value }));
}

function bar(kinds) {
  const node = element('div', { className: 'bar-of-bytes' });
  node.setAttribute('aria-hidden', 'true');
  for (const kind of KINDS.filter((name) => kinds[name])) {
    const part = element('i', { className: kind, title: `${t(`kind_${kind}`)}: ${size(kinds[kind])}` });
    part.style.flexGrow = kinds[kind];
    node.append(part);
  }
  return node;
}

function legend(kinds) {
  const rows = KINDS.filter((kind) => kinds[kind] || (kind !== 'tls' && kind !== 'other')).map((kind) => {
    const node = row([kind, t(`kind_${kind}`), size(kinds[kind]), t(`kind_${kind}_hint`)]);
    node.dataset.bytes = kinds[kind];
    return node;
  });
  return element('dl', { className: 'figures kinds' }, ...rows);
}
