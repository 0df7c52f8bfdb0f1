// The way of a response: model → Weir → this page, with the delay of each part.

import { t } from './i18n.js';
import { group } from './lab-rows.js';
import { precise } from './lab-time.js';

/** `way` is what `GET /v1/lens/responses/{id}` shows. */
export function wayGroup({ first, end, upstream }) {
  const hint = t('labWayShort');
  const call = upstream?.calls.at(-1);
  const rows = [
    ['route-first', t('labWayFirst'), stages(first), hint],
    ['route-end', t('labWayEnd'), stages(end), hint],
    ['upstream', t('labUpstream'), call ? connection(call, upstream.call_count) : t('labNoUpstream'), hint],
    ...(call ? [['upstream-close', t('labUpstreamAfter'), closing(call, upstream), hint]] : []),
  ];
  return group('route', hint, rows);
}

const stages = (reached) => reached
  .map(({ stage, at_ms: at, delay_ms: delay }) => `${t(`stage_${stage}`)} ${delay === null ? precise(at) : `+${precise(delay)}`}`)
  .join(' → ') || '–';

function connection({ connection: socket }, calls) {
  const retried = calls > 1 ? [t('labUpstreamCalls', { n: calls })] : [];
  if (!socket) return [t('labUpstreamNone'), ...retried].join(' · ');
  const { protocol, reused, dns_ms: dns, connect_ms: tcp, tls } = socket;
  const opened = [
    ...(dns === null ? [] : [`DNS ${precise(dns)}`]),
    `TCP ${precise(tcp)}`,
    ...(tls ? [`TLS ${tls.version} ${precise(tls.handshake_ms)}`] : []),
  ];
  const version = protocol === 'http2' ? 'HTTP/2' : 'HTTP/1.1';
  return [version, ...(reused ? [t('labUpstreamReused')] : opened), ...retried].join(' · ');
}

function closing({ close, complete }, { closed_after_stop_ms: after }) {
  if (complete === null) return '–';
  if (!close) return t(complete ? 'labUpstreamKept' : 'labUpstreamNone');
  const by = t(close.by === 'weir' ? 'labUpstreamByWeir' : 'labUpstreamByIt');
  return after === null ? by : `${by} · ${t('labUpstreamAfterStop', { s: precise(after) })}`;
}
