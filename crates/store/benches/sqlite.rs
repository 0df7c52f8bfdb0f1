//! The cost of the database: a new response, the resume of an old one, and a start, with few and
//! with very many stored responses. `cargo bench -p weir-store --bench sqlite -- [--million]
//! [--directory PATH]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use engine::store::{RecordEnd, Removal, ResponseRecord, Store};
use engine::tasks::Tasks;
use protocol::entry::Entry;
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::{Item, Message, Part, Role};
use tokio::time::Instant;
use weir_store::Durability;
use weir_store::archive::Archive;
use weir_store::sqlite::{Database, tools};

/// Events of one response: some 200 tokens, a typical length.
const EVENTS: u64 = 200;

/// Responses that are created one by one; larger numbers are copies of them.
const BASE: u64 = 10_000;

/// How often each operation is measured.
const ROUNDS: u64 = 400;

/// Bytes that a reader takes at a time.
const BUDGET: usize = 64 << 10;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let given = arguments
        .iter()
        .position(|argument| argument == "--directory")
        .and_then(|at| arguments.get(at + 1));
    let temporary = tempfile::tempdir()?;
    let directory = given.map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    let counts: &[u64] = if has("--million") { &[10, 10_000, 1_000_000] } else { &[10, 10_000] };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!(
        "{EVENTS} events to an answer, {} bytes of data, {ROUNDS} rounds",
        log(0).iter().map(|entry| entry.data.len()).sum::<usize>()
    );
    for count in counts {
        let path = directory.join(format!("bench-{count}.db"));
        let started = Instant::now();
        runtime.block_on(prepare(&path, *count))?;
        println!("\n{count} answers stored, built in {:.1} s", started.elapsed().as_secs_f64());
        let length = fs::metadata(&path)?.len();
        println!(
            "  file                     {:>10.1} MiB, {} bytes an answer",
            mebibytes(length),
            length / count
        );
        for durability in [Durability::Process, Durability::Disk] {
            runtime.block_on(measure(&path, durability, *count))?;
        }
        if has("--tools") {
            let started = Instant::now();
            let checked = tools::check(&path, |_| {})?;
            println!(
                "  check                    {:>10.1} s, {} problems",
                started.elapsed().as_secs_f64(),
                checked.problems.len()
            );
        }
    }
    Ok(())
}

async fn measure(path: &Path, durability: Durability, count: u64) -> Outcome {
    let started = Instant::now();
    let database = Database::open(path, durability, Tasks::new())?;
    let opened = started.elapsed();
    let unfinished = database.unfinished().await?.len();
    println!("  {durability:?}");
    println!(
        "  start                    {:>10.2} ms, {:.2} with the list of what did not end ({unfinished})",
        ms(opened),
        ms(started.elapsed())
    );

    let cpu = cpu();
    let mut turns = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let number = 10_000_000 + count + round;
        let (id, input, output, log) =
            (id(number), vec![message(number, "q")], vec![message(number, "a")], log(number));
        let record = ResponseRecord { input: vec![input[0].id().clone()], ..record(number) };
        let started = Instant::now();
        database.insert(record, input).await?;
        turns[0].push(started.elapsed());
        let started = Instant::now();
        database.put(&id, log).await?;
        turns[1].push(started.elapsed());
        let started = Instant::now();
        database.finish(&id, RecordEnd::new(output, 2_000_000_000)).await?;
        turns[2].push(started.elapsed());
    }
    let spent = cpu_since(cpu);
    for (name, times) in ["insert", "put", "finish"].into_iter().zip(&mut turns) {
        println!("  {name:<24} {}", spread(times));
    }
    println!("  CPU of a whole turn      {:>10.1} us", spent / f64::from(u32::try_from(ROUNDS)?));

    // Ids spread over everything that is stored, each read for the first time.
    let mut resumes = Vec::new();
    for round in 0..ROUNDS.min(count) {
        let id = stored(round * 7_919 % count);
        let started = Instant::now();
        let found = Archive::find(&database, &id).await?;
        let first = Archive::read(&database, &id, 100, BUDGET).await?;
        resumes.push(started.elapsed());
        assert!(found == Some(EVENTS) && !first.is_empty(), "an answer is not there");
    }
    println!("  {:<24} {}", "resume to first bytes", spread(&mut resumes));
    let oldest = Instant::now();
    database.oldest_ended(None, 32).await?;
    println!("  32 oldest                {:>10.2} ms", ms(oldest.elapsed()));

    let mut removals = Vec::new();
    for round in 0..ROUNDS {
        let id = id(10_000_000 + count + round);
        let started = Instant::now();
        Archive::remove(&database, &id).await?;
        Store::remove(&database, &id, Removal::Deleted).await?;
        removals.push(started.elapsed());
    }
    println!("  {:<24} {}", "delete", spread(&mut removals));
    let settled = Instant::now();
    database.deletions_settled().await;
    println!("  until text is gone       {:>10.2} ms", ms(settled.elapsed()));
    database.close().await;
    Ok(())
}

