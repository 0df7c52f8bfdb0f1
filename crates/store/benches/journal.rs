//! The cost of the journal: CPU per event, and how long an event waits before its reader may see
//! it.
//!
//! `cargo bench -p weir-store --bench journal`; `WEIR_BENCH_GIB=1` also measures a start with a
//! journal of that size.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a table for a person; what fails ends the measurement, and its numbers are small"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::log::{Log, LogState};
use engine::tasks::Tasks;
use protocol::entry::Entry;
use protocol::event::{Event, TextDelta};
use protocol::id::{ItemId, ResponseId};
use tokio::time::{Instant, sleep_until};
use weir_store::Durability;
use weir_store::journal::Journal;
use weir_store::journal::config::Config;
use weir_store::journal::disk::Directory;
use weir_store::journal::memory_archive::MemoryArchive;

/// One measurement.
#[derive(Clone, Copy)]
struct Case {
    durability: Durability,
    answers: u64,
    events: u64,
    /// Time between two events of one response. `None`: as fast as possible.
    pace: Option<Duration>,
}

fn text(position: u64) -> Entry {
    let (item_id, delta) = (ItemId::new("msg_0123456789abcdef0123456789abcdef"), " token");
    Entry::new(
        position,
        &Event::OutputTextDelta(TextDelta {
            item_id,
            output_index: 0,
            content_index: 0,
            delta,
            logprobs: &[],
        }),
    )
}

/// CPU seconds of this process, in user mode and in the kernel.
fn cpu() -> f64 {
    // Nanoseconds on the CPU, of each thread.
    let threads = std::fs::read_dir("/proc/self/task").expect("the threads of this process");
    let of = |path: &Path| {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0)
    };
    threads.filter_map(|thread| Some(of(&thread.ok()?.path()))).sum::<f64>() / 1e9
}

async fn open(path: &Path, durability: Durability, tasks: &Tasks) -> Journal {
    let config = Config { durability, ..Config::default() };
    let directory = Arc::new(Directory::open(path).expect("a directory"));
    Journal::open(directory, Arc::new(MemoryArchive::new()), config, tasks.clone())
        .await
        .expect("a journal")
}

/// One response and its reader. Without a `journal`: the cost of the measurement itself.
async fn one(
    journal: Option<Arc<Journal>>,
    number: u64,
    case: Case,
    delays: Arc<Mutex<Vec<u64>>>,
    tasks: Tasks,
) {
    let Some(journal) = journal else {
        let mut next = Instant::now();
        for position in 0..case.events {
            wait(&mut next, case.pace).await;
            std::hint::black_box(text(position));
        }
        return;
    };
    let id = ResponseId::new(format!("resp_{number:032x}"));
    let mut writer = journal.take(&id).expect("a log");
    let mut seen = journal.open(&id).await.expect("a reader").progress();
    let appended = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&appended);
    if case.pace.is_some() {
        tasks.spawn("reader", async move {
            let mut read = 0;
            while read < case.events {
                let progress = *seen.borrow_and_update();
                let now = Instant::now();
                let mine: Vec<u64> = {
                    let times = times.lock().expect("times");
                    let upto = usize::try_from(progress.committed).expect("a small number");
                    times[read as usize..upto]
                        .iter()
                        .map(|then: &Instant| (now - *then).as_nanos() as u64)
                        .collect()
                };
                read += mine.len() as u64;
                delays.lock().expect("delays").extend(mine);
                if progress.state == LogState::Ended
                    || (read < case.events && seen.changed().await.is_err())
                {
                    return;
                }
            }
        });
    }
    let mut next = Instant::now() + Duration::from_micros(number * 37 % 20_000);
    for position in 0..case.events {
        wait(&mut next, case.pace).await;
        let entry = text(position);
        if case.pace.is_some() {
            appended.lock().expect("times").push(Instant::now());
        }
        writer.append(&[entry]).expect("accepted");
        if let Some(backlog) = writer.backlog() {
            backlog.await;
        }
    }
    drop(writer);
}

