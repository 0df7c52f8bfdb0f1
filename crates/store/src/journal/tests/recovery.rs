//! Tests of the recovery from damage.

use std::sync::Arc;

use super::super::JournalError;
use super::super::frame;
use super::super::log::JournalLog;
use super::super::simulated::SimulatedDisk;
use super::super::writer::WriteOutcome;
use super::{end, id, open, read, text};
use crate::journal::config::Config;
use crate::journal::mutex::lock;
use crate::journal::shared::JournalInner;

fn response(shared: &Arc<JournalInner>, name: &str) -> Arc<JournalLog> {
    Arc::clone(
        lock(&shared.logs).entry(id(name)).or_insert_with(|| Arc::new(JournalLog::new(id(name)))),
    )
}

/// Appends texts to two logs alternately, each in a write of its own.
fn two_logs(disk: &SimulatedDisk, count: u64) {
    let shared = open(disk, Config::default()).expect("an empty disk is a journal");
    for name in ["a", "b"] {
        response(&shared, name).acquire();
    }
    for position in 0..count {
        for name in ["a", "b"] {
            shared
                .queue
                .append(
                    &response(&shared, name),
                    1,
                    &[text(position, &format!("{name}{position}"))],
                )
                .expect("accepted");
            assert!(matches!(shared.write_batch(), WriteOutcome::Wrote { .. }));
        }
    }
}

#[test]
fn damage_in_the_middle_affects_only_later_entries_of_that_log() {
    let disk = SimulatedDisk::new(1);
    two_logs(&disk, 5);
    // The third frame is the second entry of `a`.
    disk.tamper(1, |bytes| {
        let mut at = frame::HEADER;
        for _ in 0..2 {
            at += frame::length(&bytes[at..]).expect("a frame");
        }
        bytes[at + 60] ^= 1;
    });
    let shared = open(&disk, Config::default()).expect("damage is no reason not to start");
    assert_eq!(shared.damage.len(), 1);
    assert_eq!(read(&shared, &response(&shared, "a")), [text(0, "a0")]);
    assert_eq!(read(&shared, &response(&shared, "b")).len(), 5);
    // The log continues at the hole with other text; after another start, entries after the old
    // hole stay dropped.
    let a = response(&shared, "a");
    let epoch = a.acquire();
    shared.queue.append(&a, epoch, &[text(1, "other"), text(2, "words")]).expect("accepted");
    assert!(matches!(shared.write_batch(), WriteOutcome::Wrote { .. }));
    for _ in 0..2 {
        let again = open(&disk, Config::default()).expect("it starts");
        assert_eq!(
            read(&again, &response(&again, "a")),
            [text(0, "a0"), text(1, "other"), text(2, "words")]
        );
        assert_eq!(read(&again, &response(&again, "b")).len(), 5);
    }
    // The live frames of the damaged segment are copied, and it is removed.
    let again = open(&disk, Config::default()).expect("it starts");
    for candidate in again.segments.compaction_candidates(8) {
        assert!(again.copy_out(candidate));
    }
    again.write_out().expect("the copies are written");
    again.sweep();
    let clean = open(&disk, Config::default()).expect("it starts");
    assert_eq!(clean.damage, []);
    assert_eq!(
        read(&clean, &response(&clean, "a")),
        [text(0, "a0"), text(1, "other"), text(2, "words")]
    );
}

#[test]
fn a_damaged_segment_header_loses_nothing() {
    let disk = SimulatedDisk::new(1);
    two_logs(&disk, 3);
    disk.tamper(1, |bytes| bytes[..frame::HEADER].fill(0));
    let shared = open(&disk, Config::default()).expect("it starts");
    assert_eq!(shared.damage.len(), 1);
    assert_eq!(read(&shared, &response(&shared, "a")).len(), 3);
}

#[test]
fn a_tail_torn_anywhere_is_truncated() {
    let disk = SimulatedDisk::new(1);
    two_logs(&disk, 2);
    let mut whole = Vec::new();
    disk.tamper(1, |bytes| whole.clone_from(bytes));
    for cut in 0..whole.len() {
        disk.tamper(1, |bytes| *bytes = whole[..cut].to_vec());
        let shared = open(&disk, Config::default()).expect("it starts");
        let entries: usize =
            ["a", "b"].iter().map(|name| read(&shared, &response(&shared, name)).len()).sum();
        assert!(entries < 4, "{cut}");
        assert_eq!(shared.damage, []);
        assert!(cut < frame::HEADER || disk.bytes() <= cut as u64);
    }
}

#[test]
fn a_segment_of_a_newer_weir_and_a_foreign_file_are_rejected() {
    let disk = SimulatedDisk::new(1);
    two_logs(&disk, 1);
    disk.tamper(1, |bytes| {
        bytes[8] = 2;
        let checksum = crc32fast::hash(&bytes[..28]).to_le_bytes();
        bytes[28..32].copy_from_slice(&checksum);
    });
    assert!(matches!(
        open(&disk, Config::default()).err(),
        Some(JournalError::Newer { version: 2, .. })
    ));
    disk.tamper(1, |bytes| *bytes = b"something that somebody else wrote here".to_vec());
    assert!(matches!(open(&disk, Config::default()).err(), Some(JournalError::Foreign { .. })));
}

#[test]
fn a_missing_segment_loses_only_its_logs() {
    let disk = SimulatedDisk::new(1);
    let config = Config { segment_bytes: 1, ..Config::default() };
    let shared = open(&disk, config).expect("it starts");
    for (name, entry) in
        [("a", text(0, "a")), ("b", text(0, "b")), ("a", text(1, "a")), ("b", end(1))]
    {
        let response = response(&shared, name);
        shared.queue.append(&response, response.acquire(), &[entry]).expect("accepted");
        assert!(matches!(shared.write_batch(), WriteOutcome::Wrote { .. }));
    }
    super::super::disk::SegmentDisk::remove(&disk, 1).expect("the first segment is there");
    let shared = open(&disk, config).expect("it starts");
    assert!(lock(&shared.logs).get(&id("a")).is_none(), "it has no start any more");
    assert!(response(&shared, "b").has_ended());
}
