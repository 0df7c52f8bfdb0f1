//! The database from outside: the contract of a store, and its guarantees for logs, crashes,
//! deletion and tools.

use std::error::Error;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use engine::log::LogError;
use engine::memory::store::MemoryStore;
use engine::store::{
    Claimed, ConversationHead, IdempotencyClaim, Most, RecordEnd, RecordLookup, Removal,
    ResponseRecord, Store, StoreError,
};
use engine::tasks::Tasks;
use protocol::entry::Entry;
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::{Item, Message, Part, Role};
use weir_store::Durability;
use weir_store::archive::Archive;
use weir_store::sqlite::{Database, DatabaseError, tools};

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::test]
async fn the_store_contract_holds() {
    for durability in [Durability::Process, Durability::Disk] {
        let directories = std::cell::RefCell::new(Vec::new());
        engine::testing::store_laws::all(async || {
            let directory = tempfile::tempdir().expect("a directory");
            let database =
                Database::open(&directory.path().join("weir.db"), durability, Tasks::new())
                    .expect("a database");
            directories.borrow_mut().push(directory);
            database
        })
        .await;
    }
}

/// Applies the same operations to a database and to the reference; their results must not differ.
#[tokio::test]
async fn it_behaves_like_the_memory_store() -> Outcome {
    for seed in 1..=24 {
        let directory = tempfile::tempdir()?;
        let database = open(directory.path())?;
        let reference = MemoryStore::new();
        let mut random = Random(seed);
        let mut heads: Vec<(ResponseId, Option<ItemId>)> = Vec::new();
        let mut ids = Vec::new();
        let mut keyed = std::collections::HashSet::new();
        let mut items = Vec::new();
        for step in 0..80_u64 {
            match random.below(10) {
                0..=3 => {
                    let parent = (random.below(4) > 0)
                        .then(|| random.of(&heads))
                        .flatten()
                        .and_then(|(_, head)| head);
                    let input: Vec<Item> = (0..random.below(3))
                        .map(|index| message(&format!("in{step}x{index}"), "question"))
                        .collect();
                    let made = ResponseRecord {
                        parent: parent.clone(),
                        ..record(&format!("r{step}"), &input)
                    };
                    let made = ResponseRecord { head: made.head.clone().or(parent), ..made };
                    items.extend(made.input.iter().cloned());
                    ids.push(made.id.clone());
                    assert_eq!(
                        database.insert(made.clone(), input.clone()).await,
                        reference.insert(made.clone(), input).await
                    );
                    if random.below(4) > 0 {
                        let output: Vec<Item> = (0..random.below(3))
                            .map(|index| message(&format!("out{step}x{index}"), "answer"))
                            .collect();
                        items.extend(output.iter().map(|item| item.id().clone()));
                        let ended_at = 1_000 + random.below(5);
                        assert_eq!(
                            database
                                .finish(&made.id, RecordEnd::new(output.clone(), ended_at))
                                .await,
                            reference.finish(&made.id, RecordEnd::new(output, ended_at)).await
                        );
                        if let RecordLookup::Record(record) = reference.find(&made.id).await? {
                            heads.push((record.id, record.head));
                        }
                    }
                }
                4..=5 => {
                    let claim = IdempotencyClaim {
                        owner: alice(),
                        key: format!("key{}", random.below(3)),
                        request: [random.byte(2); 32],
                    };
                    // A response has one key.
                    let Some(id) = random.of(&ids).filter(|id| keyed.insert(id.clone())) else {
                        continue;
                    };
                    assert_eq!(
                        database.claim(claim.clone(), &id).await,
                        reference.claim(claim, &id).await,
                        "seed {seed}, step {step}"
                    );
                }
                _ => {
                    let Some(id) = random.of(&ids) else { continue };
                    let removal =
                        [Removal::Deleted, Removal::Expired, Removal::Expired, Removal::Forgotten]
                            [usize::from(random.byte(4))];
                    assert_eq!(
                        Store::remove(&database, &id, removal).await,
                        reference.remove(&id, removal).await
                    );
                    heads.retain(|(known, _)| *known != id);
                }
            }
            let what = format!("seed {seed}, step {step}");
            assert_eq!(Store::bytes(&database), reference.bytes(), "{what}");
        }
        let what = format!("seed {seed}");
        for id in &ids {
            assert_eq!(Store::find(&database, id).await, reference.find(id).await, "{what}");
        }
        for id in &items {
            assert_eq!(
                database.item(&alice(), id).await,
                reference.item(&alice(), id).await,
                "{what}"
            );
            assert_eq!(
                database.path(id, Most::ALL).await,
                reference.path(id, Most::ALL).await,
                "{what}"
            );
        }
        assert_eq!(
            database.oldest_ended(None, 1_000).await,
            reference.oldest_ended(None, 1_000).await,
            "{what}"
        );
        let sorted = |mut records: Vec<ResponseRecord>| {
            records.sort_by(|one, other| one.id.cmp(&other.id));
            records
        };
        assert_eq!(
            sorted(database.unfinished().await?),
            sorted(reference.unfinished().await?),
            "{what}"
        );
        assert_eq!(
            tools::check(&directory.path().join("weir.db"), |_| {})?.problems,
            Vec::<String>::new(),
            "{what}"
        );
        for id in &ids {
            Store::remove(&database, id, Removal::Deleted).await?;
        }
        let left = database.oldest_ended(None, 1_000).await?;
        assert_eq!((left, Store::bytes(&database)), (Vec::new(), 0), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn a_log_round_trips_byte_by_byte() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database = open(directory.path())?;
    let id = ResponseId::new("resp_log");
    let entries = log(3_000);
    assert_eq!(database.put(&id, entries.clone()).await, Ok(()));
    assert_eq!(database.put(&id, log(2)).await, Ok(()), "a log is archived once");
    assert_eq!(Archive::find(&database, &id).await, Ok(Some(3_000)));
    assert_eq!(Archive::read(&database, &id, 0, usize::MAX).await, Ok(entries.clone()));
    let raw: usize = entries.iter().map(|entry| entry.data.len()).sum();
    let stored = Archive::bytes(&database);
    assert!(stored > 0 && stored < raw as u64 / 2, "{stored} of {raw} bytes");
    for position in [0, 1, 7, 1_499, 2_998, 2_999] {
        for budget in [0, 1, 500, 5_000, 200_000] {
            let from = usize::try_from(position)?;
            let read = Archive::read(&database, &id, position, budget).await?;
            assert_eq!(
                read,
                fitting(&entries[from..], budget),
                "from {position} with {budget} bytes"
            );
        }
    }
    assert_eq!(
        Archive::read(&database, &id, 3_000, 100).await,
        Ok(Vec::new()),
        "there is nothing after the end"
    );
    assert_eq!(
        Archive::read(&database, &ResponseId::new("resp_no"), 0, 100).await,
        Err(LogError::Missing)
    );
    assert_eq!(Archive::find(&database, &ResponseId::new("resp_no")).await, Ok(None));
    assert_eq!(
        database.put(&ResponseId::new("resp_gap"), entries[1..].to_vec()).await,
        Err(LogError::Unavailable)
    );
    Archive::remove(&database, &id).await?;
    Archive::remove(&database, &id).await?;
    assert_eq!((Archive::find(&database, &id).await, Archive::bytes(&database)), (Ok(None), 0));
    Ok(())
}

#[tokio::test]
async fn large_and_unusual_entries_round_trip() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database = open(directory.path())?;
    let mut random = Random(9);
    let noise: String = (0..3_000_000).map(|_| char::from(b'0' + random.byte(64) % 10)).collect();
    let texts = ["你好, 世界 \u{1F30A}", "\\u0000 \\n \\\"", &noise, "", &"a".repeat(500_000)];
    let mut entries: Vec<Entry> = (0..)
        .zip(texts)
        .map(|(position, text)| entry(position, "response.output_text.delta", text))
        .collect();
    entries.push(entry(5, "response.completed", ""));
    let id = ResponseId::new("resp_strange");
    database.put(&id, entries.clone()).await?;
    database.close().await;
    let database = open(directory.path())?;
    assert_eq!(Archive::read(&database, &id, 0, usize::MAX).await, Ok(entries));
    Ok(())
}

#[tokio::test]
async fn everything_survives_a_restart() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("weir.db");
    let database = open(directory.path())?;
    fill(&database, 5).await?;
    database.insert(record("running", &[]), Vec::new()).await?;
    let before = (
        database.figures().item_bytes,
        database.figures().log_bytes,
        database.oldest_ended(None, 9).await?,
    );

    // The state that a killed process leaves: nothing was closed.
    let other = tempfile::tempdir()?;
    for name in ["weir.db", "weir.db-wal"] {
        fs::copy(directory.path().join(name), other.path().join(name))?;
    }
    database.close().await;
    assert!(!path.with_extension("db-wal").exists(), "a closed database is one file");
    assert_eq!(
        Store::find(&database, &id("0")).await,
        Err(StoreError::Unavailable),
        "a closed one says so"
    );
    assert_eq!(
        database.insert(record("late", &[]), Vec::new()).await,
        Err(StoreError::Unavailable),
        "a closed one says so"
    );

    for directory in [directory.path(), other.path()] {
        let database = open(directory)?;
        let after = (
            database.figures().item_bytes,
            database.figures().log_bytes,
            database.oldest_ended(None, 9).await?,
        );
        assert_eq!(after, before);
        let unfinished = database.unfinished().await?;
        assert_eq!(
            unfinished.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(),
            ["resp_running"]
        );
        let claim = IdempotencyClaim { owner: alice(), key: "key 3".into(), request: [3; 32] };
        assert_eq!(database.claimed(&claim).await, Ok(Claimed::Same(id("3"))));
        assert_eq!(
            database.head(&alice(), "uid 4").await,
            Ok(Some(ConversationHead { response: id("4"), used_at: 4 }))
        );
        assert_eq!(Archive::read(&database, &id("4"), 0, usize::MAX).await, Ok(log(40)));
    }
    Ok(())
}

