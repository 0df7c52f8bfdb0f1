//! The journal as the engine uses it: the laws of a log on every durability, faults, deletion, and many logs at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::log::{Log, LogError, LogLifetime, LogState};
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
use weir_store::journal::simulated::{Shelf, Simulated};
use weir_store::journal::{Journal, JournalError};

type Tested = Result<(), Box<dyn std::error::Error>>;

const DURABILITIES: [Durability; 3] = [Durability::Memory, Durability::Process, Durability::Disk];

async fn open(
    disk: impl SegmentDisk,
    shelf: &Shelf,
    config: Config,
) -> Result<Journal, JournalError> {
    Journal::open(Arc::new(disk), Arc::new(shelf.clone()), config, Tasks::new()).await
}

fn id(name: &str) -> ResponseId {
    ResponseId::new(format!("resp_{name}"))
}

fn text(position: u64, text: &str) -> Entry {
    let (item_id, delta) = (ItemId::new("msg_1"), text.into());
    let delta =
        TextDelta { item_id, output_index: 0, content_index: 0, delta, logprobs: Vec::new() };
    Entry::new(position, &Event::OutputTextDelta(delta))
}

async fn read(journal: &Journal, id: &ResponseId) -> Result<Vec<Entry>, LogError> {
    journal.open(id).await?.read(0, usize::MAX).await
}

