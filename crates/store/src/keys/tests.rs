//! The key file, from both sides: the command line that changes it and the server that obeys it.

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
fn without_a_file_nobody_needs_a_key_and_nothing_is_made() -> Outcome {
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
fn a_key_is_kept_hashed_and_lets_its_holder_in() -> Outcome {
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
fn only_this_user_can_read_the_file() -> Outcome {
    use std::os::unix::fs::PermissionsExt;

    let place = place()?;
    KeyFile::open(&place.directory)?.create("", KeyRole::User, noon())?;
    assert_eq!(fs::metadata(&place.directory)?.permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&place.file)?.permissions().mode() & 0o777, 0o600);
    Ok(())
}

#[test]
fn a_running_server_obeys_create_and_revoke_at_once() -> Outcome {
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
fn revoking_the_last_key_closes_a_running_server() -> Outcome {
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
fn a_file_that_vanishes_or_breaks_lets_nobody_in_until_it_is_back() -> Outcome {
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

/// A process out of descriptors could not read the file; it kept the mark, and stayed closed until the next change.
#[cfg(unix)]
#[test]
fn a_file_that_could_not_be_read_is_tried_again() -> Outcome {
    let place = place()?;
    let running = KeyFile::open(&place.directory)?;
    let new = running.create("", KeyRole::User, noon())?;
    let hidden = place.directory.with_extension("hidden");
    fs::rename(&place.directory, &hidden)?;
    // The directory is a file now, so that even the look fails.
    fs::write(&place.directory, "")?;
    assert!(running.configured() && running.authenticate(new.secret.reveal()).is_none());
    fs::remove_file(&place.directory)?;
    fs::rename(&hidden, &place.directory)?;
    assert!(running.authenticate(new.secret.reveal()).is_some());
    Ok(())
}

/// A server whose key file was lost, or not among what was restored, started without keys: everybody was an admin.
#[test]
fn a_key_file_that_is_gone_closes_the_next_start_too() -> Outcome {
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

    // A last key that was revoked is no loss.
    running.revoke(&new.key.id)?;
    assert!(running.configured());
    let next = KeyFile::open(&place.directory)?;
    next.require()?;
    assert!(!next.configured() && next.has_had_keys());
    Ok(())
}

/// Keys made by a Weir that had no marker get one from the first start on.
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
fn what_was_started_goes_on_while_its_key_is_there_or_nobody_can_say() -> Outcome {
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

/// A copy of the database alone, put into a new place, opened a server that had keys.
#[test]
fn a_backup_takes_the_keys_along() -> Outcome {
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
    // The first start takes them out: a key that is revoked later does not come back.
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
fn a_broken_file_that_appears_closes_an_open_server() -> Outcome {
    let place = place()?;
    let running = KeyFile::open(&place.directory)?;
    assert!(!running.configured());
    fs::create_dir_all(&place.directory)?;
    fs::write(&place.file, "half")?;
    assert!(running.configured());
    Ok(())
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_alone() -> Outcome {
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
