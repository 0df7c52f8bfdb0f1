//! Timelines of scripted connections.

use super::*;

fn ask(timeline: &Timeline, subject: RequestSubject, path: &str, lane: Option<&str>) -> u64 {
    timeline.start_request(RequestStart { subject, method: "GET", path, version: "1.1", lane }, 0)
}

#[test]
fn requests_have_their_times_and_the_oldest_are_forgotten() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    for number in 0..40 {
        assert_eq!(ask(&timeline, RequestSubject::Callers, &format!("/{number}"), None), number);
    }
    timeline.set_owner(39, "alice");
    timeline.response_started(39, 200);
    timeline.request_finished(39);
    timeline.response_started(0, 500);
    let record = timeline.record();
    assert_eq!(
        (record.request_count, record.requests.len(), record.requests[0].number),
        (40, REQUESTS, 32)
    );
    let last = record.requests.last().cloned();
    assert_eq!(
        last.as_ref().map(|last| (last.owner.as_deref(), last.status)),
        Some((Some("alice"), Some(200)))
    );
    assert!(last.is_some_and(|last| last.started <= last.responded.unwrap_or_default()
        && last.responded <= last.finished));
    assert!(record.requests.iter().all(|request| request.status != Some(500)));
}

#[test]
fn a_second_owner_is_never_forgotten() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    for (owner, is_shared) in [("alice", false), ("alice", false), ("bob", true)] {
        let number = ask(&timeline, RequestSubject::Callers, "/", Some("a"));
        timeline.set_owner(number, owner);
        assert_eq!(timeline.record().is_shared, is_shared);
    }
    (0..40).for_each(|_| {
        timeline.set_owner(ask(&timeline, RequestSubject::Callers, "/", None), "alice");
    });
    let record = timeline.record();
    assert_eq!((record.owner.as_deref(), record.is_shared), (Some("alice"), true));
}

#[test]
fn an_unclaimed_request_counts_as_another_callers() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    let start = |subject| ask(&timeline, subject, "/", None);
    let shared = || (timeline.record().is_shared, timeline.record().is_unclaimed);
    let (page, own) = (start(RequestSubject::Public), start(RequestSubject::Callers));
    assert_eq!(shared(), (false, true));
    timeline.set_owner(own, "alice");
    timeline.request_finished(own);
    timeline.request_finished(page);
    assert_eq!(shared(), (false, false));
    let refused = start(RequestSubject::Lens);
    assert_eq!(shared(), (false, true));
    timeline.request_finished(refused);
    assert_eq!(shared(), (true, false));
    assert_eq!(timeline.record().requests.len(), 2, "the lens is not among what it shows");
    let other = Timeline::new(SystemTime::UNIX_EPOCH, true);
    other.mark_unparsed();
    assert!(other.record().is_shared);
}

#[test]
fn requests_with_a_lane_outlast_those_without() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    for number in 0..60 {
        let lane = (number < 40).then(|| number.to_string());
        ask(&timeline, RequestSubject::Callers, "/", lane.as_deref());
    }
    let numbers: Vec<u64> =
        timeline.record().requests.iter().map(|request| request.number).collect();
    assert_eq!(numbers, (8..40).chain(52..60).collect::<Vec<_>>());
    timeline.response_started(39, 200);
    assert_eq!(timeline.record().requests[31].status, Some(200));
}

#[test]
fn what_was_sent_for_a_request_is_told_apart_where_it_was_alone() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    let mut network = 0;
    let mut start = |lane, sent| {
        network += sent;
        timeline.start_request(
            RequestStart {
                subject: RequestSubject::Callers,
                method: "GET",
                path: "/",
                version: "2",
                lane,
            },
            network,
        )
    };
    let page = start(None, 100);
    timeline.request_finished(page);
    let first = start(Some("first"), 200);
    timeline.add_response_bytes(ResponseBytes { text: 7, ..ResponseBytes::default() });
    timeline.request_finished(first);
    // A look of the page's own, and two at once.
    let look = start(None, 1000);
    timeline.request_finished(look);
    let (one, two) = (start(Some("one"), 30), start(Some("two"), 40));
    timeline.request_finished(one);
    timeline.request_finished(two);
    let last = start(Some("last"), 50);
    let now = SentBytes {
        network: network + 6,
        response_bytes: ResponseBytes { text: 9, ..ResponseBytes::default() },
        ..SentBytes::default()
    };
    let sent = || {
        timeline
            .record()
            .requests
            .iter()
            .map(|request| request.sent(&now).map(|sent| (sent.network, sent.response_bytes.text)))
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(), [None, Some((1000, 7)), None, None, None, None]);
    timeline.request_finished(last);
    assert_eq!(sent()[5], Some((6, 2)));
}

#[test]
fn what_is_not_sampled_has_requests_and_no_bytes() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, false);
    timeline.up(b"GET / HTTP/1.1\r\n\r\n");
    ask(&timeline, RequestSubject::Callers, "/", None);
    timeline.down(b"HTTP/1.1 204 No Content\r\n\r\n");
    timeline.add_response_bytes(ResponseBytes { events: 1, ..ResponseBytes::default() });
    let record = timeline.record();
    assert_eq!((record.up, record.down, record.response_bytes, record.counts), Default::default());
    assert_eq!((record.request_count, record.is_sampled), (1, false));
}

#[test]
fn the_first_close_counts_and_bytes_have_times() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    timeline.up(b"GET / HTTP/1.1\r\n\r\n");
    timeline.down_parts(
        [&b"HTTP/1.1 204 No"[..], &b" Content\r\n\r\nleft for later"[..]].into_iter(),
        27,
    );
    timeline.set_closed(ClosingSide::Client, "fin");
    timeline.set_closed(ClosingSide::Server, "reset");
    let record = timeline.record();
    assert_eq!((record.up.head, record.down.head, record.down.total()), (18, 27, 27));
    assert_eq!((record.counts.reads, record.counts.writes), (1, 1));
    assert!(record.counts.first_in <= record.counts.first_out);
    assert_eq!(record.close.map(|close| (close.by, close.how)), Some((ClosingSide::Client, "fin")));
}
