//! The journal as the engine uses it: the contract of a log with every durability, faults,
//! deletion, and many logs at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::log::{Log, LogError, LogState};
use engine::tasks::Tasks;
use engine::testing::log_laws::{self, entries, terminal};
use futures_util::future::FutureExt;
use protocol::entry::Entry;
use protocol::event::{Event, TextDelta};
use protocol::id::{ItemId, ResponseId};
use weir_store::Durability;
use weir_store::archive::Archive;
use weir_store::journal::config::Config;
use weir_store::journal::disk::{Directory, SegmentDisk};
use weir_store::journal::memory_archive::MemoryArchive;
use weir_store::journal::simulated::SimulatedDisk;
use weir_store::journal::{Journal, JournalError};

type Tested = Result<(), Box<dyn std::error::Error>>;

const DURABILITIES: [Durability; 3] = [Durability::Memory, Durability::Process, Durability::Disk];

async fn open(
    disk: impl SegmentDisk,
    archive: &MemoryArchive,
    config: Config,
) -> Result<Journal, JournalError> {
    Journal::open(Arc::new(disk), Arc::new(archive.clone()), config, Tasks::new()).await
}

fn id(name: &str) -> ResponseId {
    ResponseId::new(format!("resp_{name}"))
}

fn text(position: u64, text: &str) -> Entry {
    let (item_id, delta) = (ItemId::new("msg_1"), text);
    let delta = TextDelta { item_id, output_index: 0, content_index: 0, delta, logprobs: &[] };
    Entry::new(position, &Event::OutputTextDelta(delta))
}

async fn read(journal: &Journal, id: &ResponseId) -> Result<Vec<Entry>, LogError> {
    journal.open(id).await?.read(0, usize::MAX).await
}

