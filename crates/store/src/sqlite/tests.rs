//! Tests of the database's internals: a full disk, one failing change among others, foreign
//! schemas.

use std::error::Error;
use std::path::Path;

use bytes::Bytes;
use engine::log::LogError;
use engine::store::{RecordEnd, RecordLookup, Removal, ResponseRecord, Store, StoreError};
use engine::tasks::Tasks;
use protocol::entry::Entry;
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::{Item, Message, Part, Role};

mod steps;

use super::error::DatabaseError;
use super::failure::JobFailure;
use super::{Database, open, schema, tools};
use crate::Durability;
use crate::archive::Archive;

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::test]
async fn a_full_disk_is_reported_and_survived() -> Outcome {
    for durability in [Durability::Process, Durability::Disk] {
        let directory = tempfile::tempdir()?;
        let database = Database::open(&directory.path().join("weir.db"), durability, Tasks::new())?;
        for number in 0..20 {
            turn(&database, number).await?;
        }
        let pages: i64 = pragma(&database, "page_count").await?;
        limit(&database, pages).await?;
        let mut refused = Vec::new();
        for number in 20..60 {
            match turn(&database, number).await {
                Ok(()) => {}
                Err(error) => refused.push((number, error)),
            }
        }
        assert!(
            !refused.is_empty()
                && refused.iter().all(|(_, error)| *error == StoreError::Unavailable),
            "{refused:?}"
        );
        assert!(!database.figures().writes, "it is known that nothing can be written");
        assert!(database.figures().reads);
        for (number, _) in &refused {
            // Refused changes have left nothing; accepted ones are stored.
            let record = Store::find(&database, &id(*number)).await?;
            let log = Archive::find(&database, &id(*number)).await?;
            assert!(log.is_none() || matches!(record, RecordLookup::Record(_)), "{number}");
        }
        let checked = tools::check(&directory.path().join("weir.db"), |_| {})?;
        assert_eq!(checked.problems, Vec::<String>::new(), "nothing is half written");
        // Reading and deleting still work, which is how space is freed.
        assert_eq!(Archive::read(&database, &id(3), 0, usize::MAX).await?.len(), 200);
        for number in 0..10 {
            Archive::remove(&database, &id(number)).await?;
            Store::remove(&database, &id(number), Removal::Deleted).await?;
        }
        turn(&database, 100).await?;
        assert!(database.figures().writes, "there is room again");
        limit(&database, 1_000_000).await?;
        for number in 200..240 {
            turn(&database, number).await?;
        }
        assert_eq!(
            tools::check(&directory.path().join("weir.db"), |_| {})?.problems,
            Vec::<String>::new()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_failing_change_does_not_affect_others() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database =
        Database::open(&directory.path().join("weir.db"), Durability::Process, Tasks::new())?;
    // Holds the writer until the others are queued, so that all of them are in one transaction.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holding = database.write(move |_change| {
        held.recv().map_err(|_closed| JobFailure::Damaged("the test ended early"))
    });
    let others = async {
        let good = |number| Store::insert(&database, record(number), Vec::new());
        let bad = database.write(|change| {
            change
                .connection
                .execute("INSERT INTO heads VALUES ('alice', 'half', 'resp_1', 1)", [])?;
            change.log_bytes += 77;
            change.connection.execute("INSERT INTO nowhere VALUES (1)", [])?;
            Ok(())
        });
        let let_go = async { release.send(()).map_err(|_gone| StoreError::Unavailable) };
        futures_util::future::join5(good(1), bad, good(1), good(2), let_go).await
    };
    let before = database.figures().commits;
    let (held, (first, bad, taken, second, let_go)) =
        futures_util::future::join(holding, others).await;
    assert_eq!((held, let_go), (Ok(()), Ok(())));
    assert_eq!(
        (first, bad, taken, second),
        (Ok(()), Err(StoreError::Unavailable), Err(StoreError::Taken), Ok(()))
    );
    assert!(database.figures().commits <= before + 2, "they came together");
    assert_eq!(
        Store::head(&database, &Owner::new("alice"), "half").await,
        Ok(None),
        "nothing of it is left"
    );
    assert_eq!(Archive::bytes(&database), 0);
    assert!(matches!(Store::find(&database, &id(2)).await, Ok(RecordLookup::Record(_))));
    Ok(())
}

#[tokio::test]
async fn a_panicking_query_loses_no_connection() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database =
        Database::open(&directory.path().join("weir.db"), Durability::Process, Tasks::new())?;
    for _ in 0..10 {
        let asked: Result<(), _> = database.read(|_connection| panic!("a test panics")).await;
        assert_eq!(asked, Err(StoreError::Unavailable));
    }
    assert_eq!(Store::find(&database, &id(1)).await, Ok(RecordLookup::Missing));
    Ok(())
}

#[test]
fn an_older_schema_is_migrated() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("weir.db");
    let steps = [
        "CREATE TABLE one (a)",
        "CREATE TABLE two (b); INSERT INTO one VALUES (7)",
        "CREATE TABLE one (c)",
    ];
    open::create(&path)?;
    let mut connection = open::connect(&path, Durability::Process)?;
    schema::migrate(&path, &mut connection, &steps[..1])?;
    schema::migrate(&path, &mut connection, &steps[..2])?;
    schema::migrate(&path, &mut connection, &steps[..2])?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    assert_eq!(
        (count("SELECT count(*) FROM one")?, count("PRAGMA user_version")?),
        (1, 2),
        "each step is made once"
    );

    assert!(schema::migrate(&path, &mut connection, &steps).is_err(), "a step that fails");
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    assert_eq!(version, 2, "leaves everything as it was");
    let older = schema::migrate(&path, &mut connection, &steps[..1]);
    assert!(matches!(older, Err(DatabaseError::Newer { found: 2, known: 1, .. })));
    Ok(())
}

