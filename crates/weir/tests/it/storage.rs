//! The data directory under adverse conditions: locking, invalid directories, a full disk, and traces of deleted
//! text.

use std::fs;
use std::path::Path;

use client::Request;
use fakes::Script;
use serde_json::{Value, json};

use crate::program::reader::{ProgramReader, ReadMethod, read};
use crate::program::{RunningServer, ServerHome, Starting, ask, holding, question, with};
use crate::resume::id_of;

#[cfg(target_os = "linux")]
mod full;
#[cfg(target_os = "linux")]
mod memory;

#[tokio::test]
async fn a_second_process_gets_the_first_ones_id() {
    let place = ServerHome::new().await;
    let mut first = place.start().await;
    let (status, complaint) = place.spawn().refused().await;
    assert!(!status.success(), "{complaint}");
    let pid = first.pid().to_string();
    let words =
        |text: &str| text.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == pid);
    assert!(
        words(&complaint) && complaint.contains(&*place.data().to_string_lossy()),
        "{pid}: {complaint}"
    );
    assert_eq!(first.json(&ask(&question("hi"))).await.0, 200, "the first goes on");
    // The lock is released with the process, however it ends.
    first.kill().await;
    let third = place.start().await;
    third.stop().await;
    place.start().await.stop().await;
}

/// The offset of the application id and schema version in an SQLite file's header (fileformat2.html, 1.3).
const USER_VERSION: usize = 60;
const APPLICATION_ID: usize = 68;

#[tokio::test]
async fn an_unusable_directory_is_named_with_a_remedy() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str, &[&str]); 9] = [
        (
            "a file in place of the directory",
            |data| a_file_instead(data),
            "",
            &["is not a directory"],
        ),
        (
            "a directory in place of the database",
            |data| in_the_way(&data.join("weir.db")),
            "weir.db",
            &["move it", "--data"],
        ),
        (
            "a database that is none",
            |data| fs::write(data.join("weir.db"), "dear diary").unwrap(),
            "weir.db",
            &["not a database", "backup"],
        ),
        (
            "a database that is damaged",
            |data| patch(data, 100, &[0x5a; 3000]),
            "weir.db",
            &["damaged", "backup"],
        ),
        (
            "a database of a newer version",
            |data| patch(data, USER_VERSION, &[0, 0, 1, 0]),
            "weir.db",
            &["newer", "256"],
        ),
        (
            "a database of another program",
            |data| patch(data, APPLICATION_ID, b"Fosl"),
            "weir.db",
            &["another program", "--data"],
        ),
        (
            "a file in place of the journal",
            |data| a_file_instead(&data.join("journal")),
            "journal",
            &["is not a directory"],
        ),
        (
            "a segment that is none",
            |data| fs::write(data.join("journal/0000000007.journal"), "x".repeat(999)).unwrap(),
            "journal/0000000007.journal",
            &["move it away"],
        ),
        (
            "a directory in place of the lock",
            |data| in_the_way(&data.join("weir.lock")),
            "weir.lock",
            &[],
        ),
    ];
    for (what, spoil, file, hints) in cases {
        let place = ServerHome::new().await;
        let server = place.start().await;
        assert_eq!(server.json(&ask(&question("hi"))).await.0, 200);
        server.stop().await;
        spoil(place.data());
        let before = fs::read(place.data().join("weir.db")).ok();
        let (status, complaint) = place.spawn().refused().await;
        assert!(!status.success() && !complaint.contains("panicked"), "{what}: {complaint}");
        let complaint = complaint
            .lines()
            .rfind(|line| line.starts_with("weir: "))
            .unwrap_or_else(|| panic!("{what}: {complaint}"));
        let path =
            if file.is_empty() { place.data().to_path_buf() } else { place.data().join(file) };
        assert!(complaint.contains(&*path.to_string_lossy()), "{what}: {complaint}");
        assert!(hints.iter().all(|hint| complaint.contains(hint)), "{what}: {complaint}");
        let is_as_it_was = fs::read(place.data().join("weir.db")).ok() == before;
        assert!(
            file != "weir.db" || is_as_it_was,
            "{what}: a database that cannot be used is not changed"
        );
    }
}

fn a_file_instead(path: &Path) {
    fs::remove_dir_all(path).unwrap();
    fs::write(path, "").unwrap();
}

