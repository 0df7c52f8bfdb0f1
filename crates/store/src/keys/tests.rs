//! Tests of the key file: changes from the command line, and how a running server applies them.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::keys::{Caller, KeyStore};
use protocol::id::Owner;
use tempfile::TempDir;

use super::*;

type Outcome = Result<(), Box<dyn Error>>;

struct Place {
    _root: TempDir,
    directory: PathBuf,
    file: PathBuf,
}

fn place() -> Result<Place, Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let directory = root.path().join("weir");
    Ok(Place { _root: root, file: directory.join("keys.json"), directory })
}

fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_750_000_000)
}

fn owner(caller: Option<Caller>) -> Option<Owner> {
    caller.map(|caller| caller.owner)
}

#[test]
fn without_a_file_no_key_is_required_and_nothing_is_created() -> Outcome {
    let place = place()?;
    let keys = KeyFile::open(&place.directory)?;
    assert!(!keys.configured());
    assert_eq!(keys.authenticate("wk_"), None);
    assert_eq!(keys.list()?, []);
    assert_eq!(keys.revoke("key_1")?, None);
    assert!(!place.directory.exists());
    Ok(())
}

#[test]
fn a_key_is_stored_hashed_and_admits_its_holder() -> Outcome {
    let place = place()?;
    let new = KeyFile::open(&place.directory)?.create("laptop", KeyRole::Admin, noon())?;
    assert!(new.first);
    assert!(
        new.secret.reveal().starts_with("wk_") && new.secret.reveal().len() == 67,
        "{}",
        new.secret.reveal().len()
    );

    let text = fs::read_to_string(&place.file)?;
    assert!(
        text.contains(r#""version": 1"#) && text.contains(r#""created_at": 1750000000"#),
        "{text}"
    );
    assert!(!text.contains(new.secret.reveal()), "{text}");

    let keys = KeyFile::open(&place.directory)?;
    assert!(keys.configured());
    assert_eq!(keys.list()?, std::slice::from_ref(&new.key));
    assert_eq!(
        keys.authenticate(new.secret.reveal()),
        Some(Caller { owner: Owner::new(&new.key.id), admin: true })
    );
    for wrong in
        ["", "wk_", &new.key.id, &new.secret.reveal()[..66], &new.secret.reveal().to_uppercase()]
    {
        assert_eq!(keys.authenticate(wrong), None, "{wrong}");
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_file() -> Outcome {
    use std::os::unix::fs::PermissionsExt;

    let place = place()?;
    KeyFile::open(&place.directory)?.create("", KeyRole::User, noon())?;
    assert_eq!(fs::metadata(&place.directory)?.permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&place.file)?.permissions().mode() & 0o777, 0o600);
    Ok(())
}

#[test]
fn a_running_server_applies_create_and_revoke_at_once() -> Outcome {
    let place = place()?;
    let running = KeyFile::open(&place.directory)?;
    let shell = KeyFile::open(&place.directory)?;
    assert!(!running.configured());

    let ada = shell.create("ada", KeyRole::User, noon())?;
    assert!(running.configured());
    assert!(running.authenticate(ada.secret.reveal()).is_some());

    let bob = shell.create("bob", KeyRole::User, noon())?;
    assert!(!bob.first);
    assert_eq!(owner(running.authenticate(bob.secret.reveal())), Some(Owner::new(&bob.key.id)));

    assert_eq!(shell.revoke(&ada.key.id)?, Some(ada.key.clone()));
    assert_eq!(shell.revoke(&ada.key.id)?, None);
    assert_eq!(running.authenticate(ada.secret.reveal()), None);
    assert!(running.authenticate(bob.secret.reveal()).is_some());
    Ok(())
}

#[test]
fn a_key_is_still_required_after_the_last_one_is_revoked() -> Outcome {
    let place = place()?;
    let shell = KeyFile::open(&place.directory)?;
    let new = shell.create("", KeyRole::User, noon())?;
    let running = KeyFile::open(&place.directory)?;
    assert!(running.configured());
    shell.revoke(&new.key.id)?;
    assert!(running.configured());
    assert_eq!(running.authenticate(new.secret.reveal()), None);
    assert!(!KeyFile::open(&place.directory)?.configured());
    Ok(())
}

#[test]
fn a_missing_or_broken_file_admits_no_caller_until_restored() -> Outcome {
    let place = place()?;
    let running = KeyFile::open(&place.directory)?;
    let new = running.create("", KeyRole::User, noon())?;
    let good = fs::read(&place.file)?;
    assert!(running.authenticate(new.secret.reveal()).is_some());

    for broken in [None, Some(&b"{"[..]), Some(b""), Some(br#"{"version":2,"keys":[]}"#)] {
        match broken {
            None => fs::remove_file(&place.file)?,
            Some(bytes) => fs::write(&place.file, bytes)?,
        }
        assert!(running.configured());
        assert_eq!(running.authenticate(new.secret.reveal()), None, "{broken:?}");
        fs::write(&place.file, &good)?;
        assert!(running.authenticate(new.secret.reveal()).is_some(), "{broken:?}");
    }
    Ok(())
}

/// Regression: a process without free descriptors failed to read the file but kept its mark, and
/// admitted no caller until the next change.
#[cfg(unix)]
#[test]
fn an_unreadable_file_is_tried_again() -> Outcome {
    let place = place()?;
    let running = KeyFile::open(&place.directory)?;
    let new = running.create("", KeyRole::User, noon())?;
    let hidden = place.directory.with_extension("hidden");
    fs::rename(&place.directory, &hidden)?;
    // The directory is replaced by a file, so that even the metadata cannot be read.
    fs::write(&place.directory, "")?;
    assert!(running.configured() && running.authenticate(new.secret.reveal()).is_none());
    fs::remove_file(&place.directory)?;
    fs::rename(&hidden, &place.directory)?;
    assert!(running.authenticate(new.secret.reveal()).is_some());
    Ok(())
}

/// Regression: a server whose key file was lost, or missing from a restore, started without keys:
/// every caller was an admin.
#[test]
fn a_missing_key_file_prevents_the_next_start_too() -> Outcome {
    let place = place()?;
    let new = KeyFile::open(&place.directory)?.create("", KeyRole::User, noon())?;
    let good = fs::read(&place.file)?;
    fs::remove_file(&place.file)?;
    let running = KeyFile::open(&place.directory)?;
    assert!(
        running.configured()
            && running.is_unreadable()
            && running.authenticate(new.secret.reveal()).is_none()
    );
    let refused = running.require().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(
        ["keys.json", "weir key create", "keyed"].iter().all(|word| refused.contains(word)),
        "{refused}"
    );
    fs::write(&place.file, good)?;
    assert!(running.authenticate(new.secret.reveal()).is_some());
    running.require()?;

    // Revoking the last key is not a loss.
    running.revoke(&new.key.id)?;
    assert!(running.configured());
    let next = KeyFile::open(&place.directory)?;
    next.require()?;
    assert!(!next.configured() && next.has_had_keys());
    Ok(())
}

/// Keys from a version without a marker get one at the first start.
#[test]
fn keys_without_a_marker_get_one() -> Outcome {
    let place = place()?;
    let keys = KeyFile::open(&place.directory)?;
    keys.create("", KeyRole::User, noon())?;
    fs::remove_file(place.directory.join("keyed"))?;
    keys.require()?;
    fs::remove_file(&place.file)?;
    assert!(KeyFile::open(&place.directory)?.configured());
    Ok(())
}

#[test]
fn responses_continue_while_their_key_exists_or_is_unknown() -> Outcome {
    let place = place()?;
    let (running, shell) = (KeyFile::open(&place.directory)?, KeyFile::open(&place.directory)?);
    let (local, before) = (Owner::local(), running.version());
    assert!(running.admits(&local));
    let ada = shell.create("ada", KeyRole::User, noon())?;
    let owner = Owner::new(&ada.key.id);
    assert!(running.admits(&owner) && !running.admits(&local));
    assert_ne!(running.version(), before);
    let (good, before) = (fs::read(&place.file)?, running.version());
    assert_eq!(running.version(), before, "nothing has changed");
    fs::remove_file(&place.file)?;
    assert!(running.admits(&owner) && running.is_unreadable());
    fs::write(&place.file, good)?;
    assert!(running.admits(&owner) && !running.is_unreadable());
    shell.revoke(&ada.key.id)?;
    assert!(!running.admits(&owner) && !running.admits(&local));
    Ok(())
}

/// Regression: a restored copy of the database alone started a server with keys as one without.
#[test]
fn a_backup_contains_the_keys() -> Outcome {
    let place = place()?;
    let new = KeyFile::open(&place.directory)?.create("", KeyRole::Admin, noon())?;
    let tasks = engine::tasks::Tasks::new();
    let runtime = tokio::runtime::Runtime::new()?;
    let open = |directory: &Path| {
        runtime.block_on(crate::storage::Storage::open(
            directory,
            crate::Durability::Process,
            &tasks,
        ))
    };
    runtime.block_on(open_and_close(&place.directory, &tasks))?;
    let elsewhere = place.directory.with_file_name("elsewhere");
    fs::create_dir(&elsewhere)?;
    let database = elsewhere.join(crate::directory::DATABASE);
    crate::sqlite::tools::backup(&place.directory.join(crate::directory::DATABASE), &database)?;

    let keys = KeyFile::open(&elsewhere)?;
    assert_eq!(
        keys.authenticate(new.secret.reveal()),
        Some(Caller { owner: Owner::new(&new.key.id), admin: true })
    );
    assert!(elsewhere.join("keyed").exists());
    // The first start removes them from the database: a key revoked later does not come back.
    drop(open(&elsewhere)?);
    fs::remove_file(elsewhere.join("keys.json"))?;
    assert!(KeyFile::open(&elsewhere)?.is_unreadable());
    Ok(())
}

async fn open_and_close(directory: &Path, tasks: &engine::tasks::Tasks) -> Outcome {
    crate::storage::Storage::open(directory, crate::Durability::Process, tasks)
        .await?
        .close()
        .await;
    Ok(())
}

#[test]
fn a_broken_file_that_appears_admits_no_caller() -> Outcome {
    let place = place()?;
    let running = KeyFile::open(&place.directory)?;
    assert!(!running.configured());
    fs::create_dir_all(&place.directory)?;
    fs::write(&place.file, "half")?;
    assert!(running.configured());
    Ok(())
}

#[test]
fn a_foreign_file_is_rejected_and_left_unchanged() -> Outcome {
    let place = place()?;
    let keys = KeyFile::open(&place.directory)?;
    fs::create_dir_all(&place.directory)?;
    let long = format!(
        r#"{{"version":1,"keys":[{{"id":"a","name":"","admin":false,"created_at":0,"sha256":"{}"}}]}}"#,
        "é".repeat(32)
    );
    for (text, expected) in [
        ("{", "is not a key file"),
        (r#"{"version":7,"new":1}"#, "has version 7"),
        (r#"{"version":1,"keys":[],"more":1}"#, "unknown field `more`"),
        (&long, "SHA-256"),
    ] {
        fs::write(&place.file, text)?;
        let errors = [
            keys.create("", KeyRole::User, noon()).err(),
            KeyFile::open(&place.directory).err(),
            keys.list().err(),
        ];
        for error in errors {
            let error =
                error.map(|error| format!("{error}: {:?}", error.source())).unwrap_or_default();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(fs::read_to_string(&place.file)?, text);
    }
    Ok(())
}

#[test]
fn writers_wait_for_each_other() -> Outcome {
    let place = place()?;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    KeyFile::open(&place.directory)
                        .and_then(|keys| keys.create("", KeyRole::User, noon()))
                        .map(|_| ())
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| {
            writer.join().map_err(|_| "a writer panicked")?.map_err(|error| error.to_string())
        })
    })?;
    assert_eq!(KeyFile::open(&place.directory)?.list()?.len(), 8);
    assert!(!place.directory.join("keys.json.new").exists());
    Ok(())
}

#[test]
fn a_name_fits_into_a_line() -> Outcome {
    let place = place()?;
    let keys = KeyFile::open(&place.directory)?;
    for name in ["two\nlines", &"x".repeat(61)] {
        assert!(matches!(keys.create(name, KeyRole::User, noon()), Err(KeyError::Name)), "{name}");
    }
    keys.create(&"字".repeat(60), KeyRole::User, noon())?;
    Ok(())
}
