// One lane on the page: its dots and figures, and below what the server, the kernel and the packets say.

import { element, drawn } from './dom.js';
import { number, size, t } from './i18n.js';
import { Dots } from './lab-dots.js';
import { figures, KINDS, mainOf, said, sent, shares, total } from './lab-numbers.js';
import { caption, group, row } from './lab-rows.js';
import { precise } from './lab-time.js';
import { wayGroup } from './lab-way.js';

export class LaneView {
  /** `picture(id, width)` gives the ladder of a connection as an element, or throws why there is none. */
  constructor(kind, picture) {
    this.kind = kind;
    this.picture = picture;
    this.lane = this.seen = this.ladder = this.why = null;
    this.span = 1000;
    this.name = element('h2');
    this.how = element('p', { className: 'way' });
    this.svg = drawn('svg', { class: 'dots', role: 'img', preserveAspectRatio: 'none' });
    this.dots = new Dots(this.svg);
    this.actions = element('div', { className: 'actions' });
    this.joined = drawn('svg', { class: 'dots second', role: 'img', preserveAspectRatio: 'none' });
    this.joinedDots = new Dots(this.joined);
    this.page = element('div', { className: 'page-view' });
    this.wire = element('div', { className: 'wire-view' });
    this.root = element('section', { className: 'lane' }, element('div', { className: 'title' }, this.name, this.how, this.actions), this.svg, this.joined, this.page, this.wire);
    this.root.dataset.lane = kind;
    new ResizeObserver(() => this.draw()).observe(this.root);
  }

  begin(lane) {
    this.lane = lane;
    this.seen = this.ladder = this.why = null;
    this.show();
  }

  /** Nothing has run here. */
  clear() {
    this.lane = this.seen = this.ladder = this.why = null;
    this.show();
  }

  /** What the server has shown: {capture, connections, isSettled, way}. */
  async look(seen) {
    this.seen = seen;
    await this.fetchLadder();
    this.show();
  }

