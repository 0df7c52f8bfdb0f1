//! The client against an upstream that keeps its promises, and against one that does not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const PEERS: &str = env!("CARGO_BIN_EXE_weir-peers");

/// A process of the bench, which does not outlive its test.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(PEERS);
        Ok(Self(command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().context("no output")?).read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A plan for streams of chat completions over SSE.
fn plan(address: SocketAddr, model: &str, more: Value) -> Result<Value> {
    let body = format!(r#"{{"model":"{model}","stream":true}}"#);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut plan = json!({
        "address": address,
        "request": request,
        "needle": "\"content\":\"",
        "streams": 1,
        "work": "once",
        "timeout": 20,
    });
    let (Value::Object(plan), Value::Object(more)) = (&mut plan, more) else {
        anyhow::bail!("not objects")
    };
    plan.extend(more);
    Ok(Value::Object(plan.clone()))
}

/// What the client reports of the real upstream.
fn report(model: &str, more: Value) -> Result<Value> {
    let mut upstream = Process::start(&["upstream", "127.0.0.1:0"])?;
    let address = upstream.line()?.trim().parse()?;
    let plan = plan(address, model, more)?.to_string();
    Ok(serde_json::from_str(&Process::start(&["client", &plan])?.line()?)?)
}

/// What the client reports of an upstream that sends tokens with these numbers where 0, 1, 2, 3 are expected.
fn report_of(numbers: &[u64]) -> Result<Value> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let plan = plan(listener.local_addr()?, "any", json!({ "tokens": 4 }))?.to_string();
    let mut client = Process::start(&["client", &plan])?;
    let (mut socket, _) = listener.accept()?;
    let mut request = [0; 4096];
    ensure!(socket.read(&mut request)? > 0, "no request");
    let lines = numbers.iter().map(|number| format!("data: {{\"content\":\"{number}@1 \"}}\n\n"));
    let body: String = lines.collect();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(format!("{head}{body}").as_bytes())?;
    Ok(serde_json::from_str(&client.line()?)?)
}

fn faults(report: &Value) -> [Option<u64>; 3] {
    ["lost", "doubled", "swapped"].map(|fault| report[fault].as_u64())
}

#[test]
fn paced_streams_are_whole_and_measured() -> Result<()> {
    let more = json!({ "streams": 10, "tokens": 100, "stagger": 1000 });
    let report = report("bench-100-20000-step", more)?;
    assert_eq!(faults(&report), [Some(0); 3], "{report}");
    assert_eq!((report["tokens"].as_u64(), report["responses"].as_u64()), (Some(1000), Some(10)));
    assert_eq!(report["errors"], json!([]));
    let in_window = report["window"]["tokens"].as_u64().context("no tokens in the window")?;
    assert!((500..1000).contains(&in_window), "{report}");
    // 98 pauses at least.
    assert!(report["elapsed"].as_u64() > Some(1_960_000), "{report}");
    Ok(())
}

#[test]
fn streams_without_a_pace_are_whole() -> Result<()> {
    let report = report("bench-5000-0-flat", json!({ "streams": 8, "tokens": 5000 }))?;
    assert_eq!(faults(&report), [Some(0); 3], "{report}");
    assert_eq!(report["tokens"].as_u64(), Some(40_000));
    Ok(())
}

#[test]
fn streams_that_share_an_http2_connection_are_whole() -> Result<()> {
    let shared =
        json!({ "streams": 8, "tokens": 5000, "http2": true, "streams_per_connection": 4 });
    let report = report("bench-5000-0-flat", shared)?;
    assert_eq!(faults(&report), [Some(0); 3], "{report}");
    assert_eq!((report["tokens"].as_u64(), &report["errors"]), (Some(40_000), &json!([])));
    Ok(())
}

#[test]
fn responses_follow_each_other_on_a_connection() -> Result<()> {
    let work = json!({ "repeat": { "warm": 0, "seconds": 1 } });
    let report = report("bench-1-0-flat", json!({ "streams": 4, "tokens": 1, "work": work }))?;
    assert_eq!(faults(&report), [Some(0); 3], "{report}");
    assert!(report["window"]["responses"].as_u64() > Some(10), "{report}");
    Ok(())
}

#[test]
fn a_lost_token_is_found() -> Result<()> {
    assert_eq!(faults(&report_of(&[0, 1, 3])?), [Some(1), Some(0), Some(0)]);
    Ok(())
}

#[test]
fn a_doubled_token_is_found() -> Result<()> {
    assert_eq!(faults(&report_of(&[0, 1, 1, 2, 3])?), [Some(0), Some(1), Some(0)]);
    Ok(())
}

#[test]
fn swapped_tokens_are_found() -> Result<()> {
    assert_eq!(faults(&report_of(&[0, 2, 1, 3])?), [Some(0), Some(0), Some(1)]);
    Ok(())
}

#[test]
fn the_script_measures_the_work_without_a_server() -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/peers");
    let mut command = Command::new("python3");
    command.arg(script).args(["--quick", "--only", "A", "--servers", "direct", "--peers", PEERS]);
    let run = command.stdin(Stdio::null()).output()?;
    let (out, errors) = (String::from_utf8(run.stdout)?, String::from_utf8(run.stderr)?);
    assert!(run.status.success(), "{out}{errors}");
    let row = out.lines().find(|line| line.starts_with("direct ")).context("no row")?;
    // No processor time of a server, and delays.
    assert_eq!(row.split_whitespace().nth(1), Some("0.0"), "{out}");
    Ok(())
}
