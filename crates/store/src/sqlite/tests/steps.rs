//! Tests of large inputs in steps: changes of others in between, and the cleanup of incomplete
//! ones.

use std::sync::mpsc;

use engine::store::{Most, RecordLookup, ResponseRecord, Store, StoreError};
use protocol::id::ItemId;
use protocol::item::Item;

use super::{Outcome, id, message, record};
use crate::Durability;
use crate::sqlite::large::{LargeInsert, is_large};
use crate::sqlite::tree::{self, ItemSide, Written};
use crate::sqlite::{Database, records, tools};
use engine::tasks::Tasks;

/// Items of a large input.
const ITEMS: usize = 5_000;

/// A record of many items.
fn large(number: u64) -> (ResponseRecord, Vec<Item>) {
    let input: Vec<Item> = (0..ITEMS).map(|index| message(&format!("{number}q{index}"))).collect();
    let names: Vec<ItemId> = input.iter().map(|item| item.id().clone()).collect();
    let head = names.last().cloned();
    (ResponseRecord { input: names, head, ..record(number) }, input)
}

fn written(input: Vec<Item>) -> Result<Vec<Written>, StoreError> {
    let written = tree::written(input)?;
    assert!(is_large(&written));
    Ok(written)
}

/// The numbers of responses and items, and the size of the items.
async fn rows(database: &Database) -> Result<(i64, i64, u64), StoreError> {
    let count = "SELECT (SELECT count(*) FROM answers), (SELECT count(*) FROM items)";
    let (answers, items) = database
        .read(move |connection| {
            Ok(connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await?;
    Ok((answers, items, database.figures().item_bytes))
}

#[tokio::test]
async fn other_changes_run_between_the_steps_of_a_large_input() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database =
        Database::open(&directory.path().join("weir.db"), Durability::Process, Tasks::new())?;
    let (record, input) = large(1);
    // The writer is held until both are queued.
    let (release, held) = mpsc::channel::<()>();
    let holding = database.write(move |_change| Ok(held.recv().is_err()));
    let steps = database
        .inner
        .writer
        .write_in_steps(LargeInsert::new(record.clone(), written(input.clone())?));
    let seen = database.write(|change| {
        Ok(change
            .connection
            .query_row("SELECT count(*) FROM items", [], |row| row.get::<_, usize>(0))?)
    });
    let letting_go = async { drop(release) };
    let (holding, steps, seen, ()) = tokio::join!(holding, steps, seen, letting_go);
    assert_eq!((holding, steps), (Ok(true), Ok(())));
    let seen = seen?;
    assert!(seen > 0 && seen < ITEMS / 4, "{seen} items were written before another had its turn");
    assert_eq!(Store::find(&database, &id(1)).await?, RecordLookup::Record(record.clone()));
    let head = record.head.ok_or("no head")?;
    assert_eq!(Store::path(&database, &head, Most::ALL).await?, input);
    Ok(())
}

#[tokio::test]
async fn a_rejected_large_input_leaves_nothing() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("weir.db");
    let database = Database::open(&path, Durability::Process, Tasks::new())?;
    Store::insert(&database, record(1), vec![message("first")]).await?;
    let before = rows(&database).await?;
    let (again, input) = large(1);
    assert_eq!(
        Store::insert(&database, again, input).await,
        Err(StoreError::Taken),
        "found out by the last step"
    );
    assert_eq!(rows(&database).await?, before);
    assert_eq!(tools::check(&path, |_| {})?.problems, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_large_input_of_a_dropped_caller_is_undone() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database =
        Database::open(&directory.path().join("weir.db"), Durability::Process, Tasks::new())?;
    let (record, input) = large(1);
    let (go, held) = mpsc::channel::<()>();
    let holding = database.write(move |_change| Ok(held.recv().is_err()));
    let steps = database.inner.writer.write_in_steps(LargeInsert::new(record, written(input)?));
    let leaving = async {
        let mut steps = Box::pin(steps);
        assert!(futures_util::poll!(&mut steps).is_pending());
        drop(steps);
        drop(go);
    };
    let (holding, ()) = tokio::join!(holding, leaving);
    assert_eq!(holding, Ok(true));
    database.close().await;
    let database =
        Database::open(&directory.path().join("weir.db"), Durability::Process, Tasks::new())?;
    assert_eq!(rows(&database).await?, (0, 0, 0));
    Ok(())
}

#[tokio::test]
async fn remains_of_a_large_input_are_deleted_at_the_next_start() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("weir.db");
    let database = Database::open(&path, Durability::Process, Tasks::new())?;
    Store::insert(&database, record(1), vec![message("first")]).await?;
    let before = rows(&database).await?;
    let (left, input) = large(2);
    let items = written(input)?;
    // As if the process had been killed before the last step.
    let half = database.write(move |change| {
        let (row, parent) = records::reserve(change, &left)?;
        tree::insert_items(change, row, ItemSide::Input, parent, items)
    });
    assert!(half.await?.is_some());
    assert_eq!(Store::find(&database, &id(2)).await?, RecordLookup::Missing);
    assert_eq!(Store::unfinished(&database).await?.len(), 1, "no lookup finds it");
    assert_eq!(tools::check(&path, |_| {})?.problems, Vec::<String>::new());
    database.close().await;
    let database = Database::open(&path, Durability::Process, Tasks::new())?;
    // Queued jobs are written before the database is closed.
    database.close().await;
    let database = Database::open(&path, Durability::Process, Tasks::new())?;
    assert_eq!(rows(&database).await?, before);
    let (again, input) = large(2);
    assert_eq!(Store::insert(&database, again, input).await, Ok(()));
    Ok(())
}