  /** A ladder is fetched at once: what was captured is not kept for long. */
  async fetchLadder() {
    const main = this.#main();
    if (this.seen?.capture.state !== 'on' || !main?.packets) return;
    try {
      this.ladder = await this.picture(main.id, Math.round(this.root.clientWidth));
      this.why = null;
    } catch (error) {
      // One in the other language is better than none.
      if (!this.ladder) this.why = error.message;
    }
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!width) return;
    const { state, events, reads, ended, marks, second } = this.lane ?? { events: [], reads: 0, ended: null };
    this.dots.draw({ events, ended, marks }, { width, span: this.span });
    this.joined.toggleAttribute('hidden', !second);
    this.joined.setAttribute('aria-label', t('labSecondReader'));
    if (second) this.joinedDots.draw(second, { width, span: this.span });
    // A label that changes ten times a second would be read out as often.
    const name = t(`lane_${this.kind}`);
    const label = state === 'ended' ? t('labDots', { lane: name, n: events.length, reads, s: precise(ended) }) : name;
    if (this.svg.getAttribute('aria-label') !== label) this.svg.setAttribute('aria-label', label);
  }

  show() {
    this.name.textContent = t(`lane_${this.kind}`);
    this.how.textContent = t(`how_${this.kind}`);
    this.root.classList.toggle('running', this.lane?.state === 'running');
    this.root.classList.toggle('failed', Boolean(this.lane?.error));
    this.draw();
    this.#showActions();
    this.#showPage();
    this.#showWire();
  }

  #main() {
    return this.seen && mainOf(this.seen.connections, this.lane.name, this.lane.wasCut);
  }

  /** The buttons of a lane that is cut and resumed by hand; they stay while they are shown, or a click would miss them. */
  #showActions() {
    const { lane } = this;
    const wanted = lane?.canCut ? 'labCutNow' : lane?.cut === 'hand' && lane.state === 'cut' && this.kind !== 'eventsource' ? 'labResumeNow' : '';
    const words = wanted && t(wanted);
    if (this.actions.textContent === words) return;
    this.actions.replaceChildren(...(wanted ? [element('button', {
      type: 'button', textContent: words, onclick: () => (wanted === 'labCutNow' ? lane.break() : lane.resume()),
    })] : []));
  }

  /** What was done to the lane, and how it took it. */
  #trials({ marks, missing, repeated, second, slow, text }) {
    const at = (what) => precise(marks.find((mark) => mark.what === what)?.at);
    const resumed = marks.some(({ what }) => what === 'resumed');
    const byPage = t('labByPageShort');
    return [
      ...(marks.length ? [['cut', t('labResume'), resumed
        ? t('labResumed', { cut: at('cut'), resumed: at('resumed'), missing: number(missing), repeated: number(repeated) })
        : t('labCutOnly', { cut: at('cut') }), byPage]] : []),
      ...(second ? [['second', t('labSecondReader'), t('labSecondOf', {
        joined: precise(second.joined), n: number(second.events.length), reads: number(second.reads), same: t(second.text === text ? 'labSameText' : 'labOtherText'),
      }), byPage]] : []),
      ...(slow ? [['slow', t('labSlow'), t('labSlowOf'), t('labSlowHow')]] : []),
    ];
  }

  #showPage() {
    if (!this.lane || this.lane.state === 'waiting') return this.page.replaceChildren(element('p', { className: 'caption', textContent: t('labWaiting') }));
    const { first, total: whole, events, reads, largest, p50, slowest, gaps, characters, bytes } = figures({ ...this.lane, answer: this.lane.text });
    const { kind, error, stopped, partial, guesses } = this.lane;
    const counted = largest > 1 ? t('labReadsMost', { n: number(reads), most: largest }) : number(reads);
    const byPage = t('labByPageShort');
    const rows = [
      ['first', t('labFirst'), precise(first), byPage],
      ['total', t('labTotal'), precise(whole), byPage],
      ['events', kind === 'json' ? t('labDocument') : t('labEvents'), number(events), byPage],
      ['reads', t('labReads'), guesses ? t('labReadsGuess', { n: number(reads) }) : counted, guesses ? t('labReadsGuessHint') : byPage],
      ['gaps', t('labGapsOf'), p50 === null ? '–' : t('labGapsValue', { p50: number(p50, 1), slowest: number(slowest, 1), n: number(gaps) }), t('labGapsHint')],
      ['characters', t('labCharacters'), t('labCharactersOf', { n: number(characters) }), byPage],
      ...(bytes === null ? [] : [['size', t('labBytes'), size(bytes), t('labBytesHint')]]),
      ...this.#trials(this.lane),
    ];
    const failed = partial ? [caption(t('labPartial'))] : stopped ? [caption(t('labLaneStopped'))] : error ? [element('p', { className: 'bad', textContent: t('labError', { why: error.message }) })] : [];
    this.page.replaceChildren(group('page', byPage, rows), ...failed);
  }

  #showWire() {
    if (!this.seen) return this.wire.replaceChildren();
    const { connections } = this.seen;
    const main = this.#main();
    if (!main) return this.wire.replaceChildren(caption(t('labNothing')));
    const way = this.seen.way ? [wayGroup(this.seen.way)] : [];
    if (connections.some(({ shared }) => shared)) return this.wire.replaceChildren(...way, caption(t('labShared')));
    const open = this.wire.querySelector('details')?.open ?? false;
    const ladder = main.packets && this.ladder ? [this.#ladder(open)] : [];
    this.wire.replaceChildren(...way, this.#server(connections), this.#kernel(main), this.#packets(main), ...ladder);
  }

  #server(connections) {
    const { parts, mixed } = shares(connections, this.lane.name);
    const [all, received, kinds] = [total(parts, 'sent'), total(parts, 'received'), sent(parts, this.lane.wasCut)];
    const text = said(parts, 'text');
    const own = ({ lane }) => lane === this.lane.name;
    const before = connections.map(({ last_requests: requests }) => Math.min(...requests.filter(own).map((one) => one.number)));
    const reused = before.filter((count) => count > 0).length;
    const about = element('p', { className: 'sums' },
      element('strong', { textContent: t('labSent', { n: size(all) }) }),
      ...(kinds && text && !mixed ? [element('span', { className: 'ratio', textContent: t('labPerText', { n: number(all / text, 1) }) })] : []),
      ...(received === null ? [] : [element('span', { textContent: t('labReceived', { n: size(received) }) })]),
      ...this.#spoken(),
      element('span', { className: 'opened', textContent: t('labConnectionsOf', { opened: connections.length - reused, reused }) }));
    about.querySelector('strong').dataset.bytes = all;
    const notes = [
      ...(kinds ? [] : [t('labNotSampled')]),
      ...(this.lane.wasCut ? [t('labCutBytes')] : []),
      ...(kinds?.compressed ? [t('labCompressed', { text: size(text), dialect: size(said(parts, 'dialect')) })] : []),
      ...(reused ? [t('labReusedBy', { n: Math.max(...before) })] : []),
      ...(this.lane.closes && connections.some(({ protocol }) => protocol === 'http2') ? [t('labNotFresh')] : []),
      ...(this.seen.isSettled ? [] : [t('labStillEnding')]),
    ];
    const heading = caption(of(t('labByServerShort'), mixed));
    return element('div', { className: 'group by-server' }, heading, about, ...(kinds ? [bar(kinds), legend(kinds)] : []), ...notes.map(caption));
  }

  /** The protocol of the main connection, and how long the server wrote. */
  #spoken() {
    const { protocol, tls, last_requests: requests } = this.#main();
    const version = protocol === 'http2' ? 'HTTP/2' : protocol ? 'HTTP/1.1' : '';
    const what = [version, tls ? `TLS ${tls.version}` : ''].filter(Boolean).join(' · ');
    const written = requests.filter(({ lane, ended_ms: end }) => lane === this.lane.name && end !== null).at(-1);
    return [
      ...(what ? [element('span', { className: 'protocol', textContent: t('labProtocol', { what }) })] : []),
      ...(written ? [element('span', { className: 'written', textContent: t('labWritten', { s: precise(written.ended_ms - written.began_ms) }) })] : []),
    ];
  }

  /** How many requests a connection had, if others than the lane's were among them. */
  #mixed({ requests, last_requests: last }) {
    return requests > last.filter(({ lane }) => lane === this.lane.name).length ? requests : 0;
  }

  #kernel(main) {
    const { tcp } = main;
    const hint = of(t('labByKernelShort'), this.#mixed(main));
    const count = (value) => (value === null || value === undefined ? '–' : number(value));
    const rows = tcp ? [
      ['rtt', t('labRtt'), precise(tcp.rtt_ms), hint],
      ['segments', t('labSegments'), `${count(tcp.segments_sent)} / ${count(tcp.segments_received)}`, hint],
      ['retransmissions', t('labRetransmissions'), count(tcp.retransmissions), hint],
    ] : [['none', '', t('labNoKernel'), hint]];
    return group('kernel', hint, rows);
  }

  #packets(main) {
    const { packets } = main;
    const { capture } = this.seen;
    const hint = of(t('labByPacketsShort'), this.#mixed(main));
    if (!packets) {
      const why = capture.state !== 'on' ? t(`why_${capture.state}`) : t('labNoPacketsOfIt');
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
    const notes = [
      ...(packets.listed < packets.total ? [t('labListed', { n: number(packets.listed), of: number(packets.total) })] : []),
      ...(capture.dropped ? [t('labDropped', { n: number(capture.dropped) })] : []),
      ...(this.why ? [t('labNoLadder', { why: this.why })] : []),
    ];
    const node = group('packets', hint, rows);
    node.append(...notes.map(caption));
    return node;
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

/** Where a number is of more than the lane, it says of what. */
const of = (hint, mixed) => (mixed ? `${hint} · ${t('labOfAll', { n: number(mixed) })}` : hint);

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
  const rows = KINDS.filter((kind) => kinds[kind] || (!kinds.compressed && !['tls', 'other', 'compressed'].includes(kind))).map((kind) => {
    const node = row([kind, t(`kind_${kind}`), size(kinds[kind]), t(`kind_${kind}_hint`)]);
    node.dataset.bytes = kinds[kind];
    return node;
  });
  return element('dl', { className: 'figures kinds' }, ...rows);
}
