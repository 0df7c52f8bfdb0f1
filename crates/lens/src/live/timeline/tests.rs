//! Timelines of scripted connections.

use super::*;

fn ask(timeline: &Timeline, subject: Subject, path: &str, lane: Option<&str>) -> u64 {
    timeline.asked(Asked { subject, method: "GET", path, version: "1.1", lane }, 0)
}

#[test]
fn requests_have_their_times_and_the_oldest_are_forgotten() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    for number in 0..40 {
        assert_eq!(ask(&timeline, Subject::Callers, &format!("/{number}"), None), number);
    }
    timeline.owned(39, "alice");
    timeline.answered(39, 200);
    timeline.ended(39);
    timeline.answered(0, 500);
    let record = timeline.record();
    assert_eq!(
        (record.asked, record.requests.len(), record.requests[0].number),
        (40, REQUESTS, 32)
    );
    let last = record.requests.last().cloned();
    assert_eq!(
        last.as_ref().map(|last| (last.owner.as_deref(), last.status)),
        Some((Some("alice"), Some(200)))
    );
    assert!(last.is_some_and(
        |last| last.begin <= last.answered.unwrap_or_default() && last.answered <= last.end
    ));
    assert!(record.requests.iter().all(|request| request.status != Some(500)));
}

#[test]
fn a_second_owner_is_never_forgotten() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    for (owner, is_shared) in [("alice", false), ("alice", false), ("bob", true)] {
        let number = ask(&timeline, Subject::Callers, "/", Some("a"));
        timeline.owned(number, owner);
        assert_eq!(timeline.record().is_shared, is_shared);
    }
    (0..40).for_each(|_| timeline.owned(ask(&timeline, Subject::Callers, "/", None), "alice"));
    let record = timeline.record();
    assert_eq!((record.owner.as_deref(), record.is_shared), (Some("alice"), true));
}

#[test]
fn a_request_of_which_nobody_says_that_it_is_his_is_somebody_elses() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    let begin = |subject| ask(&timeline, subject, "/", None);
    let shared = || (timeline.record().is_shared, timeline.record().is_unclaimed);
    let (page, own) = (begin(Subject::Public), begin(Subject::Callers));
    assert_eq!(shared(), (false, true));
    timeline.owned(own, "alice");
    timeline.ended(own);
    timeline.ended(page);
    assert_eq!(shared(), (false, false));
    let refused = begin(Subject::Lens);
    assert_eq!(shared(), (false, true));
    timeline.ended(refused);
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
        ask(&timeline, Subject::Callers, "/", lane.as_deref());
    }
    let numbers: Vec<u64> =
        timeline.record().requests.iter().map(|request| request.number).collect();
    assert_eq!(numbers, (8..40).chain(52..60).collect::<Vec<_>>());
    timeline.answered(39, 200);
    assert_eq!(timeline.record().requests[31].status, Some(200));
}

#[test]
fn what_was_sent_for_a_request_is_told_apart_where_it_was_alone() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    let mut network = 0;
    let mut begin = |lane, sent| {
        network += sent;
        timeline.asked(
            Asked { subject: Subject::Callers, method: "GET", path: "/", version: "2", lane },
            network,
        )
    };
    let page = begin(None, 100);
    timeline.ended(page);
    let first = begin(Some("first"), 200);
    timeline.said(ByteBreakdown { text: 7, ..ByteBreakdown::default() });
    timeline.ended(first);
    // A look of the page's own, and two at once.
    let look = begin(None, 1000);
    timeline.ended(look);
    let (one, two) = (begin(Some("one"), 30), begin(Some("two"), 40));
    timeline.ended(one);
    timeline.ended(two);
    let last = begin(Some("last"), 50);
    let now = Sent {
        network: network + 6,
        said: ByteBreakdown { text: 9, ..ByteBreakdown::default() },
        ..Sent::default()
    };
    let sent = || {
        timeline
            .record()
            .requests
            .iter()
            .map(|request| request.sent(&now).map(|sent| (sent.network, sent.said.text)))
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(), [None, Some((1000, 7)), None, None, None, None]);
    timeline.ended(last);
    assert_eq!(sent()[5], Some((6, 2)));
}

#[test]
fn what_is_not_sampled_has_requests_and_no_bytes() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, false);
    timeline.up(b"GET / HTTP/1.1\r\n\r\n");
    ask(&timeline, Subject::Callers, "/", None);
    timeline.down(b"HTTP/1.1 204 No Content\r\n\r\n");
    timeline.said(ByteBreakdown { events: 1, ..ByteBreakdown::default() });
    let record = timeline.record();
    assert_eq!((record.up, record.down, record.said, record.counts), Default::default());
    assert_eq!((record.asked, record.is_sampled), (1, false));
}

#[test]
fn the_first_close_counts_and_bytes_have_times() {
    let timeline = Timeline::new(SystemTime::UNIX_EPOCH, true);
    timeline.up(b"GET / HTTP/1.1\r\n\r\n");
    timeline.down_parts(
        [&b"HTTP/1.1 204 No"[..], &b" Content\r\n\r\nleft for later"[..]].into_iter(),
        27,
    );
    timeline.closed(Closer::Client, "fin");
    timeline.closed(Closer::Server, "reset");
    let record = timeline.record();
    assert_eq!((record.up.head, record.down.head, record.down.total()), (18, 27, 27));
    assert_eq!((record.counts.reads, record.counts.writes), (1, 1));
    assert!(record.counts.first_in <= record.counts.first_out);
    assert_eq!(record.close.map(|close| (close.by, close.how)), Some((Closer::Client, "fin")));
}
