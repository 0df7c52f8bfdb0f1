//! The laws of a log. Each takes a new one; `settle` makes it commit what was appended.
//!
//! A broken law panics with its description.
#![expect(
    clippy::panic,
    clippy::unused_async,
    reason = "a broken law has to end the test that runs it; all laws are called alike"
)]

use futures_util::future::BoxFuture;
use protocol::entry::Entry;
use protocol::event::{Event, Snapshot};
use protocol::id::ResponseId;
use protocol::request::Create;
use protocol::response::{Response, ResponseStatus};

use crate::log::{Log, LogError, LogState, LogWriter};

/// A log under test and the way to make it commit.
pub struct LogUnderTest<'a> {
    /// The log.
    pub log: &'a dyn Log,
    /// Commits what was appended.
    pub settle: &'a dyn Fn() -> BoxFuture<'a, ()>,
}

/// Runs every law on logs that `fresh` makes, each with its way to settle.
pub async fn all<L: Log>(fresh: impl AsyncFn() -> L, settle: impl Fn(&L) -> BoxFuture<'_, ()>) {
    macro_rules! law {
        ($name:ident) => {{
            let log = fresh().await;
            $name(LogUnderTest { log: &log, settle: &|| settle(&log) }).await;
        }};
    }
    law!(entries_come_back_as_they_went_in);
    law!(positions_are_dense);
    law!(nothing_follows_the_end);
    law!(a_later_writer_fences_the_earlier);
    law!(a_budget_bounds_a_read_but_never_to_nothing);
    law!(an_unknown_log_is_missing);
    law!(a_removed_log_is_gone);
    law!(logs_do_not_mix);
    law!(a_long_log_is_read_from_anywhere);
    law!(bytes_are_given_back);
}

async fn entries_come_back_as_they_went_in(subject: LogUnderTest<'_>) {
    let id = id("a");
    let mut writer = take(&subject, &id);
    let entries = entries(0, 5);
    append(&mut *writer, &entries);
    (subject.settle)().await;
    require(read(&subject, &id, 0).await == entries, "entries come back as they went in");
    require(read(&subject, &id, 3).await == entries[3..], "a read starts at its position");
}

async fn positions_are_dense(subject: LogUnderTest<'_>) {
    let mut writer = take(&subject, &id("a"));
    append(&mut *writer, &entries(0, 2));
    require(writer.append(&entries(3, 4)) == Err(LogError::Gap), "a gap is refused");
    require(writer.append(&entries(1, 3)) == Err(LogError::Gap), "a repetition is refused");
    require(writer.next_position() == 2, "what is refused leaves nothing");
    append(&mut *writer, &entries(2, 3));
}

async fn nothing_follows_the_end(subject: LogUnderTest<'_>) {
    let id = id("a");
    let mut writer = take(&subject, &id);
    append(&mut *writer, &entries(0, 1));
    append(&mut *writer, &[terminal(1)]);
    require(
        writer.append(&entries(2, 3)) == Err(LogError::Ended),
        "nothing follows the terminal event",
    );
    (subject.settle)().await;
    let Ok(reader) = subject.log.open(&id).await else { panic!("a finished log can be opened") };
    let progress = *reader.progress().borrow();
    require(
        (progress.committed, progress.state) == (2, LogState::Ended),
        "a committed terminal event ends the log",
    );
}

async fn a_later_writer_fences_the_earlier(subject: LogUnderTest<'_>) {
    let id = id("a");
    let mut first = take(&subject, &id);
    append(&mut *first, &entries(0, 2));
    (subject.settle)().await;
    let mut second = take(&subject, &id);
    require(second.next_position() == 2, "a later writer goes on where the log ends");
    require(first.append(&entries(2, 3)) == Err(LogError::Fenced), "a fenced writer cannot append");
    append(&mut *second, &entries(2, 3));
}

async fn a_budget_bounds_a_read_but_never_to_nothing(subject: LogUnderTest<'_>) {
    let id = id("a");
    let mut writer = take(&subject, &id);
    let entries = entries(0, 10);
    append(&mut *writer, &entries);
    (subject.settle)().await;
    let Ok(reader) = subject.log.open(&id).await else { panic!("a log can be opened") };
    let one = reader.read(0, 1).await.unwrap_or_default();
    require(one.len() == 1, "a budget of a byte gives one entry");
    let budget = entries[0].data.len() + entries[1].data.len();
    let two = reader.read(0, budget).await.unwrap_or_default();
    require(two.len() == 2, "a budget for two entries gives two");
}

async fn an_unknown_log_is_missing(subject: LogUnderTest<'_>) {
    require(
        subject.log.open(&id("unknown")).await.err() == Some(LogError::Missing),
        "an unknown log is missing",
    );
}

