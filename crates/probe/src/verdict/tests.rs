//! Synthetic streams through synthetic proxies: the verdict names the proxy.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::trace::{Arrival, Read};

/// An event as its source sends it.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    bytes: usize,
}

/// What a proxy does. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
enum Proxy {
    Transparent,
    Later(u64),
    Every(u64),
    Filled(usize),
    ToEnd,
}

/// A source with this pace, jitter and size of its events.
fn source(count: usize, pace: u64, jitter: &[u64], bytes: usize) -> Vec<Sent> {
    let mut at = 200_000;
    (0..count)
        .map(|index| {
            at += pace + jitter.get(index % jitter.len().max(1)).copied().unwrap_or(0);
            Sent { at, bytes }
        })
        .collect()
}

fn through(proxy: Proxy, sent: &[Sent]) -> Trace {
    let end = sent.last().map_or(0, |sent| sent.at);
    let micros = Duration::from_micros;
    let mut trace = Trace::default();
    let arrival = |sent: &Sent, at| Arrival {
        at: micros(at),
        bytes: sent.bytes,
        sent_us: i64::try_from(sent.at).ok(),
    };
    if let Proxy::Filled(size) = proxy {
        // The body is cut wherever a buffer is full.
        let (mut held, mut waiting) = (0, Vec::new());
        for (index, event) in sent.iter().enumerate() {
            held += event.bytes;
            waiting.push(event);
            let is_end = index + 1 == sent.len();
            if held >= size || is_end {
                let rest = if is_end { 0 } else { held % size };
                let bytes = held - rest;
                trace.reads.push(Read { at: micros(event.at), bytes, ends_inside_event: rest > 0 });
                let last = if rest > 0 { waiting.pop() } else { None };
                trace.arrivals.extend(waiting.drain(..).map(|sent| arrival(sent, event.at)));
                waiting.extend(last);
                held = rest;
            }
        }
        return trace;
    }
    for event in sent {
        let at = match proxy {
            Proxy::Transparent | Proxy::Filled(_) => event.at,
            Proxy::Later(by) => event.at + by,
            Proxy::Every(period) => event.at.div_ceil(period) * period,
            Proxy::ToEnd => end,
        };
        match trace.reads.last_mut().filter(|read| read.at == micros(at)) {
            Some(read) => read.bytes += event.bytes,
            None => trace.reads.push(Read {
                at: micros(at),
                bytes: event.bytes,
                ends_inside_event: false,
            }),
        }
        trace.arrivals.push(arrival(event, at));
    }
    trace
}

fn calibrated(proxy: Proxy, jitter: &[u64]) -> Verdict {
    let known = |sent: &[Sent]| Known {
        sent_over: sent.last().map(|last| Duration::from_micros(last.at - sent[0].at)),
        has_length: false,
        clock_error: Some(Duration::from_millis(1)),
    };
    let (fast, slow) = (source(110, 15_000, jitter, 620), source(50, 45_000, jitter, 620));
    judge_pair(&through(proxy, &fast), known(&fast), &through(proxy, &slow), known(&slow))
}

#[test]
fn a_calibrated_source_tells_every_proxy_apart() {
    let jitter = [0, 300, 100, 700];
    assert_eq!(calibrated(Proxy::Transparent, &jitter), Verdict::Steady);
    assert_eq!(calibrated(Proxy::ToEnd, &jitter), Verdict::ToEnd);
    let late = calibrated(Proxy::Later(205_000), &jitter);
    assert_eq!(late, Verdict::Late { by: Duration::from_millis(205) });
    for period in [60_000, 100_000, 200_000, 250_000] {
        let Verdict::ByTime { period: found } = calibrated(Proxy::Every(period), &jitter) else {
            panic!("{period}: {:?}", calibrated(Proxy::Every(period), &jitter));
        };
        let found = u64::try_from(found.as_micros()).unwrap();
        assert!(found.abs_diff(period) < period / 10, "{period}: {found}");
    }
    for size in [2048, 4096, 8192, 16384] {
        let Verdict::BySize { bytes } = calibrated(Proxy::Filled(size), &jitter) else {
            panic!("{size}: {:?}", calibrated(Proxy::Filled(size), &jitter));
        };
        assert!(bytes.abs_diff(size) < size / 6, "{size}: {bytes}");
    }
    // The slower stream fits into this buffer, and the faster one does not.
    assert!(matches!(
        calibrated(Proxy::Filled(32768), &jitter),
        Verdict::BySize { .. } | Verdict::ToEnd
    ));
}

#[test]
fn a_model_of_its_own_pace_is_judged_by_what_varies_less() {
    // Tokens of uneven lengths at uneven times, as models send them.
    let sent: Vec<Sent> = source(160, 8_000, &[0, 9_000, 2_000, 30_000, 1_000, 0, 14_000], 0)
        .into_iter()
        .enumerate()
        .map(|(index, sent)| Sent { bytes: 210 + index * 7 % 23, ..sent })
        .collect();
    let verdict = |proxy| judge(&through(proxy, &sent), Known::default());
    assert_eq!(verdict(Proxy::Transparent), Verdict::Steady);
    assert_eq!(verdict(Proxy::ToEnd), Verdict::ToEnd);
    assert!(matches!(verdict(Proxy::Every(100_000)), Verdict::ByTime { .. }));
    assert!(matches!(verdict(Proxy::Filled(4096)), Verdict::BySize { .. }));
}

#[test]
fn what_cannot_be_judged_is_not() {
    let few = source(5, 10_000, &[], 100);
    assert_eq!(
        judge(&through(Proxy::Transparent, &few), Known::default()),
        Verdict::Unknown(Unjudged::TooFewEvents)
    );
    // A cached response: everything at once, right after the request.
    let mut cached = through(Proxy::ToEnd, &source(50, 10, &[], 100));
    for (read, arrival) in cached.reads.iter_mut().zip(&mut cached.arrivals) {
        (read.at, arrival.at) = (Duration::from_millis(5), Duration::from_millis(5));
    }
    for arrival in &mut cached.arrivals {
        arrival.at = Duration::from_millis(5);
    }
    assert_eq!(judge(&cached, Known::default()), Verdict::Unknown(Unjudged::TooFast));
    let known = Known { has_length: true, ..Known::default() };
    assert_eq!(judge(&cached, known), Verdict::ToEnd);
}

#[test]
fn a_fast_model_is_steady() {
    // 1,000 tokens a second: no pause is longer than what separates bursts.
    let sent = source(400, 1_000, &[], 200);
    assert_eq!(judge(&through(Proxy::Transparent, &sent), Known::default()), Verdict::Steady);
}

proptest! {
    #[test]
    fn what_nothing_holds_back_is_steady(jitter in prop::collection::vec(0u64..10_000, 1..20)) {
        prop_assert_eq!(calibrated(Proxy::Transparent, &jitter), Verdict::Steady);
    }

    #[test]
    fn a_flush_interval_is_recognised(period in 90_000u64..400_000, jitter in prop::collection::vec(0u64..3_000, 1..20)) {
        let verdict = calibrated(Proxy::Every(period), &jitter);
        prop_assert!(matches!(verdict, Verdict::ByTime { .. }), "{:?}", verdict);
    }

    #[test]
    fn a_buffer_is_recognised(size in 2_000usize..12_000, jitter in prop::collection::vec(0u64..3_000, 1..20)) {
        let verdict = calibrated(Proxy::Filled(size), &jitter);
        prop_assert!(matches!(verdict, Verdict::BySize { .. }), "{:?}", verdict);
    }
}
