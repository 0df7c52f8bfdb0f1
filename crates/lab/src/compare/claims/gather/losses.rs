//! One lost segment: who stands still until it has come again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lens::namespace::end::End;
use lens::namespace::road::path::{Path, Target};

use super::Ground;
use crate::client::Dial;
use crate::compare::claims::evidence::Loss;
use crate::compare::numbers::milliseconds;
use crate::compare::plan::{Dialect, Version};
use crate::compare::run::RoadDoor;
use crate::compare::session::Session;
use crate::compare::talk::{Heard, Streaming, Turn};

/// How long a packet takes in each direction: the round trip must be much longer than the pace ([`SLOWEST`]), and than a busy
/// machine's hiccups.
const DELAY: Duration = Duration::from_millis(75);

/// With a slower pace a gap may be the model's.
const SLOWEST: Duration = Duration::from_millis(25);

/// An answer goes on for so many round trips, of which the last comes some after the loss.
const ROUND_TRIPS: u32 = 12;

/// So many round trips of it come before: until then the sender may wait because it does not know the path yet (slow start,
/// RFC 5681, section 3.1).
const BEFORE: u32 = 5;

/// A gap of this part of a round trip is a standstill.
const PART: f64 = 0.75;

/// Two answers at the same time and a lost segment: over HTTP/2 on one connection, and over HTTP/1.1 on a connection each. `None`
/// where there is no road.
pub(super) async fn loss(ground: &Ground<'_>) -> Result<Option<Loss>> {
    let (Some(way), Some(pace)) = (&ground.bench.road, ground.plan.pace) else { return Ok(None) };
    ensure!(pace <= SLOWEST, "a pace of {} ms is too slow to tell a standstill from it", pace.as_millis());
    let set = |path| End::BOTH.map(|end| way.road.set(end, path));
    set(Path { delay: DELAY, bytes_per_second: None });
    let quietest = quietest(ground, way, pace).await;
    set(way.path);
    quietest.map(Some)
}

/// How often it is tried. A machine that is busy with something else makes gaps, too; it never makes one shorter.
const ROUNDS: u32 = 3;

/// The round in which the connection that lost nothing had the shortest gaps.
async fn quietest(ground: &Ground<'_>, way: &RoadDoor, pace: Duration) -> Result<Loss> {
    let mut quietest = round(ground, way, pace).await?;
    for _ in 1..ROUNDS {
        if quietest.stalled_http11 < quietest.answers {
            break;
        }
        let next = round(ground, way, pace).await?;
        if next.longest_other_ms < quietest.longest_other_ms {
            quietest = next;
        }
    }
    Ok(quietest)
}

async fn round(ground: &Ground<'_>, way: &RoadDoor, pace: Duration) -> Result<Loss> {
    let (http2, http11) = (gaps(ground, way, pace, Version::Http2).await?, gaps(ground, way, pace, Version::Http11).await?);
    let round_trip_ms = 2.0 * milliseconds(DELAY);
    let stalled = |gaps: &[f64]| gaps.iter().filter(|gap| **gap > round_trip_ms * PART).count() as u64;
    Ok(Loss {
        answers: 2,
        stalled_http2: stalled(&http2),
        stalled_http11: stalled(&http11),
        longest_http2_ms: http2.iter().copied().fold(0.0, f64::max),
        longest_other_ms: http11[1],
        round_trip_ms,
        pace_ms: milliseconds(pace),
    })
}

/// The longest gap of each of two answers, in milliseconds, of which the first one's connection loses a segment.
async fn gaps(ground: &Ground<'_>, way: &RoadDoor, pace: Duration, version: Version) -> Result<[f64; 2]> {
    let door = way.door.clone();
    let dial =
        Dial { address: door.address, authority: door.authority, prefix: door.prefix, patience: ground.bench.patience, encryption: None };
    let mut session = Session::new(dial, version, ground.bench.key.as_deref());
    let tokens = |round_trips: u32| (2 * round_trips * DELAY).as_millis() / pace.as_millis().max(1);
    let question = format!("/lorem {}", tokens(ROUND_TRIPS));
    let mut begun = Vec::new();
    for _ in 0..2 {
        let answer = session.send(ground.ask(&question, true)).await?;
        begun.push(Streaming::new(answer, Turn::begin(), Dialect::Responses)?);
    }
    let [mut one, mut two]: [Streaming; 2] = begun.try_into().ok().context("two streams")?;
    let before = usize::try_from(tokens(BEFORE))?;
    let (first, second) = tokio::join!(hear(&mut one, before), hear(&mut two, before));
    first.and(second)?;
    let heard = [&one, &two].map(|streaming| streaming.turn.arrivals.len());
    let port = session.opened.first().context("no connection")?.local.port();
    let lost = way.road.lose_next(End::Far, Target { port, payload_bytes: 1 });
    let (first, second) = tokio::join!(hear(&mut one, usize::MAX), hear(&mut two, usize::MAX));
    first.and(second)?;
    ensure!(lost.wait(Duration::ZERO).is_some(), "no segment was lost");
    let longest = |streaming: &Streaming, heard: usize| {
        let arrivals = streaming.turn.arrivals.get(heard.saturating_sub(1)..).unwrap_or_default();
        arrivals.windows(2).map(|pair| milliseconds(pair[1] - pair[0])).fold(0.0, f64::max)
    };
    let gaps = [longest(&one, heard[0]), longest(&two, heard[1])];
    for streaming in [one, two] {
        drop(streaming.cut());
    }
    Ok(gaps)
}

async fn hear(streaming: &mut Streaming, pieces: usize) -> Result<()> {
    while streaming.turn.arrivals.len() < pieces && streaming.next().await? == Heard::More {}
    Ok(())
}
