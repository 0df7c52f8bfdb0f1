//! A disk that fills up during a response and has room again later: errors are correct, and no restart is needed.
//!
//! The disk is a small file system in the process's own namespace, if the machine allows it; and in any case a file
//! size limit, which fails every write as well.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use client::{Connection, Request};
use fakes::Script;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::program::reader::{ProgramReader, ReadMethod, WAYS, is_terminal, read};
use crate::program::{RunningServer, ServerHome, Starting, ask, question, with};
use crate::resume::id_of;

/// How the disk fills up.
#[derive(Clone, Copy, Debug)]
enum Disk {
    /// A 64 MiB file system in memory, filled up by a file. The whole flood fits afterwards, even if all of it is
    /// pending.
    Small,
    /// No file may grow (`RLIMIT_FSIZE`).
    Limited,
}

/// Runs a command in a mount namespace with its own file system at the first argument.
const MOUNT: &str = "mount -t tmpfs -o size=64m weir \"$1\" && shift && exec \"$@\"";

/// Otherwise the signal would kill the process; ignoring it makes the write fail (setrlimit(2)).
const IGNORE: &str = "trap '' XFSZ; exec \"$@\"";

impl Disk {
    fn start(self, place: &ServerHome) -> Starting {
        let weir = place.command();
        let mut command = match self {
            Self::Small => {
                let mut command = Command::new("unshare");
                command.args(["-rm", "sh", "-c", MOUNT, "sh"]).arg(place.data().parent().unwrap());
                command
            }
            Self::Limited => {
                let mut command = Command::new("sh");
                command.args(["-c", IGNORE, "sh"]);
                command
            }
        };
        command
            .arg(weir.get_program())
            .args(weir.get_args())
            .current_dir(place.home.path())
            .stdin(Stdio::null());
        for (name, value) in weir.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Starting::spawn(command)
    }

    fn fill(self, place: &ServerHome, server: &RunningServer) {
        match self {
            Self::Small => {
                let mut file = File::create(filler(place, server)).unwrap();
                // The last page in small steps.
                for size in [1 << 20, 4096, 1] {
                    while file.write(&vec![0; size]).is_ok() {}
                }
            }
            Self::Limited => limit(server, Some(0)),
        }
    }

    fn make_room(self, place: &ServerHome, server: &RunningServer) {
        match self {
            Self::Small => fs::remove_file(filler(place, server)).unwrap(),
            Self::Limited => limit(server, None),
        }
    }
}

/// A file next to the data, as seen in the process's namespace.
fn filler(place: &ServerHome, server: &RunningServer) -> PathBuf {
    let beside = place.data().parent().unwrap().join("filler");
    PathBuf::from(format!("/proc/{}/root{}", server.pid(), beside.display()))
}