/// Waits until everything that has ended is in the archive.
async fn put_away(journal: &Journal) {
    while journal.logs() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_laws_hold_in_a_directory() -> Tested {
    let root = tempfile::tempdir()?;
    let count = std::sync::atomic::AtomicU64::new(0);
    for durability in DURABILITIES {
        for (segment_bytes, tail_bytes) in [(16 << 20, 16 << 10), (1, 0), (3_000, 700)] {
            let fresh = async || {
                let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let directory =
                    Directory::open(&root.path().join(count.to_string())).expect("a directory");
                let config = Config { durability, segment_bytes, tail_bytes, ..Config::default() };
                open(directory, &Shelf::new(), config).await.expect("a journal")
            };
            log_laws::all(fresh, |journal| journal.flush().map(|_| ()).boxed()).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_laws_hold_where_writes_are_short() {
    for durability in DURABILITIES {
        let fresh = async || {
            let disk = Simulated::new(1);
            disk.faults(|faults| faults.short = Some(7));
            let config =
                Config { durability, segment_bytes: 2_000, tail_bytes: 300, ..Config::default() };
            open(disk, &Shelf::new(), config).await.expect("a journal")
        };
        log_laws::all(fresh, |journal| journal.flush().map(|_| ()).boxed()).await;
    }
}

/// Breaks the disk, sees that readers are told and nothing is kept, mends it, and sees that it goes on without a restart.
async fn break_and_repair(
    durability: Durability,
    break_it: impl Fn(&Simulated),
    mend: impl Fn(&Simulated),
) -> Tested {
    let (disk, shelf) = (Simulated::new(1), Shelf::new());
    let config = Config { durability, ..Config::default() };
    let journal = open(disk.clone(), &shelf, config).await?;
    let (one, two) = (id("one"), id("two"));
    let mut first = journal.take(&one, LogLifetime::Kept)?;
    let mut second = journal.take(&two, LogLifetime::Kept)?;
    first.append(&[text(0, "a")])?;
    second.append(&[text(0, "b")])?;
    journal.flush().await?;
    break_it(&disk);
    let mut seen = journal.open(&one).await?.progress();
    // It is taken, and cannot be written.
    first.append(&[text(1, "c")])?;
    let told = *seen.wait_for(|progress| progress.state != LogState::Open).await?;
    assert_eq!((told.committed, told.state), (1, LogState::Failed));
    assert_eq!(second.append(&[text(1, "d")]), Err(LogError::Unavailable));
    assert_eq!(second.next_position(), 1, "what is refused is not kept");
    assert_eq!(journal.open(&two).await?.progress().borrow().state, LogState::Failed);
    assert_eq!(journal.take(&id("three"), LogLifetime::Kept).err(), Some(LogError::Unavailable));
    assert_eq!(journal.flush().await, Err(LogError::Unavailable));
    assert_eq!(read(&journal, &one).await?.len(), 1, "what is committed can be read");
    mend(&disk);
    seen.wait_for(|progress| progress.committed == 2 && progress.state == LogState::Open).await?;
    let mut other = journal.open(&two).await?.progress();
    other.wait_for(|progress| progress.state == LogState::Open).await?;
    second.append(&[text(1, "e"), terminal(2)])?;
    first.append(&[terminal(2)])?;
    seen.wait_for(|progress| progress.state == LogState::Ended).await?;
    put_away(&journal).await;
    assert_eq!(shelf.get(&one), Some(vec![text(0, "a"), text(1, "c"), terminal(2)]));
    assert_eq!(shelf.get(&two), Some(vec![text(0, "b"), text(1, "e"), terminal(2)]));
    drop(journal);
    assert!(open(disk.after_power_loss(), &shelf, config).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_told_and_forgotten_when_there_is_room() -> Tested {
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
async fn an_error_of_the_device_is_told_and_forgotten_when_it_is_over() -> Tested {
    for durability in [Durability::Process, Durability::Disk] {
        for cut_fails in [false, true] {
            let change = |disk: &Simulated, fails: bool| {
                disk.faults(|now| {
                    now.write_fails = fails;
                    now.cut_fails = fails && cut_fails;
                });
            };
            break_and_repair(durability, |disk| change(disk, true), |disk| change(disk, false))
                .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_sync_that_fails_is_never_just_tried_again() -> Tested {
    let fail = |disk: &Simulated| disk.faults(|now| now.sync_fails = u32::MAX);
    break_and_repair(Durability::Disk, fail, |disk| disk.faults(|now| now.sync_fails = 0)).await?;
    // One failure that nobody would notice: what it lost is written again, and survives.
    let (disk, shelf) = (Simulated::new(1), Shelf::new());
    let config = Config { durability: Durability::Disk, ..Config::default() };
    let journal = open(disk.clone(), &shelf, config).await?;
    let mut writer = journal.take(&id("a"), LogLifetime::Kept)?;
    disk.faults(|now| now.sync_fails = 1);
    writer.append(&[text(0, "a")])?;
    let mut seen = journal.open(&id("a")).await?.progress();
    seen.wait_for(|progress| progress.committed == 1).await?;
    let after = open(disk.after_power_loss(), &shelf, config).await?;
    assert_eq!(read(&after, &id("a")).await?, [text(0, "a")]);
    assert_eq!(after.left_behind(), [id("a")]);
    Ok(())
}

#[tokio::test]
async fn a_slow_sync_holds_up_nobody_who_appends() -> Tested {
    let (disk, shelf) = (Simulated::new(1), Shelf::new());
    let config = Config { durability: Durability::Disk, backlog_bytes: 2_000, ..Config::default() };
    let journal = open(disk.clone(), &shelf, config).await?;
    let mut writer = journal.take(&id("a"), LogLifetime::Kept)?;
    disk.faults(|now| now.sync_hangs = true);
    for position in 0..100 {
        writer.append(&[text(position, "word")])?;
    }
    let backlog = writer.backlog().ok_or("a backlog")?;
    let mut seen = journal.open(&id("a")).await?.progress();
    assert_eq!(seen.borrow().committed, 0, "nobody sees what is not safe");
    disk.faults(|now| now.sync_hangs = false);
    seen.wait_for(|progress| progress.committed == 100).await?;
    backlog.await;
    assert!(disk.syncs() < 10, "many appends share a sync: {}", disk.syncs());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_not_the_end() -> Tested {
    let (disk, shelf) = (Simulated::new(1), Shelf::new());
    let journal = open(disk.clone(), &shelf, Config { tail_bytes: 0, ..Config::default() }).await?;
    let mut writer = journal.take(&id("a"), LogLifetime::Kept)?;
    writer.append(&entries(0, 3))?;
    journal.flush().await?;
    disk.faults(|now| now.read_fails = true);
    assert_eq!(read(&journal, &id("a")).await, Err(LogError::Unavailable));
    disk.faults(|now| now.read_fails = false);
    assert_eq!(read(&journal, &id("a")).await, Ok(entries(0, 3)));
    Ok(())
}

#[tokio::test]
async fn a_restart_finds_what_ran_and_moves_what_had_ended() -> Tested {
    let root = tempfile::tempdir()?;
    let shelf = Shelf::new();
    let config = Config { tail_bytes: 0, ..Config::default() };
    let journal = open(Directory::open(root.path())?, &shelf, config).await?;
    shelf.set_broken(true);
    let mut running = journal.take(&id("running"), LogLifetime::Kept)?;
    running.append(&entries(0, 50))?;
    let mut ended = journal.take(&id("ended"), LogLifetime::Kept)?;
    ended.append(&[entries(0, 5), vec![terminal(5)]].concat())?;
    let mut fleeting = journal.take(&id("fleeting"), LogLifetime::Ephemeral)?;
    fleeting.append(&entries(0, 1))?;
    assert!(matches!(
        open(Directory::open(root.path())?, &shelf, config).await,
        Err(JournalError::InUse { .. })
    ));
    let bytes = journal.bytes();
    drop(journal);
    shelf.set_broken(false);
    let journal = open(Directory::open(root.path())?, &shelf, config).await?;
    assert_eq!(journal.left_behind(), [id("ended"), id("running")]);
    assert!(journal.bytes() > 0 && journal.bytes() < bytes);
    let mut writer = journal.take(&id("running"), LogLifetime::Kept)?;
    assert_eq!(writer.next_position(), 50);
    assert_eq!(read(&journal, &id("running")).await?, entries(0, 50));
    writer.append(&[terminal(50)])?;
    put_away(&journal).await;
    assert_eq!(shelf.count(), 2);
    let all = read(&journal, &id("running")).await?;
    assert_eq!((all.len(), all.last()), (51, Some(&terminal(50))));
    assert_eq!(journal.open(&id("fleeting")).await.err(), Some(LogError::Missing));
    Ok(())
}

#[tokio::test]
async fn a_copy_without_its_tail_gives_way_to_the_archive() -> Tested {
    let (disk, shelf) = (Simulated::new(1), Shelf::new());
    let journal = open(disk.clone(), &shelf, Config::default()).await?;
    journal.take(&id("a"), LogLifetime::Kept)?.append(&entries(0, 3))?;
    journal.flush().await?;
    drop(journal);
    // The database has all of it; the power went before the journal had the rest.
    let whole = [entries(0, 5), vec![terminal(5)]].concat();
    shelf.put(&id("a"), whole.clone()).await?;
    let journal = open(disk.after_crash(), &shelf, Config::default()).await?;
    assert_eq!(read(&journal, &id("a")).await?, whole);
    assert_eq!(journal.open(&id("a")).await?.progress().borrow().state, LogState::Ended);
    Ok(())
}

#[tokio::test]
async fn a_reader_does_not_notice_that_its_log_moves() -> Tested {
    let shelf = Shelf::new();
    let journal =
        open(Simulated::new(1), &shelf, Config { tail_bytes: 100, ..Config::default() }).await?;
    let mut writer = journal.take(&id("a"), LogLifetime::Kept)?;
    writer.append(&entries(0, 10))?;
    journal.flush().await?;
    let reader = journal.open(&id("a")).await?;
    let first = reader.read(0, 0).await?;
    writer.append(&[terminal(10)])?;
    put_away(&journal).await;
    let rest = reader.read(1, usize::MAX).await?;
    assert_eq!([first, rest].concat(), [entries(0, 10), vec![terminal(10)]].concat());
    let mut seen = reader.progress();
    seen.borrow_and_update();
    journal.remove(&id("a")).await?;
    assert!(seen.changed().await.is_err());
    assert_eq!(reader.read(0, 0).await, Err(LogError::Missing));
    assert_eq!(shelf.count(), 0);
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
async fn deletion_leaves_no_byte_of_the_text() -> Tested {
    for durability in [Durability::Process, Durability::Disk] {
        for segment_bytes in [1, 1_000, 16 << 20] {
            let root = tempfile::tempdir()?;
            let shelf = Shelf::new();
            let config = Config { durability, segment_bytes, ..Config::default() };
            let journal = open(Directory::open(root.path())?, &shelf, config).await?;
            let mut others = journal.take(&id("others"), LogLifetime::Kept)?;
            for name in ["running", "archived"] {
                let mut writer = journal.take(&id(name), LogLifetime::Kept)?;
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
            let journal = open(Directory::open(root.path())?, &shelf, config).await?;
            assert_eq!(journal.left_behind(), [id("others")]);
            assert_eq!(read(&journal, &id("others")).await?.len(), 40);
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_taken_away_is_written_again() -> Tested {
    let (root, shelf) = (tempfile::tempdir()?, Shelf::new());
    let journal = open(Directory::open(root.path())?, &shelf, Config::default()).await?;
    let mut writer = journal.take(&id("a"), LogLifetime::Kept)?;
    for position in 0..40 {
        writer.append(&[text(position, "before")])?;
    }
    journal.flush().await?;
    let segment = root.path().join("0000000001.journal");
    std::fs::remove_file(&segment)?;
    // Paused time passes while nothing is ready: the next look comes at once.
    while std::fs::read_dir(root.path())?.count() < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        writer.append(&[text(writer.next_position(), "after")])?;
    }
    journal.settled_deletions().await;
    journal.flush().await?;
    let all = read(&journal, &id("a")).await?;
    drop((writer, journal));
    let journal = open(Directory::open(root.path())?, &shelf, Config::default()).await?;
    assert_eq!(read(&journal, &id("a")).await?, all, "the next start finds everything");
    assert!(all.len() > 40 && !segment.exists());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn segments_go_when_nothing_runs_and_one_long_answer_does_not_keep_them() -> Tested {
    let (disk, shelf) = (Simulated::new(1), Shelf::new());
    let config = Config { segment_bytes: 2_000, closed_segments: 2, ..Config::default() };
    let journal = open(disk.clone(), &shelf, config).await?;
    let mut long = journal.take(&id("long"), LogLifetime::Kept)?;
    let mut many = 0;
    for round in 0..40 {
        long.append(&[text(round, "a word now and then")])?;
        let mut writer = journal.take(&id(&round.to_string()), LogLifetime::Kept)?;
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
    let journal = open(disk.after_crash(), &shelf, config).await?;
    assert_eq!(journal.left_behind(), [id("long")]);
    assert_eq!(read(&journal, &id("long")).await?.len(), 40);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_logs_at_once() -> Tested {
    for durability in DURABILITIES {
        let root = tempfile::tempdir()?;
        let shelf = Shelf::new();
        let config =
            Config { durability, segment_bytes: 100_000, tail_bytes: 1_000, ..Config::default() };
        let tasks = Tasks::new();
        let journal = Journal::open(
            Arc::new(Directory::open(root.path())?),
            Arc::new(shelf.clone()),
            config,
            tasks.clone(),
        )
        .await?;
        let journal = Arc::new(journal);
        let running = (0..1_000).map(|number| {
            let journal = Arc::clone(&journal);
            async move {
                let id = id(&number.to_string());
                let mut writer = journal.take(&id, LogLifetime::Kept).expect("a log");
                let reader = journal.open(&id).await.expect("a reader");
                let mut seen = reader.progress();
                for position in 0..20 {
                    writer.append(&[text(position, &format!("{number}"))]).expect("it is taken");
                    tokio::task::yield_now().await;
                }
                writer.append(&[terminal(20)]).expect("it is taken");
                seen.wait_for(|progress| progress.state == LogState::Ended).await.expect("it ends");
                let all = reader.read(0, usize::MAX).await.expect("it is read");
                assert_eq!(all.len(), 21);
                assert_eq!(all[7], text(7, &format!("{number}")));
            }
        });
        for one in running {
            tasks.spawn("one", one);
        }
        while shelf.count() < 1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_disk_that_is_full() -> Tested {
    let disk = Simulated::new(1);
    let tasks = Tasks::new();
    let config = Config::default();
    let journal =
        Journal::open(Arc::new(disk.clone()), Arc::new(Shelf::new()), config, tasks.clone())
            .await?;
    disk.faults(|now| now.room = Some(0));
    journal.take(&id("a"), LogLifetime::Kept)?.append(&entries(0, 1))?;
    assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    drop(journal);
    Ok(())
}
