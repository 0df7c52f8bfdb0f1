//! Tests of the journal's internals.

mod power;
mod recovery;

use std::sync::Arc;

use engine::tasks::Tasks;
use engine::testing::log_laws;
use protocol::entry::Entry;
use protocol::event::{Event, TextDelta};
use protocol::id::{ItemId, ResponseId};

use super::config::Config;
use super::log::{EntryLocation, JournalLog};
use super::memory_archive::MemoryArchive;
use super::reader::read_frames;
use super::shared::JournalInner;
use super::simulated::SimulatedDisk;
use super::{JournalError, recover};

/// A journal without a thread and without tasks: the test runs every step.
fn open(disk: &SimulatedDisk, config: Config) -> Result<Arc<JournalInner>, JournalError> {
    let recovered = recover::recover(disk, config.durability)?;
    let shared = Arc::new(JournalInner::new(
        Arc::new(disk.clone()),
        Arc::new(MemoryArchive::new()),
        config,
        Tasks::new(),
        recovered,
    ));
    shared.renew()?;
    Ok(shared)
}

/// All committed entries, without a runtime.
fn read(shared: &JournalInner, response: &JournalLog) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let more = match response.locate(entries.len() as u64, usize::MAX, true) {
            EntryLocation::Here(more) => return [entries, more].concat(),
            EntryLocation::Files(places) => {
                let files = places.iter().filter_map(|place| {
                    Some((place.segment, shared.segments.file(place.segment)?))
                });
                let read =
                    read_frames(&files.collect(), &places, entries.len() as u64, usize::MAX, true);
                read.expect("a frame in the index can be read").0
            }
            EntryLocation::Archive | EntryLocation::Nowhere => panic!("not in the journal"),
        };
        assert!(!more.is_empty(), "frames in the index hold what they should");
        entries.extend(more);
    }
}

fn id(name: &str) -> ResponseId {
    ResponseId::new(format!("resp_{name}"))
}

fn text(position: u64, text: &str) -> Entry {
    let (item_id, delta) = (ItemId::new("msg_1"), text);
    let delta = TextDelta { item_id, output_index: 0, content_index: 0, delta, logprobs: &[] };
    Entry::new(position, &Event::OutputTextDelta(delta))
}

fn end(position: u64) -> Entry {
    log_laws::terminal(position)
}