/// A database with `count` responses. The first ten thousand are created as a server creates them;
/// the others are copies with other ids, since creating them takes a quarter of an hour.
async fn prepare(path: &Path, count: u64) -> Outcome {
    if path.exists() {
        return Ok(());
    }
    fill(path, count.min(BASE)).await?;
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; PRAGMA journal_mode = DELETE;",
    )?;
    for copy in 1..count.div_ceil(BASE) {
        connection.execute_batch(&format!(
            "BEGIN;
             INSERT INTO answers SELECT number + {copy} * {BASE}, id || '_{copy}', owner, state, readable, parent + {copy} * 2 * {BASE},
                 head + {copy} * 2 * {BASE}, ended_at, place FROM answers WHERE number <= {BASE};
             INSERT INTO items SELECT number + {copy} * 2 * {BASE}, id || '_{copy}', answer + {copy} * {BASE}, side,
                 parent + {copy} * 2 * {BASE}, json FROM items WHERE number <= 2 * {BASE};
             INSERT INTO logs SELECT number + {copy} * {BASE}, id || '_{copy}', entries, bytes FROM logs WHERE number <= {BASE};
             INSERT INTO chunks (log, first, raw_bytes, crc32, data) SELECT log + {copy} * {BASE}, first, raw_bytes, crc32, data
                 FROM chunks WHERE log <= {BASE};
             COMMIT;"
        ))?;
    }
    connection.execute_batch(
        "UPDATE totals SET item_bytes = (SELECT sum(octet_length(json)) FROM items), log_bytes = (SELECT sum(bytes) FROM logs);
         PRAGMA journal_mode = WAL;",
    )?;
    Ok(())
}

/// Many responses at once, so that they share few transactions.
async fn fill(path: &Path, count: u64) -> Outcome {
    let database = Database::open(path, Durability::Process, Tasks::new())?;
    for from in (0..count).step_by(100) {
        let turns = (from..count.min(from + 100)).map(|number| {
            let database = &database;
            async move {
                let input = vec![message(number, "q")];
                // Conversations of ten turns.
                let parent = (number % 10 > 0).then(|| message(number - 1, "a").id().clone());
                let record =
                    ResponseRecord { parent, input: vec![input[0].id().clone()], ..record(number) };
                database.insert(record, input).await?;
                database.put(&id(number), log(number)).await?;
                database
                    .finish(
                        &id(number),
                        RecordEnd::new(vec![message(number, "a")], 1_000_000_000 + number / 3),
                    )
                    .await?;
                Ok::<(), Box<dyn Error>>(())
            }
        });
        // One conversation after the other would be exact, but the order of turns does not matter
        // here.
        futures_util::future::try_join_all(turns).await?;
    }
    database.close().await;
    Ok(())
}

fn record(number: u64) -> ResponseRecord {
    ResponseRecord {
        id: id(number),
        owner: Owner::local(),
        parent: None,
        readable: true,
        input: Vec::new(),
        output: Vec::new(),
        head: None,
        ended_at: None,
    }
}

/// The events of a response with unique words.
#[expect(clippy::panic, reason = "a benchmark that makes no events measures nothing")]
fn log(number: u64) -> Vec<Entry> {
    let words = words(number);
    let mut words = words.split_inclusive(' ');
    let item = name("msg_a", number);
    let text = |position: u64, word: &str| {
        format!(
            "{{\"type\":\"response.output_text.delta\",\"sequence_number\":{position},\"item_id\":\"{item}\",\"output_index\":0,\
             \"content_index\":0,\"delta\":\"{word}\",\"logprobs\":[]}}"
        )
    };
    let entry = |position| {
        let data = if position + 1 == EVENTS {
            let text = self::words(number);
            format!(
                "{{\"type\":\"response.completed\",\"sequence_number\":{position},\"response\":{{\"id\":\"{item}\",\"text\":\"{text}\"}}}}"
            )
        } else {
            text(position, words.next().unwrap_or_default())
        };
        Entry::read(position, Bytes::from(data)).unwrap_or_else(|| panic!("entry {position}"))
    };
    (0..EVENTS).map(entry).collect()
}

/// As many words as a response has events; no two responses have the same.
fn words(number: u64) -> String {
    const WORDS: [&str; 16] = [
        "the ", "river ", "of ", "a ", "stream ", "and ", "holds ", "water ", "over ", "stones ",
        "which ", "it ", "slowly ", "carries ", "on ", "down ",
    ];
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::new();
    for _ in 0..EVENTS {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let index = usize::try_from(state >> 60).unwrap_or_default();
        text.push_str(WORDS.get(index).copied().unwrap_or("weir "));
        if (state >> 56).is_multiple_of(8) {
            text.pop();
            let _written = write!(text, "{} ", state >> 40 & 0xFFFF);
        }
    }
    text
}

fn message(number: u64, side: &str) -> Item {
    let content = vec![Part::input_text(if side == "q" {
        "How does a weir work?".into()
    } else {
        words(number)
    })];
    let id = ItemId::new(name(&format!("msg_{side}"), number));
    Item::Message(Message { id, ..Message::new(Role::User, content) })
}

/// The id of a stored response: the first ones have their own, copies a derived one.
fn stored(number: u64) -> ResponseId {
    let (copy, number) = (number / BASE, id(number % BASE));
    if copy == 0 { number } else { ResponseId::new(format!("{number}_{copy}")) }
}

fn id(number: u64) -> ResponseId {
    ResponseId::new(name("resp", number))
}

/// Ids in no order, like random ones.
fn name(prefix: &str, number: u64) -> String {
    let scattered = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{prefix}_{scattered:016x}{:016x}", scattered.rotate_left(29) ^ number)
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| {
        times.get((times.len() * part / 100).min(times.len() - 1)).copied().unwrap_or_default()
    };
    format!("{:>10.1} us p50, {:>8.1} p99, {:>8.1} most", us(at(50)), us(at(99)), us(at(100)))
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Clock ticks of CPU time of this process, if the system reports them.
fn cpu() -> Option<u64> {
    let line = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Microseconds of CPU time since then; a tick is a hundredth of a second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn cpu_since(then: Option<u64>) -> f64 {
    then.zip(cpu()).map_or(f64::NAN, |(then, now)| (now - then) as f64 * 1e4)
}