#[tokio::test]
async fn deleted_text_leaves_the_files() -> Outcome {
    let marker = "the-secret-that-was-told";
    for durability in [Durability::Process, Durability::Disk] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("weir.db");
        let database = Database::open(&path, durability, Tasks::new())?;
        fill(&database, 20).await?;
        let input = vec![message("said", marker)];
        database.insert(record("secret", &input), input).await?;
        database
            .finish(&id("secret"), RecordEnd::new(vec![message("made", &marker.repeat(2_000))], 99))
            .await?;
        let mut entries: Vec<Entry> =
            (0..50).map(|position| entry(position, "response.output_text.delta", marker)).collect();
        entries.push(entry(50, "response.completed", marker));
        database.put(&id("secret"), entries).await?;
        // Another response continues it, so that its items keep their places.
        let next = ResponseRecord {
            parent: Some(ItemId::new("msg_made")),
            head: Some(ItemId::new("msg_made")),
            ..record("next", &[])
        };
        database.insert(next, Vec::new()).await?;
        assert!(in_files(directory.path(), marker)?, "the marker can be found at all");

        Archive::remove(&database, &id("secret")).await?;
        Store::remove(&database, &id("secret"), Removal::Deleted).await?;
        database.deletions_settled().await;
        assert!(!in_files(directory.path(), marker)?, "deleted text is in a file, {durability:?}");
        assert!(!in_files(directory.path(), "secret")?, "so is the id of its answer");
        assert_eq!(tools::check(&path, |_| {})?.problems, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn files_are_accessible_only_to_their_owner() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database = open(directory.path())?;
    fill(&database, 1).await?;
    database.backup(&directory.path().join("copy.db")).await?;
    #[cfg(unix)]
    for name in ["weir.db", "weir.db-wal", "weir.db-shm", "copy.db"] {
        use std::os::unix::fs::PermissionsExt;

        assert_eq!(
            fs::metadata(directory.path().join(name))?.permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn open_errors_name_their_cause() -> Outcome {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let refused = |path: &Path| match Database::open(path, Durability::Process, Tasks::new()) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => {
            assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
            error
        }
    };
    fs::write(at("text.db"), "these are not the pages you are looking for, nor any others")?;
    assert!(matches!(refused(&at("text.db")), DatabaseError::NotADatabase { .. }));
    assert!(
        matches!(refused(&at("text.db/weir.db")), DatabaseError::InTheWay { path } if path == at("text.db"))
    );
    fs::create_dir(at("directory.db"))?;
    assert!(matches!(refused(&at("directory.db")), DatabaseError::InTheWay { .. }));
    assert!(matches!(refused(&at("gone/weir.db")), DatabaseError::Vanished { .. }));

    rusqlite::Connection::open(at("foreign.db"))?.execute_batch("CREATE TABLE recipes (name)")?;
    assert!(matches!(refused(&at("foreign.db")), DatabaseError::Foreign { .. }));

    let database = open(directory.path())?;
    fill(&database, 30).await?;
    database.close().await;
    rusqlite::Connection::open(at("weir.db"))?.pragma_update(None, "user_version", 7)?;
    let error = refused(&at("weir.db"));
    assert!(error.to_string().contains("newer Weir (schema 7, this one knows 3)"), "{error}");

    // The schema's page is overwritten.
    let mut bytes = fs::read(at("weir.db"))?;
    bytes[100..4_096].fill(0xA5);
    fs::write(at("broken.db"), &bytes)?;
    assert!(matches!(
        refused(&at("broken.db")),
        DatabaseError::Corrupt { .. } | DatabaseError::NotADatabase { .. }
    ));
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unwritable_directory_is_named() {
    let error = Database::open(Path::new("/proc/weir.db"), Durability::Process, Tasks::new()).err();
    let error = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with("/proc/weir.db"), "{error}");
}

#[tokio::test]
async fn a_damaged_log_is_rejected_and_reported() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("weir.db");
    let database = open(directory.path())?;
    fill(&database, 3).await?;
    let connection = rusqlite::Connection::open(&path)?;
    connection.execute("UPDATE chunks SET crc32 = crc32 + 1 WHERE log = (SELECT number FROM logs WHERE id = 'resp_1')", [])?;
    connection.execute("UPDATE chunks SET raw_bytes = 4000000000 WHERE log = (SELECT number FROM logs WHERE id = 'resp_2')", [])?;
    connection.execute("UPDATE items SET json = '{' WHERE id = 'msg_q0'", [])?;
    connection.execute("UPDATE totals SET log_bytes = 1", [])?;
    for damaged in ["1", "2"] {
        assert_eq!(
            Archive::read(&database, &id(damaged), 0, 100).await,
            Err(LogError::Unavailable)
        );
    }
    assert!(!database.figures().reads, "it is known that something cannot be read");
    assert_eq!(
        Archive::read(&database, &id("0"), 0, usize::MAX).await,
        Ok(log(40)),
        "the others are read as before"
    );
    assert!(database.figures().reads);
    assert_eq!(
        database.path(&ItemId::new("msg_a0"), Most::ALL).await,
        Err(StoreError::Unavailable),
        "no conversation with a hole in it"
    );
    let problems = tools::check(&path, |_| {})?.problems;
    for wrong in ["log resp_1", "log resp_2", "item msg_q0", "totals"] {
        assert!(problems.iter().any(|problem| problem.contains(wrong)), "{wrong}: {problems:?}");
    }
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn a_removed_file_is_not_reported_as_success() -> Outcome {
    let directory = tempfile::tempdir()?;
    let (path, away) = (directory.path().join("weir.db"), directory.path().join("away.db"));
    let database = open(directory.path())?;
    fill(&database, 1).await?;
    fs::rename(&path, &away)?;
    assert_eq!(
        database.insert(record("lost", &[]), Vec::new()).await,
        Err(StoreError::Unavailable)
    );
    assert!(!database.figures().writes, "it is known that nothing can be written");
    fs::rename(&away, &path)?;
    assert_eq!(database.insert(record("found", &[]), Vec::new()).await, Ok(()));
    assert!(database.figures().writes);
    assert_eq!(Store::find(&database, &id("lost")).await, Ok(RecordLookup::Missing));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_changes_share_commits() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database =
        Database::open(&directory.path().join("weir.db"), Durability::Disk, Tasks::new())?;
    let turns = (0..400).map(|number| {
        let database = database.clone();
        async move {
            let name = number.to_string();
            let input = vec![message(&format!("q{name}"), "question")];
            database.insert(record(&name, &input), input).await?;
            let found = Store::find(&database, &id(&name)).await?;
            assert!(
                matches!(found, RecordLookup::Record(record) if record.ended_at.is_none()),
                "what is inserted is found"
            );
            database
                .finish(&id(&name), RecordEnd::new(vec![message(&format!("a{name}"), "answer")], 7))
                .await?;
            assert_eq!(
                database.path(&ItemId::new(format!("msg_a{name}")), Most::ALL).await?.len(),
                2
            );
            Ok::<(), StoreError>(())
        }
    });
    futures_util::future::try_join_all(turns).await?;
    let figures = database.figures();
    assert_eq!(figures.changes, 800);
    assert!(figures.commits <= 200, "{} commits for 800 changes", figures.commits);
    Ok(())
}

#[tokio::test]
async fn a_long_read_blocks_no_other_caller() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database = open(directory.path())?;
    fill(&database, 2).await?;
    let reader = rusqlite::Connection::open(directory.path().join("weir.db"))?;
    reader.execute_batch("BEGIN")?;
    let count = || reader.query_row("SELECT count(*) FROM answers", [], |row| row.get::<_, i64>(0));
    assert_eq!(count()?, 2);
    for number in 0..50 {
        database.insert(record(&format!("more{number}"), &[]), Vec::new()).await?;
    }
    Store::remove(&database, &id("0"), Removal::Deleted).await?;
    assert_eq!(count()?, 2, "it sees what it saw");
    reader.execute_batch("COMMIT")?;
    // Held back by the reader until now.
    database.deletions_settled().await;
    Ok(())
}

#[tokio::test]
async fn an_export_can_be_imported() -> Outcome {
    let (directory, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (path, copy) = (directory.path().join("weir.db"), other.path().join("weir.db"));
    let database = open(directory.path())?;
    fill(&database, 150).await?;
    database.insert(record("running", &[]), Vec::new()).await?;
    for (name, removal) in [
        ("3", Removal::Deleted),
        ("4", Removal::Expired),
        ("149", Removal::Expired),
        ("148", Removal::Deleted),
    ] {
        Archive::remove(&database, &id(name)).await?;
        Store::remove(&database, &id(name), removal).await?;
    }
    let mut seen = Vec::new();
    let mut first = Vec::new();
    let count = tools::export(&path, &mut first, |progress| seen.push(progress))?;
    assert_eq!(count, 149, "all but what runs and what left nothing behind");
    assert!(
        seen.len() > 1
            && seen.last().is_some_and(|last| last.done <= last.total.unwrap_or_default()),
        "{seen:?}"
    );

    let imported = tools::import(&copy, &first[..], |_| {})?;
    assert_eq!((imported.answers, imported.skipped), (149, 0));
    let mut second = Vec::new();
    tools::export(&copy, &mut second, |_| {})?;
    assert_eq!(String::from_utf8(second)?, String::from_utf8(first.clone())?);
    let again = tools::import(&copy, &first[..], |_| {})?;
    assert_eq!((again.answers, again.heads), (0, 0), "what is there is left as it is");
    assert_eq!(tools::check(&copy, |_| {})?.problems, Vec::<String>::new());

    let imported = open(other.path())?;
    for number in 0..150 {
        let id = id(&number.to_string());
        assert_eq!(Store::find(&imported, &id).await, Store::find(&database, &id).await);
        assert_eq!(
            Archive::read(&imported, &id, 0, usize::MAX).await,
            Archive::read(&database, &id, 0, usize::MAX).await
        );
    }
    let last = ItemId::new("msg_a147");
    assert_eq!(imported.path(&last, Most::ALL).await, database.path(&last, Most::ALL).await);
    assert_eq!(imported.oldest_ended(None, 500).await, database.oldest_ended(None, 500).await);
    assert_eq!(Store::bytes(&imported), Store::bytes(&database));
    Ok(())
}

#[tokio::test]
async fn an_import_error_names_the_line() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database = open(directory.path())?;
    fill(&database, 5).await?;
    let mut lines = Vec::new();
    tools::export(&directory.path().join("weir.db"), &mut lines, |_| {})?;
    let lines = String::from_utf8(lines)?;
    let copy = directory.path().join("copy.db");
    let wrong = lines.replace(r#"sequence_number\":39"#, r#"sequence_number\":38"#);
    let error = tools::import(&copy, wrong.as_bytes(), |_| {})
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(error.starts_with("line 2:"), "{error}");
    let cut = &lines[..lines.len() / 2];
    let error = tools::import(&copy, cut.as_bytes(), |_| {})
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(error.starts_with("line 4:"), "{error}");
    let imported = tools::import(&copy, lines.as_bytes(), |_| {})?;
    assert_eq!((imported.answers, imported.skipped), (3, 2), "it goes on where it was cut");
    let orphan: Vec<&str> =
        lines.lines().enumerate().filter(|(index, _)| *index != 1).map(|(_, line)| line).collect();
    let error =
        tools::import(&directory.path().join("other.db"), orphan.join("\n").as_bytes(), |_| {})
            .err();
    assert!(error.is_some(), "an answer that continues nothing there is");
    assert!(
        tools::import(&copy, &b"{}"[..], |_| {}).is_err()
            && tools::import(&copy, &b""[..], |_| {}).is_err()
    );
    Ok(())
}

#[tokio::test]
async fn a_conversation_can_be_read_as_markdown() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database = open(directory.path())?;
    fill(&database, 3).await?;
    let mut text = Vec::new();
    assert_eq!(tools::export_markdown(&directory.path().join("weir.db"), &mut text, |_| {})?, 1);
    let text = String::from_utf8(text)?;
    assert!(text.starts_with("# Conversations\n\n## resp_2\n\nalice, 1970-01-01 00:00 UTC\n\n### User\n\n> question 0\n"), "{text}");
    assert_eq!(text.matches("### User").count(), 6, "{text}");
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn a_backup_never_overwrites_or_follows_an_existing_path() -> Outcome {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let directory = tempfile::tempdir()?;
    let database = open(directory.path())?;
    fill(&database, 3).await?;
    let shared = tempfile::tempdir()?;
    let (copy, precious) = (shared.path().join("copy.db"), shared.path().join("precious"));
    fs::write(&precious, "precious")?;
    symlink(&precious, shared.path().join("copy.db.part"))?;
    database.backup(&copy).await?;
    assert_eq!(fs::read_to_string(&precious)?, "precious");
    assert_eq!(fs::metadata(&copy)?.permissions().mode() & 0o777, 0o600);
    // A dangling link counts as existing, too.
    let dangling = shared.path().join("other.db");
    symlink(shared.path().join("nowhere"), &dangling)?;
    assert!(matches!(
        database.backup(&dangling).await,
        Err(tools::error::ToolError::Exists { .. })
    ));
    let mut names: Vec<_> = fs::read_dir(shared.path())?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    assert_eq!(names, ["copy.db", "copy.db.part", "other.db", "precious"], "nothing is left");
    Ok(())
}

#[tokio::test]
async fn a_database_in_use_can_be_backed_up() -> Outcome {
    let directory = tempfile::tempdir()?;
    let database = open(directory.path())?;
    fill(&database, 50).await?;
    let copy = directory.path().join("copy.db");
    let (copied, more) =
        futures_util::future::join(database.backup(&copy), fill_from(&database, 50, 60)).await;
    more?;
    assert_eq!(copied?, fs::metadata(&copy)?.len());
    assert!(
        matches!(database.backup(&copy).await, Err(tools::error::ToolError::Exists { .. })),
        "a backup replaces nothing"
    );
    let checked = tools::check(&copy, |_| {})?;
    assert_eq!(checked.problems, Vec::<String>::new());
    assert!(checked.answers >= 50, "{checked:?}");
    let restored = Database::open(&copy, Durability::Process, Tasks::new())?;
    assert_eq!(Archive::read(&restored, &id("7"), 0, usize::MAX).await, Ok(log(40)));
    Ok(())
}

#[tokio::test]
async fn compaction_frees_space() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("weir.db");
    let database = open(directory.path())?;
    fill(&database, 200).await?;
    assert!(
        matches!(tools::compact(&path, |_| {}), Err(tools::error::ToolError::InUse { .. })),
        "not while it is used"
    );
    for number in 0..190 {
        Archive::remove(&database, &id(&number.to_string())).await?;
    }
    database.close().await;
    let compacted = tools::compact(&path, |_| {})?;
    assert!(compacted.after < compacted.before * 2 / 3, "{compacted:?}");
    assert!(!path.with_extension("db.part").exists());
    let database = open(directory.path())?;
    assert_eq!(Archive::read(&database, &id("195"), 0, usize::MAX).await, Ok(log(40)));
    assert_eq!(tools::check(&path, |_| {})?.problems, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn tools_do_not_create_databases() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("weir.db");
    assert!(tools::check(&path, |_| {}).is_err() && tools::compact(&path, |_| {}).is_err());
    assert!(tools::backup(&path, &directory.path().join("copy.db")).is_err());
    assert_eq!(fs::read_dir(directory.path())?.count(), 0);
    Ok(())
}

/// Pseudorandom numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn byte(&mut self, limit: u8) -> u8 {
        u8::try_from(self.below(u64::from(limit))).unwrap_or_default()
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() {
            return None;
        }
        let index = self.below(all.len() as u64);
        all.get(usize::try_from(index).unwrap_or_default()).cloned()
    }
}

fn open(directory: &Path) -> Result<Database, DatabaseError> {
    Database::open(&directory.join("weir.db"), Durability::Process, Tasks::new())
}

/// Turns of one conversation, each with a log, a key and a head.
async fn fill(database: &Database, count: u64) -> Outcome {
    fill_from(database, 0, count).await
}

async fn fill_from(database: &Database, from: u64, to: u64) -> Outcome {
    for number in from..to {
        let parent = number.checked_sub(1).map(|before| ItemId::new(format!("msg_a{before}")));
        let input = vec![message(&format!("q{number}"), &format!("question {number}"))];
        let record = ResponseRecord { parent, ..record(&number.to_string(), &input) };
        let id = record.id.clone();
        database.insert(record, input).await?;
        let claim = IdempotencyClaim {
            owner: alice(),
            key: format!("key {number}"),
            request: [u8::try_from(number % 256)?; 32],
        };
        database.claim(claim, &id).await?;
        database.put(&id, log(40)).await?;
        database
            .finish(
                &id,
                RecordEnd::new(
                    vec![message(&format!("a{number}"), &format!("answer {number}"))],
                    number / 10,
                ),
            )
            .await?;
        database
            .set_head(
                &alice(),
                &format!("uid {number}"),
                Some(ConversationHead { response: id, used_at: number }),
            )
            .await?;
    }
    Ok(())
}

/// A finished log.
fn log(count: u64) -> Vec<Entry> {
    let kind = |position: u64| match position {
        0 => "response.created",
        last if last + 1 == count => "response.completed",
        _ => "response.output_text.delta",
    };
    (0..count)
        .map(|position| entry(position, kind(position), &format!("word {position} 水")))
        .collect()
}

#[expect(clippy::expect_used, reason = "a test that makes no events tests nothing")]
fn entry(position: u64, kind: &str, text: &str) -> Entry {
    let data = format!(
        "{{\"type\":\"{kind}\",\"sequence_number\":{position},\"item_id\":\"msg_0123456789abcdef0123456789abcdef\",\"output_index\":0,\
         \"content_index\":0,\"delta\":\"{text}\",\"logprobs\":[]}}"
    );
    Entry::read(position, Bytes::from(data)).expect("an entry")
}

/// The expected read with `budget`: the first entry in any case, as from a log in memory.
fn fitting(entries: &[Entry], budget: usize) -> Vec<Entry> {
    let mut left = budget;
    let fits = entries.iter().take_while(|entry| {
        let fits = entry.data.len() <= left;
        left = left.saturating_sub(entry.data.len());
        fits
    });
    let count = fits.count().max(1);
    entries[..count].to_vec()
}

fn in_files(directory: &Path, text: &str) -> Result<bool, Box<dyn Error>> {
    let mut found = false;
    for file in fs::read_dir(directory)? {
        let bytes = fs::read(file?.path())?;
        found |= bytes.windows(text.len()).any(|window| window == text.as_bytes());
    }
    Ok(found)
}

fn record(name: &str, input: &[Item]) -> ResponseRecord {
    ResponseRecord {
        id: id(name),
        owner: alice(),
        parent: None,
        readable: true,
        input: input.iter().map(|item| item.id().clone()).collect(),
        output: Vec::new(),
        head: input.last().map(|item| item.id().clone()),
        ended_at: None,
    }
}

fn message(name: &str, text: &str) -> Item {
    let content = vec![Part::input_text(text)];
    Item::Message(Message {
        id: ItemId::new(format!("msg_{name}")),
        ..Message::new(Role::User, content)
    })
}

fn alice() -> Owner {
    Owner::new("alice")
}

fn id(name: &str) -> ResponseId {
    ResponseId::new(format!("resp_{name}"))
}
