//! Responses without readers: they take their events in later, and miss none when a reader comes.

use std::time::Duration;

use protocol::entry::Entry;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use weir_engine::feed::Feed;
use weir_engine::response::options::StartOptions;

use crate::stage::{alice, asking, say, stage, text};

/// Until everything waits.
const MOMENT: Duration = Duration::from_millis(1);

/// The rest of the 50 ms for which a response without readers lets its events gather.
const GATHER: Duration = Duration::from_millis(49);

/// Longer than anything here, and shorter than the timeouts of a silent upstream.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads until this text has come.
async fn read_to(feed: &mut Feed, last: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    while !entries.last().is_some_and(|entry: &Entry| {
        String::from_utf8_lossy(&entry.data).contains(&format!("\"delta\":\"{last}\""))
    }) {
        entries.extend(feed.next(usize::MAX).await.unwrap().unwrap());
    }
    entries
}

/// A reader and the next event come together, at each step of the response that takes in the events
/// before them.
#[tokio::test(start_paused = true)]
async fn an_event_that_comes_with_a_reader_is_read_at_once() {
    for steps in 0..16 {
        let stage = stage();
        let script = stage.script();
        let started =
            stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
        let id = started.id.clone();
        drop(started);
        say(&script, [text("one")]).await;
        // The event is in, and the next ones gather.
        sleep(MOMENT).await;
        say(&script, [text("two")]).await;
        sleep(GATHER).await;
        for _ in 0..steps {
            yield_now().await;
        }
        let mut feed = stage.engine.feed(&alice(), &id, None).await.unwrap();
        say(&script, [text("three")]).await;
        let entries = timeout(PATIENCE, read_to(&mut feed, "three")).await;
        assert!(entries.is_ok(), "after {steps} steps the event did not arrive");
    }
}
