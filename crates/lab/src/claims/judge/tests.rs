//! With evidence that conforms to the standards, each claim is judged as they say; changing a piece
//! of evidence changes its verdict.

use super::*;
use crate::claims::evidence::*;
use crate::claims::verdict::Ruling;
use crate::plan::Dialect;
use crate::spread::Spread;

/// The delays of 36 tokens with this median.
fn delay(median: f64) -> TransportDelay {
    let values = (0..36).map(|index| if index < 20 { median } else { median * 2.0 }).collect();
    TransportDelay { all: Spread::of(values).unwrap(), calmest_ms: median }
}

/// Evidence that conforms to the standards.
fn true_evidence() -> Evidence {
    let counts = |pairs: &[(&str, u64)]| {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    Evidence {
        handshake: Some(Handshake {
            first_is_syn: true,
            client_initial: u32::MAX,
            server_initial: 500,
            syn_ack_acknowledges: 0,
            third_sequence: 0,
            third_acknowledges: 501,
            third_bytes: 0,
        }),
        fin: Some(Fin { last_byte: 223, number: 224, acknowledged_by: 225, has_ack: true }),
        endings: Some(Endings {
            counts: counts(&[("client first, 3 segments", 2), ("server first, 3 segments", 1)]),
            time_wait: counts(&[("server", 1)]),
        }),
        half_close: Some(HalfClose { bytes_after_fin: 900, is_whole: true }),
        sse: Some(Exchanges {
            dialect: Dialect::Responses,
            answers: 5,
            events: 100,
            requests: 5,
            connections: 1,
            syn: Some(1),
            fin: Some(0),
        }),
        websocket: Some(Exchanges {
            dialect: Dialect::Responses,
            answers: 5,
            events: 100,
            requests: 1,
            connections: 1,
            syn: Some(1),
            fin: Some(0),
        }),
        demo_sse: None,
        demo_websocket: None,
        demo_done: None,
        persistence: Some(Persistence {
            http10: false,
            http10_keep_alive: true,
            http11: true,
            http11_close: false,
        }),
        methods: Some(Methods {
            options: 204,
            allowed: Some("GET".to_owned()),
            put: 405,
            put_http10: 405,
            unknown: 501,
        }),
        passing: Some(Passing { tokens: 12, pieces: 12, before_next: 12 }),
        validator: Some(Validator {
            has_tag: true,
            status: 304,
            first_bytes: 5000,
            second_bytes: 0,
            status_http10: 304,
        }),
        chunking: Some(Chunking {
            body_bytes: 9000,
            http10: 0,
            http11: 300,
            http2: 400,
            connections_http10: 5,
            connections_http11: 1,
        }),
        host: Some(Host { missing: 400, twice: 400, http10: 200 }),
        multiplexing: Some(Multiplexing {
            answers: 3,
            connections: 1,
            switches: 20,
            pipelined_in_order: true,
            overtaken: true,
        }),
        loss: Some(Loss {
            answers: 2,
            stalled_http2: 2,
            stalled_http11: 1,
            longest_http2_ms: 210.0,
            longest_other_ms: 12.0,
            round_trip_ms: 150.0,
            pace_ms: 10.0,
        }),
        parallel: Some(Parallel {
            answers: 3,
            connections_http11: 3,
            connections_http2: 1,
            added_http11: delay(0.2),
            added_http2: delay(0.25),
        }),
        speaking: Some(MidStream {
            sse_http11: (1, true),
            sse_http2: (0, true),
            websocket_http11: (0, true),
            websocket_http2: (0, true),
        }),
        text: Some(Text {
            bytes: 9000,
            is_utf8: true,
            wide_characters: 40,
            survives_any_split: true,
            survives_line_ends: true,
        }),
        media_type: Some(MediaType {
            of_streams: "text/event-stream; charset=utf-8".to_owned(),
            at_the_end: 204,
        }),
        format: Some(Format {
            events: 80,
            with_event: 40,
            with_id: 20,
            with_retry: 12,
            without_data: 1,
            example: "event: a\nid: 1\ndata: b\n\n".to_owned(),
        }),
        resumption: Some(Resumption { before: 3, whole: 12, missing: 0, twice: 0 }),
        delay: Some(Delay {
            dialect: Dialect::Responses,
            sse: delay(0.2),
            websocket: delay(0.2),
            json: Some(delay(30.0)),
        }),
        sameness: Some(Sameness { events: 20, transports: 4, different: 0 }),
    }
}

fn ruling(evidence: &Evidence, id: &str) -> Ruling {
    judge(evidence)
        .iter()
        .find(|verdict| verdict.id == id)
        .map_or(Ruling::NotMeasured, |verdict| verdict.ruling)
}

#[test]
fn evidence_that_conforms_to_the_standards_confirms_them() {
    let evidence = true_evidence();
    let verdicts = judge(&evidence);
    assert_eq!(
        verdicts.iter().map(|verdict| number(verdict.id)).collect::<Vec<_>>(),
        (1..=30).collect::<Vec<_>>()
    );
    let of = |number: u32| ruling(&evidence, &format!("4.{number}"));
    for (number, expected) in [
        (2, Ruling::Imprecise),
        (4, Ruling::Wrong),
        (5, Ruling::Imprecise),
        (7, Ruling::HalfRight),
        (13, Ruling::Imprecise),
        (14, Ruling::WrongReason),
        (17, Ruling::Meaningless),
        (18, Ruling::Depends),
        (26, Ruling::Imprecise),
        (28, Ruling::Wrong),
        (29, Ruling::Wrong),
        (30, Ruling::WrongFrame),
    ] {
        assert_eq!(of(number), expected, "4.{number}");
    }
    for number in [1, 3, 6, 10, 11, 15, 16, 19, 20, 22, 24, 25, 27] {
        assert_eq!(of(number), Ruling::Right, "4.{number}");
    }
    for (number, ruling) in [
        (8, Ruling::Right),
        (9, Ruling::Right),
        (12, Ruling::Imprecise),
        (21, Ruling::Right),
        (23, Ruling::Imprecise),
    ] {
        assert_eq!(of(number), ruling, "4.{number}");
    }
    assert_eq!(
        verdicts
            .iter()
            .filter(|verdict| !verdict.is_measured)
            .map(|verdict| number(verdict.id))
            .collect::<Vec<_>>(),
        [8, 21, 23]
    );
    assert_eq!(verdicts[19].words.en, "right, but incomplete");
}

#[test]
fn what_was_not_measured_is_not_judged() {
    let verdicts = judge(&Evidence::default());
    assert!(verdicts.iter().all(|verdict| !verdict.is_measured));
    assert_eq!(verdicts.iter().filter(|verdict| verdict.ruling == Ruling::NotMeasured).count(), 27);
}

#[test]
fn one_answer_cannot_tell_what_happens_each_time() {
    let mut evidence = true_evidence();
    let once = Exchanges {
        dialect: Dialect::Responses,
        answers: 1,
        events: 20,
        requests: 1,
        connections: 1,
        syn: Some(1),
        fin: Some(0),
    };
    (evidence.sse, evidence.websocket) = (Some(once), Some(once));
    for claim in ["4.7", "4.10", "4.19", "4.28"] {
        assert_eq!(ruling(&evidence, claim), Ruling::NotMeasured, "{claim}");
    }
}

/// Changes one thing; the verdict must become another, and this one.
fn turn(id: &str, expected: Ruling, change: impl FnOnce(&mut Evidence)) {
    let mut evidence = true_evidence();
    let before = judge(&evidence);
    change(&mut evidence);
    let after = judge(&evidence);
    let find = |verdicts: &[Verdict]| verdicts.iter().find(|verdict| verdict.id == id).cloned();
    let (before, after) = (find(&before).unwrap(), find(&after).unwrap());
    assert_ne!(before.ruling, after.ruling, "{id}");
    assert_ne!(before.evidence, after.evidence, "{id}: what is shown turns, too");
    assert_eq!(after.ruling, expected, "{id}");
}

macro_rules! turn {
    ($id:literal, $ruling:ident, $part:ident, |$name:ident| $change:expr) => {
        turn($id, Ruling::$ruling, |evidence| {
            let $name = evidence.$part.as_mut().unwrap();
            $change;
        })
    };
}

#[test]
fn evidence_that_is_turned_round_turns_the_verdict_on_tcp() {
    turn!("4.1", Wrong, handshake, |seen| seen.first_is_syn = false);
    turn!("4.2", Right, handshake, |seen| seen.syn_ack_acknowledges = seen.client_initial);
    turn!("4.2", Wrong, handshake, |seen| seen.syn_ack_acknowledges = 77);
    turn!("4.3", Wrong, handshake, |seen| seen.third_sequence = seen.client_initial);
    turn!("4.3", Wrong, handshake, |seen| seen.third_acknowledges = seen.server_initial);
    turn!("4.4", Right, fin, |seen| seen.number = seen.last_byte);
    turn!("4.5", Right, endings, |seen| seen.counts =
        [("client first, 4 segments".to_owned(), 3)].into());
    turn!("4.6", Wrong, half_close, |seen| seen.is_whole = false);
    turn!("4.6", Wrong, half_close, |seen| seen.bytes_after_fin = 0);
}

#[test]
fn evidence_that_is_turned_round_turns_the_verdict_on_http() {
    turn!("4.11", Wrong, persistence, |seen| seen.http10 = true);
    turn!("4.11", Wrong, persistence, |seen| seen.http10_keep_alive = false);
    turn!("4.11", Wrong, persistence, |seen| seen.http11 = false);
    turn!("4.11", Wrong, persistence, |seen| seen.http11_close = true);
    turn!("4.12", Right, methods, |seen| seen.put_http10 = 501);
    turn!("4.13", Wrong, validator, |seen| seen.status = 200);
    turn!("4.13", Right, validator, |seen| seen.status_http10 = 200);
    turn!("4.14", Right, chunking, |seen| seen.http11 = 0);
    turn!("4.14", Wrong, chunking, |seen| seen.connections_http11 = 5);
    turn!("4.15", Wrong, host, |seen| seen.missing = 200);
    turn!("4.15", Wrong, host, |seen| seen.twice = 200);
    turn!("4.15", Wrong, host, |seen| seen.http10 = 400);
    turn!("4.16", Wrong, multiplexing, |seen| seen.connections = 3);
    turn!("4.16", Wrong, multiplexing, |seen| seen.switches = 2);
    turn!("4.16", Wrong, multiplexing, |seen| seen.overtaken = false);
    turn!("4.17", Wrong, loss, |seen| seen.stalled_http2 = 1);
    turn!("4.17", Wrong, loss, |seen| seen.stalled_http11 = 2);
    turn!("4.18", Right, parallel, |seen| seen.added_http11 = delay(8.0));
    turn!("4.19", Wrong, sse, |seen| seen.connections = 5);
}

#[test]
fn evidence_that_is_turned_round_turns_the_verdict_on_streams() {
    turn!("4.9", Wrong, passing, |seen| seen.pieces = 1);
    turn!("4.9", Wrong, passing, |seen| seen.before_next = 3);
    turn!("4.7", Right, sse, |seen| seen.connections = 5);
    turn!("4.7", Wrong, sse, |seen| seen.requests = 1);
    turn!("4.10", Wrong, websocket, |seen| seen.requests = 5);
    turn!("4.20", Wrong, speaking, |seen| seen.websocket_http11 = (1, true));
    turn!("4.20", Wrong, speaking, |seen| seen.websocket_http2 = (0, false));
    turn!("4.22", Wrong, speaking, |seen| seen.sse_http11 = (0, true));
    turn!("4.24", Wrong, text, |seen| seen.is_utf8 = false);
    turn!("4.24", Wrong, text, |seen| seen.survives_any_split = false);
    turn!("4.24", Wrong, text, |seen| seen.survives_line_ends = false);
    turn!("4.25", Wrong, media_type, |seen| seen.at_the_end = 200);
    turn!("4.25", Wrong, media_type, |seen| seen.of_streams = "application/json".to_owned());
    turn!("4.26", Right, format, |seen| *seen =
        Format { events: 80, with_event: 80, ..Format::default() });
    turn!("4.27", Wrong, resumption, |seen| seen.missing = 2);
    turn!("4.27", Wrong, resumption, |seen| seen.twice = 1);
    turn!("4.28", Right, sse, |seen| seen.syn = Some(5));
    turn!("4.29", Right, delay, |seen| seen.sse = delay(60.0));
    turn!("4.30", Right, sameness, |seen| seen.different = 1);
}

#[test]
fn the_java_demos_api_alone_is_judged_by_its_own_cells() {
    let mut evidence = true_evidence();
    // Two requests for each answer, on two connections.
    let classic = Exchanges {
        dialect: Dialect::Classic,
        answers: 2,
        events: 40,
        requests: 4,
        connections: 2,
        syn: Some(2),
        fin: Some(0),
    };
    (evidence.sse, evidence.demo_sse) = (Some(classic), Some(classic));
    for (claim, expected) in
        [("4.7", Ruling::HalfRight), ("4.19", Ruling::Right), ("4.28", Ruling::Wrong)]
    {
        assert_eq!(ruling(&evidence, claim), expected, "{claim}");
    }
    let each_time = Exchanges { connections: 4, syn: Some(4), ..classic };
    evidence.sse = Some(each_time);
    for (claim, expected) in
        [("4.7", Ruling::Right), ("4.19", Ruling::Wrong), ("4.28", Ruling::Right)]
    {
        assert_eq!(ruling(&evidence, claim), expected, "{claim}");
    }
    let verdicts = judge(&evidence);
    let about_demo: Vec<u32> = verdicts
        .iter()
        .filter(|verdict| verdict.is_about_demo)
        .map(|verdict| number(verdict.id))
        .collect();
    assert_eq!(about_demo, [8, 9]);
}

#[test]
fn a_busy_machine_turns_no_verdict_on_delays() {
    let mut evidence = true_evidence();
    // The slowest tokens and the median of all runs are later, the calmest run is not.
    let busy = TransportDelay { all: delay(80.0).all, calmest_ms: 0.3 };
    evidence.delay.as_mut().unwrap().sse = busy;
    evidence.parallel.as_mut().unwrap().added_http11 = busy;
    assert_eq!(ruling(&evidence, "4.29"), Ruling::Wrong);
    assert_eq!(ruling(&evidence, "4.18"), Ruling::Depends);
}