fn limit(server: &RunningServer, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    // Our hard limit applies to it; only root could raise it again.
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_reported_and_recovers() {
    let may_mount =
        Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs weir /tmp"]).output();
    if may_mount.is_ok_and(|output| output.status.success()) {
        weather(Disk::Small).await;
    } else {
        eprintln!("no namespaces on this machine: only by the limit on the size of files");
    }
}

#[tokio::test]
async fn a_file_size_limit_behaves_like_a_full_disk() {
    weather(Disk::Limited).await;
}

async fn weather(disk: Disk) {
    let mut place = ServerHome::new().await;
    let mount = place.home.path().join("mount");
    fs::create_dir(&mount).unwrap();
    place = place.on(mount.join("data"));
    place.set("WEIR_ENGINE_ANSWER_BYTES", "1GiB");
    let server = disk.start(&place).listening().await;
    place.upstream.script(Script::text(&["There was ", "room."]));
    let finished = ProgramReader::start(server.address, ReadMethod::Sse, &question("hi"))
        .await
        .unwrap()
        .rest()
        .await;

    // A response with readers in all frames, and one that a client awaits as JSON.
    let (gate, flood) = (Arc::new(Notify::new()), "flood".repeat(13_000));
    let pieces = vec![flood.as_str(); 300];
    // Usage first, so that nothing needs to be counted before the end.
    place.upstream.script(
        Script::new()
            .role()
            .usage(9, 9, 0)
            .content("Once")
            .wait_for(&gate)
            .contents(&pieces)
            .finish("stop")
            .done()
            .end(),
    );
    let mut first =
        ProgramReader::start(server.address, ReadMethod::Sse, &question("hi")).await.unwrap();
    let mut before = vec![first.next().await.unwrap()];
    let id = id_of(&before[0]);
    while !before.last().unwrap().contains("Once") {
        before.push(first.next().await.unwrap());
    }
    let mut readers = vec![(ReadMethod::Sse, first)];
    for way in [ReadMethod::Ndjson, ReadMethod::Browser, ReadMethod::Socket, ReadMethod::Http10] {
        let mut reader = ProgramReader::resume(server.address, way, &id, None).await.unwrap();
        while !reader.next().await.unwrap().contains("Once") {}
        readers.push((way, reader));
    }
    let other_gate = Arc::new(Notify::new());
    place.upstream.script(
        Script::new()
            .role()
            .usage(9, 9, 0)
            .content("One")
            .wait_for(&other_gate)
            .contents(&pieces[..100])
            .finish("stop")
            .done()
            .end(),
    );
    let waits = ask(&question("hi"));
    let mut waiting = Connection::open(server.address).await.unwrap();
    waiting.write(&waits).await.unwrap();
    client::soon(place.upstream.wait_requests(3)).await.unwrap();

    disk.fill(&place, &server);
    gate.notify_one();
    for (way, reader) in readers {
        let (data, is_whole) = reader.broken().await;
        assert!(!is_whole, "{way:?}: it ends as if it were whole");
        let last: Value = serde_json::from_str(data.last().unwrap()).unwrap();
        assert_eq!(
            (&last["type"], &last["error"]["code"]),
            (&json!("error"), &json!("log_unavailable")),
            "{way:?}: {last}"
        );
        assert_eq!(last.get("sequence_number"), None, "{way:?}: it has no position");
        if way == ReadMethod::Sse {
            before.extend_from_slice(&data[..data.len() - 1]);
        }
    }
    other_gate.notify_one();
    let mut told = client::soon(waiting.read_response(&waits)).await.unwrap().unwrap();
    assert_eq!((told.status, code(&mut told).await.as_str()), (503, "log_unavailable"));
    let chat = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for request in [
        ask(&question("hi")),
        ask(&with(question("hi"), &json!({ "stream": true }))),
        ask(&with(question("hi"), &json!({ "background": true }))),
    ] {
        let mut refused = server.send(&request).await;
        let code = code(&mut refused).await;
        assert!(
            refused.status == 503
                && ["log_unavailable", "store_unavailable"].contains(&code.as_str()),
            "{} {code}",
            refused.status
        );
    }
    // Existing responses can be read. An unstored one may be rejected, but only for the same reason.
    assert_eq!(
        read(server.address, ReadMethod::Ndjson, &id_of(&finished[0]), None).await,
        finished
    );
    let (status, body) = server.json(&Request::post("/v1/chat/completions", &chat)).await;
    assert!(status == 200 || status == 503 && body["error"]["code"].is_string(), "{body}");

    disk.make_room(&place, &server);
    // The journal retries every second, and then writes the whole flood.
    let patience = std::time::Duration::from_secs(60);
    let log =
        tokio::time::timeout(patience, ended(&server, &id, before.len() as u64 - 1)).await.unwrap();
    let events: Vec<Value> = log.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    assert!(
        events.iter().enumerate().all(|(position, event)| event["sequence_number"] == position),
        "{disk:?}: positions"
    );
    assert!(log.starts_with(&before), "{disk:?}: what was read is what there is");
    assert_eq!(log.iter().filter(|data| is_terminal(data)).count(), 1);
    let response = &events.last().unwrap()["response"];
    assert_eq!(
        (&response["status"], &response["error"]["code"]),
        (&json!("failed"), &json!("log_failed"))
    );
    for way in WAYS {
        assert!(read(server.address, way, &id, None).await == log, "{disk:?}, {way:?}");
    }
    let asks_again = async {
        loop {
            place.upstream.script(Script::text(&["There is ", "room again."]));
            let (status, body) = server.json(&ask(&question("hi"))).await;
            match status {
                503 => tokio::task::yield_now().await,
                _ => return (status, body),
            }
        }
    };
    let (status, body) = client::soon(asks_again).await.unwrap();
    assert_eq!(status, 200, "{body}");
    server.stop().await;

    if matches!(disk, Disk::Limited) {
        // The other disk went with its process.
        let server = place.start().await;
        assert!(
            read(server.address, ReadMethod::Ndjson, &id, None).await == log,
            "after a restart"
        );
        assert_eq!(
            server
                .json(&Request::get(&format!("/v1/responses/{}", body["id"].as_str().unwrap())))
                .await
                .0,
            200
        );
        server.stop().await;
    }
}

/// Waits for the response to end like a reader that resumes; returns the complete log.
async fn ended(server: &RunningServer, id: &str, last: u64) -> Vec<String> {
    loop {
        if let Ok(reader) =
            ProgramReader::resume(server.address, ReadMethod::Ndjson, id, Some(last)).await
            && reader.broken().await.1
        {
            return read(server.address, ReadMethod::Sse, id, None).await;
        }
        tokio::task::yield_now().await;
    }
}

async fn code(response: &mut client::Response) -> String {
    let body = client::soon(client::json::value(response)).await.unwrap().unwrap();
    body["error"]["code"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}
