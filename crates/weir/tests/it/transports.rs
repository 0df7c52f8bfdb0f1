//! Every transport: the table of scenarios, and a cut at every event with a change of transport (promise 2).

use crate::test_server::TestFrame::{Ndjson, Sse};
use futures_util::future::join_all;

use self::doors::Doors;
use self::reader::{TransportKind, TransportReader, WAYS};
use crate::resume::{EVENTS_BEHIND_GATES, GatedScript, ask_rich, id_of, tail};
use crate::scenarios::responses::check_stream;
use crate::scenarios::responses_request;
use crate::scenarios::table::table;

mod doors;
mod reader;

#[tokio::test]
async fn scenarios_over_a_websocket() {
    run(&[TransportKind::Socket]).await;
}

#[tokio::test]
async fn scenarios_over_http_1_0() {
    run(&[TransportKind::Http10(Sse), TransportKind::Http10(Ndjson)]).await;
}

#[tokio::test]
async fn scenarios_over_http_2() {
    run(&[TransportKind::Http2(Sse), TransportKind::Http2(Ndjson), TransportKind::Http2Socket])
        .await;
}

#[tokio::test]
async fn scenarios_over_tls_and_http_1_1() {
    run(&[
        TransportKind::Https11(Sse),
        TransportKind::Https11(Ndjson),
        TransportKind::SecureSocket,
    ])
    .await;
}

#[tokio::test]
async fn scenarios_over_tls_and_http_2() {
    run(&[TransportKind::Https2(Sse), TransportKind::Https2(Ndjson), TransportKind::Https2Socket])
        .await;
}

/// Every scenario over each transport, all at once (over HTTP/2 on one connection): each delivers the bytes that the
/// log replays as SSE over HTTP/1.1, and replays them itself.
async fn run(ways: &[TransportKind]) {
    let doors = Doors::open().await;
    for scenario in table() {
        doors.test_server.upstream.default_script(scenario.script.clone());
        let question = responses_request(true);
        let answers = ways.iter().map(async |way| {
            let data = TransportReader::start(&doors, *way, &question).await.rest().await;
            let terminal = check_stream(&scenario, &data);
            let id = terminal["id"].as_str().unwrap();
            assert!(
                tail(&doors.test_server, id, None, Sse).await == data,
                "{}, {way:?}: not what the log says",
                scenario.name
            );
            assert!(
                TransportReader::resume(&doors, *way, id, None).await.rest().await == data,
                "{}, {way:?}: the replay differs",
                scenario.name
            );
        });
        join_all(answers).await;
    }
    doors.close().await;
}

/// The whole table at once: each scenario is a stream of one connection, and none affects another.
#[tokio::test]
async fn all_scenarios_share_a_connection() {
    let doors = Doors::open().await;
    for way in [TransportKind::Http2(Sse), TransportKind::Https2Socket] {
        let mut answers = Vec::new();
        for scenario in table() {
            // Scripts are handed out in the order of upstream calls.
            doors.test_server.upstream.script(scenario.script.clone());
            let asked = doors.test_server.upstream.requests().len();
            let reader = TransportReader::start(&doors, way, &responses_request(true)).await;
            client::soon(doors.test_server.upstream.wait_requests(asked + 1)).await.unwrap();
            answers.push((scenario, reader));
        }
        let streams = join_all(
            answers.into_iter().map(async |(scenario, reader)| (scenario, reader.rest().await)),
        )
        .await;
        for (scenario, data) in streams {
            let terminal = check_stream(&scenario, &data);
            assert!(
                tail(&doors.test_server, terminal["id"].as_str().unwrap(), None, Sse).await == data,
                "{}, {way:?}",
                scenario.name
            );
        }
    }
    doors.close().await;
}

#[tokio::test]
async fn a_response_cut_off_at_every_event_resumes_over_any_transport() {
    let doors = Doors::open().await;
    // The resuming transports alternate: with more cuts than transports, each follows each.
    let mut others = WAYS.iter().cycle();
    for first in WAYS {
        for cut in 0..*EVENTS_BEHIND_GATES.last().unwrap() {
            let second = *others.next().unwrap();
            let gated = GatedScript::rich();
            doors.test_server.upstream.script(gated.script.clone());
            // Only as many gates as the event needs: the response is still running at the cut, unless the event is
            // its end.
            let opened = EVENTS_BEHIND_GATES.iter().position(|events| cut < *events).unwrap();
            gated.open(0..opened);
            let mut reader = TransportReader::start(&doors, first, &ask_rich()).await;
            let before = reader.take(cut + 1).await;
            reader.cut();
            let id = id_of(&before[0]);
            let whole = if cut + 1 < *EVENTS_BEHIND_GATES.last().unwrap() {
                let mut reader =
                    TransportReader::resume(&doors, second, &id, Some(cut as u64)).await;
                let ready = reader.take(EVENTS_BEHIND_GATES[opened] - cut - 1).await;
                gated.open(opened..gated.gates.len());
                [before, reader.rest_after(ready).await].concat()
            } else {
                before
            };
            assert_eq!(
                whole,
                tail(&doors.test_server, &id, None, Sse).await,
                "{first:?} cut after {cut}, then {second:?}"
            );
        }
    }
    doors.close().await;
}
