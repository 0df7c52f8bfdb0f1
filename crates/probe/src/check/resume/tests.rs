//! Resumed streams with one mistake each.

use anyhow::anyhow;
use bytes::Bytes;

use super::outcome::Resumed;
use super::ways::Log;

fn event(number: u64) -> Bytes {
    format!(r#"{{"type":"x","sequence_number":{number}}}"#).into()
}

fn log() -> Log {
    Log::numbered((0..9).map(|number| (number, event(number))))
}

fn check(cut: usize, resumed: impl IntoIterator<Item = u64>, expected: &Resumed) {
    let resumed = Ok(resumed.into_iter().map(event).collect());
    assert_eq!(log().compare(cut, resumed), *expected, "cut {cut}");
}

#[test]
fn every_mistake_has_a_name() {
    check(3, 3..9, &Resumed::Exact);
    check(3, 0..9, &Resumed::StartsOver);
    check(3, 2..9, &Resumed::Repeated);
    check(3, 4..9, &Resumed::Missing(1));
    check(3, [3, 5, 4, 6, 7, 8], &Resumed::Differs);
    check(8, [], &Resumed::Missing(1));
    let spaced = (3..9)
        .map(|number| Bytes::from(format!(r#"{{"sequence_number": {number}, "type": "x"}}"#)));
    assert_eq!(log().compare(3, Ok(spaced.collect())), Resumed::SameEvents);
    assert_eq!(log().compare(3, Err(anyhow!("status 404"))), Resumed::Refused("status 404".into()));
}

#[test]
fn ids_are_followed() {
    let log = Log::with_ids((0..9).map(|number| (number.to_string().into(), event(number))));
    let resumed = |numbers: std::ops::Range<u64>| {
        Ok(numbers.map(|number| (Bytes::from(number.to_string()), event(number))).collect())
    };
    assert_eq!(log.compare_ids(4, resumed(4..9)), Resumed::Exact);
    assert_eq!(log.compare_ids(4, resumed(0..9)), Resumed::StartsOver);
    assert_eq!(log.compare_ids(4, resumed(2..9)), Resumed::Repeated);
    assert_eq!(log.compare_ids(4, resumed(6..9)), Resumed::Missing(2));
    assert_eq!(log.compare_ids(4, resumed(0..0)), Resumed::Missing(5));
}

#[test]
fn cuts_are_inside_of_the_stream() {
    assert_eq!(log().cuts(), [1, 3, 6, 8]);
    assert_eq!(log().position(1), 0);
    assert_eq!(log().position(8), 7);
}