#[tokio::test]
async fn no_lookup_scans_a_table() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database =
        Database::open(&directory.path().join("weir.db"), Durability::Process, Tasks::new())?;
    let questions = [
        "SELECT number FROM answers WHERE id = 'a' AND state <= 1",
        "SELECT number FROM answers WHERE state = 1 ORDER BY ended_at, place LIMIT 32",
        "SELECT number FROM answers WHERE state = 0 ORDER BY number",
        "SELECT COALESCE(max(place), 0) FROM answers WHERE state = 2",
        "SELECT number FROM answers WHERE state = 2 AND place <= 3 ORDER BY place LIMIT 2",
        "SELECT COALESCE(max(place), 0) + 1 FROM answers WHERE state = 1 AND ended_at = 4",
        "SELECT id, side FROM items WHERE answer = 1 ORDER BY number",
        "SELECT 1 FROM items below WHERE below.parent = 1",
        "SELECT 1 FROM answers WHERE answers.parent = 1",
        "DELETE FROM claims WHERE answer = 'a'",
        "DELETE FROM heads WHERE used_at < 4",
        "SELECT data FROM chunks WHERE log = 1 AND first <= 4 ORDER BY first DESC LIMIT 1",
        "DELETE FROM chunks WHERE log = 1",
    ];
    for question in questions {
        let plan = database.read(move |connection| {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {question}"))?;
            let plan = explain
                .query_map([], |row| row.get::<_, String>(3))?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(plan.join("; "))
        });
        let plan = plan.await?;
        let is_indexed = plan.contains("INDEX") || plan.contains("PRIMARY KEY");
        assert!(is_indexed && !plan.contains("TEMP B-TREE"), "{question}: {plan}");
    }
    Ok(())
}

#[tokio::test]
async fn free_pages_are_released_in_steps() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("weir.db");
    let database = Database::open(&path, Durability::Process, Tasks::new())?;
    database.put(&id(0), vec![entry(0, "response.completed", "")]).await?;
    // Compressing as much data would take too long for a test: large logs of random bytes.
    let large = "INSERT INTO logs (number, id, entries, bytes) SELECT value + 10, 'resp_' || value, 1, 0 FROM \
                 (WITH RECURSIVE up(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM up WHERE value < 9) SELECT value FROM up);
                 INSERT INTO chunks (log, first, raw_bytes, crc32, data) SELECT number, 0, 1, 0, zeroblob(3000000) FROM logs WHERE number > 10";
    database.write(move |change| Ok(change.connection.execute_batch(large)?)).await?;
    let before: i64 = pragma(&database, "page_count").await?;
    for number in 1..10 {
        Archive::remove(&database, &id(number)).await?;
    }
    database.deletions_settled().await;
    let pages = || {
        database.read(|connection| {
            Ok(connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?)
        })
    };
    while pages().await? > before * 3 / 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(Archive::find(&database, &id(0)).await, Ok(Some(1)));
    assert_eq!(Archive::read(&database, &id(5), 0, 1).await, Err(LogError::Missing));
    Ok(())
}

async fn limit(database: &Database, pages: i64) -> Result<(), StoreError> {
    let sql = format!("PRAGMA max_page_count = {pages}");
    database.write(move |change| Ok(change.connection.query_row(&sql, [], |_row| Ok(()))?)).await
}

async fn pragma(database: &Database, name: &str) -> Result<i64, StoreError> {
    let sql = format!("PRAGMA {name}");
    database.write(move |change| Ok(change.connection.query_row(&sql, [], |row| row.get(0))?)).await
}

/// A whole turn with its log.
async fn turn(database: &Database, number: u64) -> Result<(), StoreError> {
    let input = vec![message(&format!("q{number}"))];
    let record = ResponseRecord { input: vec![input[0].id().clone()], ..record(number) };
    database.insert(record, input).await?;
    let last = 199;
    let kind = |position| {
        if position == last { "response.completed" } else { "response.output_text.delta" }
    };
    let entries = (0..=last)
        .map(|position| entry(position, kind(position), &format!("{}", position * 7_919 + number)))
        .collect();
    database.put(&id(number), entries).await.map_err(|_unavailable| StoreError::Unavailable)?;
    database.finish(&id(number), RecordEnd::new(vec![message(&format!("a{number}"))], number)).await
}

fn entry(position: u64, kind: &str, text: &str) -> Entry {
    let data =
        format!("{{\"type\":\"{kind}\",\"sequence_number\":{position},\"delta\":\"{text}\"}}");
    Entry::read(position, Bytes::from(data)).expect("an entry")
}

fn record(number: u64) -> ResponseRecord {
    ResponseRecord {
        id: id(number),
        owner: Owner::new("alice"),
        parent: None,
        readable: true,
        input: Vec::new(),
        output: Vec::new(),
        head: None,
        ended_at: None,
    }
}

fn message(name: &str) -> Item {
    let content = vec![Part::input_text(name.repeat(50))];
    Item::Message(Message {
        id: ItemId::new(format!("msg_{name}")),
        ..Message::new(Role::User, content)
    })
}

fn id(number: u64) -> ResponseId {
    ResponseId::new(format!("resp_{number}"))
}

/// The path in an error is that of its caller.
#[test]
fn errors_name_the_file() {
    let error = DatabaseError::sqlite(Path::new("/data/weir.db"), rusqlite::Error::InvalidQuery);
    assert!(error.to_string().starts_with("/data/weir.db"), "{error}");
}