fn in_the_way(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

fn patch(data: &Path, at: usize, bytes: &[u8]) {
    assert!(
        !fs::metadata(data.join("weir.db-wal")).is_ok_and(|wal| wal.len() > 0),
        "closed in order: all is in one file"
    );
    let file = data.join("weir.db");
    let mut content = fs::read(&file).unwrap();
    content[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(file, content).unwrap();
}

/// An unprivileged user's id; file modes do not apply to root.
#[cfg(unix)]
const NOBODY: u32 = 65534;

#[cfg(unix)]
#[tokio::test]
async fn an_unwritable_directory_is_named() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let place = ServerHome::new().await;
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(place.home.path(), 0o555);
    let spawn = || {
        let mut command = place.command();
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Starting::spawn(command)
    };
    // It cannot be created, and then it exists but cannot be written.
    for is_there in [false, true] {
        let mut named = place.home.path();
        if is_there {
            mode(place.home.path(), 0o755);
            fs::create_dir(place.data()).unwrap();
            mode(place.data(), 0o555);
            named = place.data();
        }
        let (status, complaint) = spawn().refused().await;
        assert!(!status.success() && !complaint.contains("panicked"), "{complaint}");
        assert!(
            complaint.contains(&*named.to_string_lossy()) && complaint.contains("--data"),
            "{complaint}"
        );
    }
    mode(place.data(), 0o755);
}

/// Waits until no file contains any of these; otherwise reports where they are.
async fn expect_no_trace(data: &Path, markers: &[&str]) {
    let gone = async {
        while markers.iter().any(|marker| !holding(data, marker).is_empty()) {
            tokio::task::yield_now().await;
        }
    };
    if client::soon(gone).await.is_err() {
        let found: Vec<_> = markers.iter().map(|marker| (marker, holding(data, marker))).collect();
        panic!("still there: {found:?}");
    }
}

async fn delete(server: &RunningServer, id: &str) {
    assert_eq!(server.json(&Request::new("DELETE", &format!("/v1/responses/{id}"))).await.0, 200);
    assert_eq!(server.json(&Request::get(&format!("/v1/responses/{id}"))).await.0, 404);
}

const MARKERS: [&str; 4] = [
    "zebra-of-the-prompt",
    "zebra-of-the-instructions",
    "zebra-of-the-metadata",
    "zebra-of-the-answer",
];

fn marked() -> Value {
    let more = json!({ "instructions": MARKERS[1], "metadata": { "a": MARKERS[2] } });
    with(question(MARKERS[0]), &more)
}

/// A response that runs longer than any test, without pauses.
fn long() -> Script {
    Script::new()
        .role()
        .contents(&vec!["and on "; 20_000])
        .paced(std::time::Duration::from_millis(2))
}

#[tokio::test]
async fn deleted_text_is_not_in_any_file() {
    let place = ServerHome::new().await;
    let mut server = place.start().await;
    // Concurrent writes must not delay the removal: one from before, one with it, one after it.
    place.upstream.script(long());
    let mut others = vec![
        ProgramReader::start(server.address, ReadMethod::Ndjson, &question("tell me more"))
            .await
            .unwrap(),
    ];
    others[0].next().await.unwrap();
    client::soon(place.upstream.wait_requests(1)).await.unwrap();
    place.upstream.script(Script::text(&["It is ", MARKERS[3], "."]));
    let finished = id_of(
        &ProgramReader::start(server.address, ReadMethod::Sse, &marked())
            .await
            .unwrap()
            .rest()
            .await[0],
    );
    place.upstream.script(Script::text(&["Well."]));
    let heir = with(question("go on"), &json!({ "previous_response_id": finished }));
    let heir =
        ProgramReader::start(server.address, ReadMethod::Sse, &heir).await.unwrap().rest().await;
    place.upstream.script(Script::new().role().content(MARKERS[3]).stall());
    let mut running =
        ProgramReader::start(server.address, ReadMethod::Sse, &marked()).await.unwrap();
    while !running.next().await.unwrap().contains(MARKERS[3]) {}
    place.upstream.script(long());
    others.push(
        ProgramReader::start(server.address, ReadMethod::Socket, &question("and more"))
            .await
            .unwrap(),
    );
    others[1].next().await.unwrap();
    for marker in MARKERS {
        assert!(
            !holding(place.data(), marker).is_empty(),
            "{marker}: if it cannot be found now, not finding it says nothing"
        );
    }

    delete(&server, &finished).await;
    delete(&server, running.id.as_ref().unwrap()).await;
    expect_no_trace(place.data(), &MARKERS).await;
    // The others are unaffected.
    for other in &mut others {
        other.next().await.unwrap();
    }
    server.kill().await;
    let server = place.start().await;
    expect_no_trace(place.data(), &MARKERS).await;
    assert_eq!(
        read(server.address, ReadMethod::Ndjson, &id_of(&heir[0]), None).await,
        heir,
        "what continued it is there"
    );
    server.stop().await;
    expect_no_trace(place.data(), &MARKERS).await;
}

#[tokio::test]
async fn unstored_responses_are_never_written() {
    let place = ServerHome::new().await;
    let server = place.start().await;
    place.upstream.script(Script::new().role().content(MARKERS[3]).stall());
    let mut running = ProgramReader::start(
        server.address,
        ReadMethod::Sse,
        &with(marked(), &json!({ "store": false })),
    )
    .await
    .unwrap();
    while !running.next().await.unwrap().contains(MARKERS[3]) {}
    place.upstream.script(Script::text(&[MARKERS[3], "."]));
    let chat = json!({ "model": "m", "messages": [{ "role": "user", "content": MARKERS[0] }] });
    assert_eq!(server.json(&Request::post("/v1/chat/completions", &chat)).await.0, 200);
    // A stored response has passed through all files after them.
    place.upstream.script(Script::text(&["Well."]));
    assert_eq!(server.json(&ask(&question("hi"))).await.0, 200);
    let found: Vec<_> = MARKERS.iter().flat_map(|marker| holding(place.data(), marker)).collect();
    assert!(found.is_empty(), "{found:?}");
    drop(running);
    server.stop().await;
    let found: Vec<_> = MARKERS.iter().flat_map(|marker| holding(place.data(), marker)).collect();
    assert!(found.is_empty(), "{found:?}");
}