/// Waits until everything that has ended is in the archive.
async fn archive_all(journal: &Journal) {
    while journal.logs() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_contract_holds_in_a_directory() -> Tested {
    let root = tempfile::tempdir()?;
    let count = std::sync::atomic::AtomicU64::new(0);
    for durability in DURABILITIES {
        for (segment_bytes, tail_bytes) in [(16 << 20, 16 << 10), (1, 0), (3_000, 700)] {
            let fresh = async || {
                let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let directory =
                    Directory::open(&root.path().join(count.to_string())).expect("a directory");
                let config = Config { durability, segment_bytes, tail_bytes, ..Config::default() };
                open(directory, &MemoryArchive::new(), config).await.expect("a journal")
            };
            log_laws::all(fresh, |journal| journal.flush().map(|_| ()).boxed()).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_contract_holds_with_short_writes() {
    for durability in DURABILITIES {
        let fresh = async || {
            let disk = SimulatedDisk::new(1);
            disk.faults(|faults| faults.short = Some(7));
            let config =
                Config { durability, segment_bytes: 2_000, tail_bytes: 300, ..Config::default() };
            open(disk, &MemoryArchive::new(), config).await.expect("a journal")
        };
        log_laws::all(fresh, |journal| journal.flush().map(|_| ()).boxed()).await;
    }
}

/// Breaks the disk, checks that readers are notified and nothing is kept, repairs it, and checks
/// that the journal continues without a restart.
async fn break_and_repair(
    durability: Durability,
    break_it: impl Fn(&SimulatedDisk),
    repair: impl Fn(&SimulatedDisk),
) -> Tested {
    let (disk, archive) = (SimulatedDisk::new(1), MemoryArchive::new());
    let config = Config { durability, ..Config::default() };
    let journal = open(disk.clone(), &archive, config).await?;
    let (one, two) = (id("one"), id("two"));
    let mut first = journal.take(&one)?;
    let mut second = journal.take(&two)?;
    first.append(&[text(0, "a")])?;
    second.append(&[text(0, "b")])?;
    journal.flush().await?;
    break_it(&disk);
    let mut seen = journal.open(&one).await?.progress();
    // It is accepted, and cannot be written.
    first.append(&[text(1, "c")])?;
    let progress_seen = *seen.wait_for(|progress| progress.state != LogState::Open).await?;
    assert_eq!((progress_seen.committed, progress_seen.state), (1, LogState::Failed));
    assert_eq!(second.append(&[text(1, "d")]), Err(LogError::Unavailable));
    assert_eq!(second.next_position(), 1, "what is refused is not kept");
    assert_eq!(journal.open(&two).await?.progress().borrow().state, LogState::Failed);
    assert_eq!(journal.take(&id("three")).err(), Some(LogError::Unavailable));
    assert_eq!(journal.flush().await, Err(LogError::Unavailable));
    assert_eq!(read(&journal, &one).await?.len(), 1, "what is committed can be read");
    repair(&disk);
    seen.wait_for(|progress| progress.committed == 2 && progress.state == LogState::Open).await?;
    let mut other = journal.open(&two).await?.progress();
    other.wait_for(|progress| progress.state == LogState::Open).await?;
    second.append(&[text(1, "e"), terminal(2)])?;
    first.append(&[terminal(2)])?;
    seen.wait_for(|progress| progress.state == LogState::Ended).await?;
    archive_all(&journal).await;
    assert_eq!(archive.get(&one), Some(vec![text(0, "a"), text(1, "c"), terminal(2)]));
    assert_eq!(archive.get(&two), Some(vec![text(0, "b"), text(1, "e"), terminal(2)]));
    drop(journal);
    assert!(open(disk.after_power_loss(), &archive, config).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_reported_and_recovers_with_free_space() -> Tested {
    for durability in [Durability::Process, Durability::Disk] {
        for room in [0, 1, 30, 100] {
            break_and_repair(
                durability,
                |disk| disk.faults(|now| now.room = Some(room)),
                |disk| disk.faults(|now| now.room = None),
            )
            .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_device_error_is_reported_and_recovers() -> Tested {
    for durability in [Durability::Process, Durability::Disk] {
        for truncate_fails in [false, true] {
            let change = |disk: &SimulatedDisk, fails: bool| {
                disk.faults(|now| {
                    now.write_fails = fails;
                    now.truncate_fails = fails && truncate_fails;
                });
            };
            break_and_repair(durability, |disk| change(disk, true), |disk| change(disk, false))
                .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_sync_is_never_simply_retried() -> Tested {
    let fail = |disk: &SimulatedDisk| disk.faults(|now| now.sync_fails = u32::MAX);
    break_and_repair(Durability::Disk, fail, |disk| disk.faults(|now| now.sync_fails = 0)).await?;
    // A single failure, which is easily missed: the lost bytes are written again, and survive.
    let (disk, archive) = (SimulatedDisk::new(1), MemoryArchive::new());
    let config = Config { durability: Durability::Disk, ..Config::default() };
    let journal = open(disk.clone(), &archive, config).await?;
    let mut writer = journal.take(&id("a"))?;
    disk.faults(|now| now.sync_fails = 1);
    writer.append(&[text(0, "a")])?;
    let mut seen = journal.open(&id("a")).await?.progress();
    seen.wait_for(|progress| progress.committed == 1).await?;
    let after = open(disk.after_power_loss(), &archive, config).await?;
    assert_eq!(read(&after, &id("a")).await?, [text(0, "a")]);
    assert_eq!(after.unfinished_logs(), [id("a")]);
    Ok(())
}

#[tokio::test]
async fn a_slow_sync_does_not_block_appends() -> Tested {
    let (disk, archive) = (SimulatedDisk::new(1), MemoryArchive::new());
    let config = Config { durability: Durability::Disk, backlog_bytes: 2_000, ..Config::default() };
    let journal = open(disk.clone(), &archive, config).await?;
    let mut writer = journal.take(&id("a"))?;
    disk.faults(|now| now.sync_hangs = true);
    for position in 0..100 {
        writer.append(&[text(position, "word")])?;
    }
    let backlog = writer.backlog().ok_or("a backlog")?;
    let mut seen = journal.open(&id("a")).await?.progress();
    assert_eq!(seen.borrow().committed, 0, "no reader sees what is not durable");
    disk.faults(|now| now.sync_hangs = false);
    seen.wait_for(|progress| progress.committed == 100).await?;
    backlog.await;
    assert!(disk.syncs() < 10, "many appends share a sync: {}", disk.syncs());
    Ok(())
}

#[tokio::test]
async fn an_unreadable_log_is_an_error_and_not_its_end() -> Tested {
    let (disk, archive) = (SimulatedDisk::new(1), MemoryArchive::new());
    let journal =
        open(disk.clone(), &archive, Config { tail_bytes: 0, ..Config::default() }).await?;
    let mut writer = journal.take(&id("a"))?;
    writer.append(&entries(0, 3))?;
    journal.flush().await?;
    disk.faults(|now| now.read_fails = true);
    assert_eq!(read(&journal, &id("a")).await, Err(LogError::Unavailable));
    disk.faults(|now| now.read_fails = false);
    assert_eq!(read(&journal, &id("a")).await, Ok(entries(0, 3)));
    Ok(())
}

#[tokio::test]
async fn a_restart_recovers_running_logs_and_archives_ended_ones() -> Tested {
    let root = tempfile::tempdir()?;
    let archive = MemoryArchive::new();
    let config = Config { tail_bytes: 0, ..Config::default() };
    let journal = open(Directory::open(root.path())?, &archive, config).await?;
    archive.set_broken(true);
    let mut running = journal.take(&id("running"))?;
    running.append(&entries(0, 50))?;
    let mut ended = journal.take(&id("ended"))?;
    ended.append(&[entries(0, 5), vec![terminal(5)]].concat())?;
    assert!(matches!(
        open(Directory::open(root.path())?, &archive, config).await,
        Err(JournalError::InUse { .. })
    ));
    let bytes = journal.bytes();
    drop(journal);
    archive.set_broken(false);
    let journal = open(Directory::open(root.path())?, &archive, config).await?;
    assert_eq!(journal.unfinished_logs(), [id("ended"), id("running")]);
    assert_eq!(journal.bytes(), bytes);
    let mut writer = journal.take(&id("running"))?;
    assert_eq!(writer.next_position(), 50);
    assert_eq!(read(&journal, &id("running")).await?, entries(0, 50));
    writer.append(&[terminal(50)])?;
    archive_all(&journal).await;
    assert_eq!(archive.count(), 2);
    let all = read(&journal, &id("running")).await?;
    assert_eq!((all.len(), all.last()), (51, Some(&terminal(50))));
    Ok(())
}

#[tokio::test]
async fn an_archived_log_replaces_a_truncated_copy() -> Tested {
    let (disk, archive) = (SimulatedDisk::new(1), MemoryArchive::new());
    let journal = open(disk.clone(), &archive, Config::default()).await?;
    journal.take(&id("a"))?.append(&entries(0, 3))?;
    journal.flush().await?;
    drop(journal);
    // The database has all of it; the power was lost before the journal had the rest.
    let whole = [entries(0, 5), vec![terminal(5)]].concat();
    archive.put(&id("a"), whole.clone()).await?;
    let journal = open(disk.after_crash(), &archive, Config::default()).await?;
    assert_eq!(read(&journal, &id("a")).await?, whole);
    assert_eq!(journal.open(&id("a")).await?.progress().borrow().state, LogState::Ended);
    Ok(())
}

#[tokio::test]
async fn readers_are_unaffected_by_archiving() -> Tested {
    let archive = MemoryArchive::new();
    let journal =
        open(SimulatedDisk::new(1), &archive, Config { tail_bytes: 100, ..Config::default() })
            .await?;
    let mut writer = journal.take(&id("a"))?;
    writer.append(&entries(0, 10))?;
    journal.flush().await?;
    let reader = journal.open(&id("a")).await?;
    let first = reader.read(0, 0).await?;
    writer.append(&[terminal(10)])?;
    archive_all(&journal).await;
    let rest = reader.read(1, usize::MAX).await?;
    assert_eq!([first, rest].concat(), [entries(0, 10), vec![terminal(10)]].concat());
    let mut seen = reader.progress();
    seen.borrow_and_update();
    journal.remove(&id("a")).await?;
    assert!(seen.changed().await.is_err());
    assert_eq!(reader.read(0, 0).await, Err(LogError::Missing));
    assert_eq!(archive.count(), 0);
    assert_eq!(journal.bytes(), 0);
    Ok(())
}

fn files_contain(directory: &Path, text: &[u8]) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let bytes = std::fs::read(entry?.path())?;
        if bytes.windows(text.len()).any(|window| window == text) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test]
async fn deletion_removes_every_byte_of_the_text() -> Tested {
    for durability in [Durability::Process, Durability::Disk] {
        for segment_bytes in [1, 1_000, 16 << 20] {
            let root = tempfile::tempdir()?;
            let archive = MemoryArchive::new();
            let config = Config { durability, segment_bytes, ..Config::default() };
            let journal = open(Directory::open(root.path())?, &archive, config).await?;
            let mut others = journal.take(&id("others"))?;
            for name in ["running", "archived"] {
                let mut writer = journal.take(&id(name))?;
                for position in 0..20 {
                    writer.append(&[text(position, "MARKER")])?;
                    others.append(&[text(others.next_position(), "stays")])?;
                }
                if name == "archived" {
                    writer.append(&[terminal(20)])?;
                }
            }
            journal.flush().await?;
            while journal.logs() > 2 {
                tokio::task::yield_now().await;
            }
            journal.remove(&id("archived")).await?;
            journal.remove(&id("running")).await?;
            journal.settled_deletions().await;
            assert!(!files_contain(root.path(), b"MARKER")?, "{durability:?} {segment_bytes}");
            assert_eq!(read(&journal, &id("others")).await?.len(), 40);
            drop((others, journal));
            let journal = open(Directory::open(root.path())?, &archive, config).await?;
            assert_eq!(journal.unfinished_logs(), [id("others")]);
            assert_eq!(read(&journal, &id("others")).await?.len(), 40);
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_removed_file_is_written_again() -> Tested {
    let (root, archive) = (tempfile::tempdir()?, MemoryArchive::new());
    let journal = open(Directory::open(root.path())?, &archive, Config::default()).await?;
    let mut writer = journal.take(&id("a"))?;
    for position in 0..40 {
        writer.append(&[text(position, "before")])?;
    }
    journal.flush().await?;
    let segment = root.path().join("0000000001.journal");
    std::fs::remove_file(&segment)?;
    // Paused time advances while no task is ready: the next check comes at once.
    while std::fs::read_dir(root.path())?.count() < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        writer.append(&[text(writer.next_position(), "after")])?;
    }
    journal.settled_deletions().await;
    journal.flush().await?;
    let all = read(&journal, &id("a")).await?;
    drop((writer, journal));
    let journal = open(Directory::open(root.path())?, &archive, Config::default()).await?;
    assert_eq!(read(&journal, &id("a")).await?, all, "the next start finds everything");
    assert!(all.len() > 40 && !segment.exists());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn segments_are_removed_despite_one_long_response() -> Tested {
    let (disk, archive) = (SimulatedDisk::new(1), MemoryArchive::new());
    let config = Config { segment_bytes: 2_000, closed_segments: 2, ..Config::default() };
    let journal = open(disk.clone(), &archive, config).await?;
    let mut long = journal.take(&id("long"))?;
    let mut many = 0;
    for round in 0..40 {
        long.append(&[text(round, "a word now and then")])?;
        let mut writer = journal.take(&id(&round.to_string()))?;
        writer.append(&entries(0, 5))?;
        writer.append(&[terminal(5)])?;
        journal.flush().await?;
        many = many.max(journal.segments());
    }
    while journal.segments() > 8 {
        // Paused time: the cleaner's next pass comes at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(many > 10, "{many}");
    assert_eq!(read(&journal, &id("long")).await?.len(), 40);
    drop((long, journal));
    let journal = open(disk.after_crash(), &archive, config).await?;
    assert_eq!(journal.unfinished_logs(), [id("long")]);
    assert_eq!(read(&journal, &id("long")).await?.len(), 40);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_logs_at_once() -> Tested {
    for durability in DURABILITIES {
        let root = tempfile::tempdir()?;
        let archive = MemoryArchive::new();
        let config =
            Config { durability, segment_bytes: 100_000, tail_bytes: 1_000, ..Config::default() };
        let tasks = Tasks::new();
        let journal = Journal::open(
            Arc::new(Directory::open(root.path())?),
            Arc::new(archive.clone()),
            config,
            tasks.clone(),
        )
        .await?;
        let journal = Arc::new(journal);
        let running = (0..1_000).map(|number| {
            let journal = Arc::clone(&journal);
            async move {
                let id = id(&number.to_string());
                let mut writer = journal.take(&id).expect("a log");
                let reader = journal.open(&id).await.expect("a reader");
                let mut seen = reader.progress();
                for position in 0..20 {
                    writer.append(&[text(position, &format!("{number}"))]).expect("accepted");
                    tokio::task::yield_now().await;
                }
                writer.append(&[terminal(20)]).expect("accepted");
                seen.wait_for(|progress| progress.state == LogState::Ended).await.expect("it ends");
                let all = reader.read(0, usize::MAX).await.expect("it is read");
                assert_eq!(all.len(), 21);
                assert_eq!(all[7], text(7, &format!("{number}")));
            }
        });
        for one in running {
            tasks.spawn("one", one);
        }
        while archive.count() < 1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_full_disk() -> Tested {
    let disk = SimulatedDisk::new(1);
    let tasks = Tasks::new();
    let config = Config::default();
    let journal = Journal::open(
        Arc::new(disk.clone()),
        Arc::new(MemoryArchive::new()),
        config,
        tasks.clone(),
    )
    .await?;
    disk.faults(|now| now.room = Some(0));
    journal.take(&id("a"))?.append(&entries(0, 1))?;
    assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    drop(journal);
    Ok(())
}