async fn wait(next: &mut Instant, pace: Option<Duration>) {
    match pace {
        Some(pace) => {
            *next += pace;
            sleep_until(*next).await;
        }
        // As when tokens arrive from a socket.
        None => tokio::task::yield_now().await,
    }
}

/// Runs all responses. Returns seconds, CPU seconds, and the delays.
async fn run(journal: Option<Arc<Journal>>, case: Case) -> (f64, f64, Vec<u64>) {
    let delays = Arc::new(Mutex::new(Vec::new()));
    let tasks = Tasks::new();
    let (began, used) = (Instant::now(), cpu());
    for number in 0..case.answers {
        tasks.spawn(
            "answer",
            one(journal.clone(), number, case, Arc::clone(&delays), tasks.clone()),
        );
    }
    while tasks.running() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if let Some(journal) = &journal {
        journal.flush().await.expect("it is written");
    }
    let result = (began.elapsed().as_secs_f64(), cpu() - used);
    let mut delays = std::mem::take(&mut *delays.lock().expect("delays"));
    delays.sort_unstable();
    (result.0, result.1, delays)
}

async fn measure(root: &Path, case: Case) {
    let (_, without, _) = run(None, case).await;
    let path = root.join("journal");
    let tasks = Tasks::new();
    let journal = Arc::new(open(&path, case.durability, &tasks).await);
    let (seconds, used, delays) = run(Some(Arc::clone(&journal)), case).await;
    let events = (case.answers * case.events) as f64;
    let at = |share: f64| {
        delays
            .get((delays.len() as f64 * share) as usize)
            .map_or("-".to_owned(), |delay| format!("{:.0}", *delay as f64 / 1e3))
    };
    println!(
        "{:<8} {:>6} {:>7} {:>10.0} {:>8.2} {:>8.2} {:>8} {:>8}",
        format!("{:?}", case.durability).to_lowercase(),
        case.answers,
        case.pace.map_or("full".to_owned(), |pace| format!("{pace:?}")),
        events / seconds,
        used / events * 1e6,
        (used - without) / events * 1e6,
        at(0.5),
        at(0.99),
    );
    drop(journal);
    tasks.shutdown(Duration::from_secs(5)).await;
    std::fs::remove_dir_all(path).expect("it goes");
}

async fn start(root: &Path, gib: u64) {
    let path = root.join("large");
    let tasks = Tasks::new();
    let journal = open(&path, Durability::Process, &tasks).await;
    let events = (gib << 30) / 250;
    let mut writers: Vec<_> = (0..1_000)
        .map(|number| journal.take(&ResponseId::new(format!("resp_{number:032x}"))).expect("a log"))
        .collect();
    for position in 0..events / 1_000 {
        for writer in &mut writers {
            writer.append(&[text(position)]).expect("accepted");
        }
    }
    journal.flush().await.expect("it is written");
    drop((writers, journal));
    let began = Instant::now();
    let journal = open(&path, Durability::Process, &tasks).await;
    println!(
        "start with {gib} GiB, {} logs: {:.2} s",
        journal.unfinished_logs().len(),
        began.elapsed().as_secs_f64()
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let root =
        tempfile::tempdir_in(std::env::var("WEIR_BENCH_DIR").unwrap_or_else(|_| "/tmp".into()))
            .expect("a directory");
    println!(
        "durability answers pace    events/s   µs CPU  of which  p50 µs   p99 µs  (CPU: all, and the journal's part)"
    );
    for durability in [Durability::Memory, Durability::Process, Durability::Disk] {
        for (answers, events) in [(1, 50_000), (50, 5_000), (1_000, 300)] {
            measure(root.path(), Case { durability, answers, events, pace: None }).await;
        }
        for (answers, events) in [(1, 100), (50, 100), (1_000, 50)] {
            measure(
                root.path(),
                Case { durability, answers, events, pace: Some(Duration::from_millis(20)) },
            )
            .await;
        }
    }
    if let Some(gib) = std::env::var("WEIR_BENCH_GIB").ok().and_then(|text| text.parse().ok()) {
        start(root.path(), gib).await;
    }
}
