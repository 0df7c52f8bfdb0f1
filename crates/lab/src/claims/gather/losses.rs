//! One lost segment: which streams stall until it is retransmitted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lens::namespace::end::NetworkEnd;
use lens::namespace::link::settings::{LinkSettings, LossTarget};

use super::experiment::Experiment;
use crate::bilingual::Bilingual;
use crate::claims::cite::names;
use crate::claims::evidence::Loss;
use crate::conversation::{Progress, Streaming, Turn};
use crate::numbers::milliseconds;
use crate::plan::{Dialect, Version};
use crate::run::ShapedRoute;
use client::Endpoint;

/// The delay in each direction: the round trip must be much longer than the pace ([`SLOWEST`]), and
/// than the pauses of a busy machine.
const DELAY: Duration = Duration::from_millis(75);

/// The slowest pace at which a stall can be distinguished from the model's gaps.
const SLOWEST: Duration = Duration::from_millis(25);

/// The length of an answer in round trips, with some after the loss.
const ROUND_TRIPS: u32 = 12;

/// The round trips before the loss: until then the sender may wait because of slow start (RFC 5681,
/// section 3.1).
const BEFORE: u32 = 5;

/// The fraction of a round trip from which a gap counts as a stall.
const PART: f64 = 0.75;

/// Two concurrent answers and a lost segment: over HTTP/2 on one connection, and over HTTP/1.1 on a
/// connection each. `None` without a path that can lose packets.
pub(super) async fn loss(setting: &Experiment<'_>) -> Result<Option<Loss>> {
    let (Some(route), Some(pace)) = (&setting.harness.road, setting.plan.pace) else {
        return Ok(None);
    };
    ensure!(
        pace <= SLOWEST,
        "a pace of {} ms is too slow to tell a standstill from it",
        pace.as_millis()
    );
    let set = |path| NetworkEnd::BOTH.map(|end| route.road.set(end, path));
    set(LinkSettings { delay: DELAY, bytes_per_second: None });
    let quietest = quietest(setting, route, pace).await;
    set(route.path);
    quietest.map(Some)
}

/// The number of attempts: a busy machine can only lengthen gaps.
const ROUNDS: u32 = 3;

/// The round with the shortest gaps on the connection without a loss.
async fn quietest(setting: &Experiment<'_>, route: &ShapedRoute, pace: Duration) -> Result<Loss> {
    let (mut quietest, mut ports) = round(setting, route, pace).await?;
    for _ in 1..ROUNDS {
        if quietest.stalled_http11 < quietest.answers {
            break;
        }
        let (next, its_ports) = round(setting, route, pace).await?;
        if next.longest_other_ms < quietest.longest_other_ms {
            (quietest, ports) = (next, its_ports);
        }
    }
    let titles = [
        ("One segment lost, HTTP/2: both answers wait", "丢失一个报文段，HTTP/2：两个回答都停顿"),
        (
            "One segment lost, HTTP/1.1: the answer on this connection waits",
            "丢失一个报文段，HTTP/1.1：此连接上的回答停顿",
        ),
        ("HTTP/1.1, the other connection: it goes on", "HTTP/1.1，另一个连接：不受影响"),
    ];
    for ((port, name), (en, zh)) in ports.into_iter().zip(names::LOSS).zip(titles) {
        setting.name(port, name, Bilingual::new(en, zh));
    }
    Ok(quietest)
}

/// One loss over each version, and the ports: of HTTP/2, of the connection of HTTP/1.1 with the
/// loss, and of the other.
async fn round(
    setting: &Experiment<'_>,
    route: &ShapedRoute,
    pace: Duration,
) -> Result<(Loss, [u16; 3])> {
    let ((http2, http2_ports), (http11, http11_ports)) = (
        gaps(setting, route, pace, Version::Http2).await?,
        gaps(setting, route, pace, Version::Http11).await?,
    );
    let round_trip_ms = 2.0 * milliseconds(DELAY);
    let stalled =
        |gaps: &[f64]| gaps.iter().filter(|gap| **gap > round_trip_ms * PART).count() as u64;
    let loss = Loss {
        answers: 2,
        stalled_http2: stalled(&http2),
        stalled_http11: stalled(&http11),
        longest_http2_ms: http2.iter().copied().fold(0.0, f64::max),
        longest_other_ms: http11[1],
        round_trip_ms,
        pace_ms: milliseconds(pace),
    };
    let port = |ports: &[u16], index: usize| ports.get(index).copied().context("no connection");
    let ports = [port(&http2_ports, 0)?, port(&http11_ports, 0)?, port(&http11_ports, 1)?];
    Ok((loss, ports))
}

/// The longest gap of each of two answers in milliseconds, and the ports of the connections; the
/// first one's connection loses a segment.
async fn gaps(
    setting: &Experiment<'_>,
    route: &ShapedRoute,
    pace: Duration,
    version: Version,
) -> Result<([f64; 2], Vec<u16>)> {
    let server = route.server.clone();
    let endpoint = Endpoint {
        address: server.address,
        authority: server.authority,
        prefix: server.prefix,
        timeout: setting.harness.timeout,
        encryption: None,
    };
    let mut session = setting.session_at(endpoint, version);
    let tokens = |round_trips: u32| (2 * round_trips * DELAY).as_millis() / pace.as_millis().max(1);
    let question = format!("/lorem {}", tokens(ROUND_TRIPS));
    let mut begun = Vec::new();
    for _ in 0..2 {
        let answer = session.send(setting.ask(&question, true)).await?;
        begun.push(Streaming::new(answer, Turn::start(), Dialect::Responses)?);
    }
    let [mut one, mut two]: [Streaming; 2] = begun.try_into().ok().context("two streams")?;
    let before = usize::try_from(tokens(BEFORE))?;
    let (first, second) = tokio::join!(receive(&mut one, before), receive(&mut two, before));
    first.and(second)?;
    let received = [&one, &two].map(|streaming| streaming.turn.arrivals.len());
    let port = session.opened.first().context("no connection")?.local.port();
    let lost = route.road.lose_next(NetworkEnd::Far, LossTarget { port, payload_bytes: 1 });
    let (first, second) =
        tokio::join!(receive(&mut one, usize::MAX), receive(&mut two, usize::MAX));
    first.and(second)?;
    ensure!(lost.wait(Duration::ZERO).is_some(), "no segment was lost");
    let longest = |streaming: &Streaming, received: usize| {
        let arrivals =
            streaming.turn.arrivals.get(received.saturating_sub(1)..).unwrap_or_default();
        arrivals.windows(2).map(|pair| milliseconds(pair[1] - pair[0])).fold(0.0, f64::max)
    };
    let gaps = [longest(&one, received[0]), longest(&two, received[1])];
    for streaming in [one, two] {
        drop(streaming.cut());
    }
    Ok((gaps, session.opened.iter().map(|opened| opened.local.port()).collect()))
}

async fn receive(streaming: &mut Streaming, pieces: usize) -> Result<()> {
    while streaming.turn.arrivals.len() < pieces && streaming.next().await? == Progress::More {}
    Ok(())
}