async fn a_removed_log_is_gone(subject: LogUnderTest<'_>) {
    let id = id("a");
    let mut writer = take(&subject, &id);
    append(&mut *writer, &[terminal(0)]);
    (subject.settle)().await;
    let Ok(reader) = subject.log.open(&id).await else { panic!("a log can be opened") };
    let mut progress = reader.progress();
    drop(writer);
    require(subject.log.remove(&id).await == Ok(()), "a log is removed");
    require(
        subject.log.open(&id).await.err() == Some(LogError::Missing),
        "a removed log cannot be opened",
    );
    progress.borrow_and_update();
    require(progress.changed().await.is_err(), "readers of a removed log learn of it");
}

async fn logs_do_not_mix(subject: LogUnderTest<'_>) {
    let (one, two) = (id("one"), id("two"));
    let (mut first, mut second) = (take(&subject, &one), take(&subject, &two));
    append(&mut *first, &entries(0, 3));
    append(&mut *second, &entries(0, 1));
    (subject.settle)().await;
    require(
        read(&subject, &one, 0).await.len() == 3 && read(&subject, &two, 0).await.len() == 1,
        "logs do not mix",
    );
}

async fn a_long_log_is_read_from_anywhere(subject: LogUnderTest<'_>) {
    let id = id("a");
    let mut writer = take(&subject, &id);
    let entries = entries(0, 400);
    for pair in entries.chunks(2) {
        append(&mut *writer, pair);
    }
    (subject.settle)().await;
    for from in [0_usize, 1, 2, 199, 398, 399] {
        require(
            read_on(&subject, &id, from as u64, 3000).await == entries[from..],
            "a long log is read from anywhere",
        );
    }
    append(&mut *writer, &[terminal(400)]);
    (subject.settle)().await;
    let all = read_on(&subject, &id, 0, 3000).await;
    require(
        all.len() == 401 && all[..400] == entries[..] && all[400] == terminal(400),
        "also when it has ended",
    );
}

async fn bytes_are_given_back(subject: LogUnderTest<'_>) {
    let id = id("a");
    let before = subject.log.bytes();
    let mut writer = take(&subject, &id);
    append(&mut *writer, &entries(0, 10));
    (subject.settle)().await;
    require(subject.log.bytes() > before, "a log weighs something");
    drop(writer);
    require(subject.log.remove(&id).await == Ok(()), "a log is removed");
    require(subject.log.bytes() == before, "a removed log weighs nothing");
}

fn take(subject: &LogUnderTest<'_>, id: &ResponseId) -> Box<dyn LogWriter> {
    match subject.log.take(id) {
        Ok(writer) => writer,
        Err(error) => panic!("a log can be taken: {error}"),
    }
}

fn append(writer: &mut dyn LogWriter, entries: &[Entry]) {
    require(writer.append(entries) == Ok(()), "entries in order are taken");
}

async fn read(subject: &LogUnderTest<'_>, id: &ResponseId, from: u64) -> Vec<Entry> {
    let Ok(reader) = subject.log.open(id).await else { panic!("a log can be opened") };
    reader.read(from, usize::MAX).await.unwrap_or_default()
}

/// Reads to the watermark, `budget` bytes at a time.
async fn read_on(
    subject: &LogUnderTest<'_>,
    id: &ResponseId,
    from: u64,
    budget: usize,
) -> Vec<Entry> {
    let Ok(reader) = subject.log.open(id).await else { panic!("a log can be opened") };
    let committed = reader.progress().borrow().committed;
    let mut all = Vec::new();
    while from + (all.len() as u64) < committed {
        let more = reader.read(from + all.len() as u64, budget).await.unwrap_or_default();
        require(!more.is_empty(), "what is committed can be read");
        all.extend(more);
    }
    all
}

fn require(holds: bool, law: &str) {
    assert!(holds, "broken law: {law}");
}

fn id(name: &str) -> ResponseId {
    ResponseId::new(format!("resp_{name}"))
}

/// Entries at the positions from `from` up to `to`, which are not the end.
pub fn entries(from: u64, to: u64) -> Vec<Entry> {
    (from..to).map(|position| entry(position, ResponseStatus::InProgress)).collect()
}

/// A terminal entry at `position`.
pub fn terminal(position: u64) -> Entry {
    entry(position, ResponseStatus::Completed)
}

fn entry(position: u64, status: ResponseStatus) -> Entry {
    let response = Response { status, ..Response::accepted(id("x"), 0, &request("demo")) };
    let event = if status.is_terminal() {
        Event::terminal(&response)
    } else {
        Event::InProgress(Snapshot { response: &response })
    };
    Entry::new(position, &event)
}

/// The smallest streamed request for `model`, for tests.
pub fn request(model: &str) -> Create {
    Create { stream: true, ..Create::new(model) }
}
