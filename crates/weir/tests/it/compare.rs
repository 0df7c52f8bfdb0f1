//! `weir compare` on the command line: every cell is measured, all counts agree, the verdicts match the standards,
//! and Wireshark reads the capture as the lens does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lens::flow::FlowTable;
use lens::flow::limits::FlowLimits;
use lens::flow::segment::Segment;
use lens::moment::Moment;
use lens::packet::decode;
use lens::packet::link::LinkType;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::program::{run_in, walk, weir};
use crate::test_server::{ADMIN, TestServer, TestServerPlan};

/// All cells in a debug build next to other tests; alone they take half a minute.
const LONGEST: Duration = Duration::from_secs(300);

/// Of each response.
const TOKENS: u64 = 20;

async fn compare(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = weir(directory);
    command.arg("compare").args(arguments).args(["--output", "out"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = spawn_blocking(move || child.wait_with_output());
    tokio::time::timeout(LONGEST, ended).await.unwrap().unwrap().unwrap()
}

fn report(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("out/report.json")).unwrap()).unwrap()
}

/// Whether unprivileged network namespaces are available, according to unshare(1).
fn has_namespaces() -> bool {
    let status =
        Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).status();
    !cfg!(target_os = "linux")
        || status
            .unwrap_or_else(|error| panic!("unshare: {error}; it is Debian's util-linux"))
            .success()
}

#[tokio::test]
async fn every_cell_is_measured_and_all_counts_agree() {
    let directory = tempfile::tempdir().unwrap();
    let output = compare(
        directory.path(),
        &["--runs", "1", "--turns", "2", "--tokens", &TOKENS.to_string(), "--pace", "5"],
    )
    .await;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let report = report(directory.path());
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 76);
    for cell in cells {
        let name = &cell["cell"];
        assert_eq!((&cell["failed"], &cell["disagreements"]), (&Value::Null, &json!([])), "{name}");
        assert_eq!((&cell["answers"], &cell["tokens"]), (&json!(2), &json!(2 * TOKENS)), "{name}");
        check_cell(cell);
    }
    // The verdicts require packets, and these a network namespace.
    if !has_namespaces() {
        assert!(err.contains("there can be no network of our own"), "{err}");
        return;
    }
    assert_eq!(report["notes"], json!([]), "nothing is missing");
    for cell in cells {
        check_wire(cell);
    }
    check_verdicts(&report);
    check_files(&directory.path().join("out"), &report);
    check_with_wireshark(&directory.path().join("out/capture.pcapng"));
    check_evidence(&directory.path().join("out"), &report);
}

/// What tshark reads of a frame: the absolute numbers, the flags, and the comments.
struct Frame {
    sequence: u64,
    acknowledgment: u64,
    flags: u64,
    comments: String,
}

/// Every frame of a capture, the first one at 0.
fn frames(path: &str) -> Vec<Frame> {
    let fields =
        ["-e", "tcp.seq_raw", "-e", "tcp.ack_raw", "-e", "tcp.flags", "-e", "frame.comment"];
    let arguments = [&["-r", path, "-T", "fields"][..], &fields].concat();
    let read = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let flags = u64::from_str_radix(fields[2].trim_start_matches("0x"), 16).unwrap();
        let [sequence, acknowledgment] = [0, 1].map(|index| fields[index].parse().unwrap_or(0));
        Frame { sequence, acknowledgment, flags, comments: fields[3..].join("\t") }
    };
    tshark(&arguments).lines().map(read).collect()
}

const FIN: u64 = 0x01;
const SYN: u64 = 0x02;
const RST: u64 = 0x04;

/// Every ruling but one cites packets, which tshark finds in the file by the filters of the report, and
/// the numbers that it names are in them.
fn check_evidence(out: &Path, report: &Value) {
    let path = out.join("capture.pcapng");
    let path = path.to_str().unwrap();
    let frames = frames(path);
    for verdict in report["verdicts"].as_array().unwrap() {
        let (id, packets) = (verdict["id"].as_str().unwrap(), &verdict["packets"]);
        if id == "4.8" {
            assert_eq!(*packets, Value::Null, "{id}: what a program keeps is on no wire");
            continue;
        }
        let claim = format!("claim {}:", id.rsplit('.').next().unwrap());
        let cited: Vec<u64> = packets["frames"].as_array().unwrap().iter().map(count).collect();
        let named: Vec<u64> = (1..)
            .zip(&frames)
            .filter(|(_, frame)| frame.comments.contains(&claim))
            .map(|(number, _)| number)
            .collect();
        assert!(!cited.is_empty() && cited == named, "{id}: {cited:?} {named:?}");
        assert_eq!(packets["filter"], format!("frame.comment contains \"{claim}\""));
        let searches = packets["searches"].as_array().unwrap();
        let any: Vec<String> =
            searches.iter().map(|search| format!("({})", search.as_str().unwrap())).collect();
        let found =
            tshark(&["-r", path, "-Y", &any.join(" || "), "-T", "fields", "-e", "frame.number"]);
        let found: Vec<u64> = found.lines().map(|line| line.parse().unwrap()).collect();
        assert!(cited.iter().any(|frame| found.contains(frame)), "{id}: {any:?} {found:?}");
        for link in packets["ladders"].as_array().unwrap() {
            for end in ["en", "zh"] {
                let ladder = format!("ladders/{}.{end}.svg", link["name"].as_str().unwrap());
                assert!(out.join(&ladder).is_file(), "{id}: {ladder}");
            }
        }
    }
    check_numbers(report, &frames);
    check_closes(out);
}

/// The numbers that rulings name are those of the frames that they cite.
fn check_numbers(report: &Value, frames: &[Frame]) {
    let cited = |id: &str| -> Vec<&Frame> {
        let verdicts = report["verdicts"].as_array().unwrap();
        let verdict = verdicts.iter().find(|verdict| verdict["id"] == id).unwrap();
        let numbers = verdict["packets"]["frames"].as_array().unwrap();
        numbers.iter().map(|number| &frames[usize::try_from(count(number)).unwrap() - 1]).collect()
    };
    let handshake = &report["evidence"]["handshake"];
    let [syn, syn_ack, ack] = cited("4.3")[..] else { panic!("three segments") };
    assert_eq!(
        [syn.sequence, syn_ack.sequence, syn_ack.acknowledgment, ack.sequence, ack.acknowledgment],
        [
            "client_initial",
            "server_initial",
            "syn_ack_acknowledges",
            "third_sequence",
            "third_acknowledges"
        ]
        .map(|name| count(&handshake[name]))
    );
    assert_eq!((cited("4.1")[0].sequence, cited("4.1")[0].flags & SYN), (syn.sequence, SYN));
    let fin = &report["evidence"]["fin"];
    let [last, first_fin, acknowledges] = cited("4.4")[..] else { panic!("three segments") };
    assert!(
        last.comments.contains(&format!("last byte {}", fin["last_byte"])),
        "{}",
        last.comments
    );
    let number = |name: &str| count(&handshake["client_initial"]) + count(&fin[name]);
    let relative =
        [first_fin.sequence, acknowledges.acknowledgment].map(|number| number % (1 << 32));
    assert_eq!(relative, ["number", "acknowledged_by"].map(|name| number(name) % (1 << 32)));
    let has = |id: &str, flag: u64| cited(id).iter().any(|frame| frame.flags & flag != 0);
    assert!(
        has("4.5", FIN)
            && has("4.5", RST)
            && has("4.6", FIN)
            && has("4.27", RST)
            && has("4.28", FIN)
    );
    let says = |id: &str, text: &str| cited(id).iter().any(|frame| frame.comments.contains(text));
    for (id, text) in [
        ("4.11", "HTTP/1.0, Connection: keep-alive"),
        ("4.12", ": 501"),
        ("4.13", ": 304"),
        ("4.15", ": 400"),
        ("4.16", "DATA of stream"),
        ("4.17", "the lost segment, sent again"),
        ("4.25", ": 204"),
        ("4.27", "Last-Event-ID: "),
    ] {
        assert!(says(id, text), "{id}: {text}");
    }
}

/// The closes in four and in three segments are drawn with the names of textbooks and the states.
fn check_closes(out: &Path) {
    let ladder = |name: &str| fs::read_to_string(out.join(format!("ladders/{name}.svg"))).unwrap();
    let four = ladder("close-four.en");
    for label in
        ["first wave", "second wave", "third wave", "fourth wave", "FIN-WAIT-2", "LAST-ACK"]
    {
        assert!(four.contains(&format!(">{label}<")), "{label}");
    }
    assert!(ladder("close-four.narrow.zh").contains(">第四次挥手<"));
    assert!(ladder("close-three.en").contains("closed by the client in 3 segments"));
    for name in ["close-half.en", "close-server.zh", "close-websocket.en", "close-reset.zh"] {
        assert!(ladder(name).contains("ESTABLISHED"), "{name}");
    }
    for name in
        ["transports.md", "transports.zh.md", "handshake-and-close.md", "handshake-and-close.zh.md"]
    {
        let page = fs::read_to_string(out.join(name)).unwrap();
        for picture in page.split("ladders/").skip(1).map(|rest| rest.split_once(".svg").unwrap().0)
        {
            assert!(out.join(format!("ladders/{picture}.svg")).is_file(), "{name}: {picture}");
        }
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Checks what follows from the cell's protocol, whatever the timing.
fn check_cell(cell: &Value) {
    let name = &cell["cell"];
    let is = |key: &str, value: &str| name[key] == value;
    let (connections, requests, answers) =
        (count(&cell["connections"]), count(&cell["requests"]), count(&cell["answers"]));
    let is_socket = is("transport", "websocket");
    let closes = is("version", "1.0") || is("version", "1.1-close");
    match (closes, is_socket) {
        (true, true) => assert_eq!((connections, requests), (answers, answers), "{name}"),
        (true, false) => assert_eq!(connections, requests, "{name}"),
        (false, true) => assert_eq!((connections, requests), (1, 1), "{name}"),
        // The classic page posts its question next to its stream.
        (false, false) if is("dialect", "classic") && is("version", "1.1") => {
            assert_eq!((connections, requests), (2, 2 * answers), "{name}");
        }
        (false, false) => assert_eq!(connections, 1, "{name}"),
    }
    let down = &cell["bytes"]["down"];
    assert_eq!(count(&down["tls"]) > 0, name["tls"] == true, "{name}");
    assert_eq!(
        count(&down["framing"]) == 0,
        is("version", "1.0")
            || (is("transport", "json") && !is("version", "2"))
            || is("transport", "long_poll") && !is("version", "2"),
        "{name}: {down}"
    );
    // The server's body counts cover all bytes.
    let said =
        ["framing", "dialect", "text"].map(|kind| count(&cell["said"][kind])).iter().sum::<u64>();
    // Apart from responses there are polls, the classic page's questions, and, in an HTTP/2 stream's body, a socket's
    // frames.
    let has_others = is("transport", "long_poll")
        || (is("dialect", "classic") && !is_socket)
        || (is_socket && is("version", "2"));
    assert!(
        said == count(&down["body"]) || (has_others && said < count(&down["body"])),
        "{name}: {said} {down}"
    );
    assert!(has_others || count(&cell["said"]["text"]) >= count(&cell["text_bytes"]), "{name}");
    assert_eq!(cell["missing"], json!([]), "{name}");
    let cut = &cell["cut"];
    if is("dialect", "responses") || is("transport", "json") {
        assert!(cut["resumed_by"].is_string(), "{name}: {cut}");
        assert_eq!(
            (&cut["missing"], &cut["twice"], &cut["pieces_whole"]),
            (&json!(0), &json!(0), &json!(TOKENS)),
            "{name}"
        );
    } else {
        // It cannot be resumed, and the model call is cancelled.
        let gave = count(&cut["model_gave"]);
        assert_eq!(
            (&cut["resumed_by"], count(&cut["missing"])),
            (&Value::Null, TOKENS - count(&cut["pieces_before"])),
            "{name}: {cut}"
        );
        assert!(gave < TOKENS, "{name}: {cut}");
    }
    if let Some(speech) = cell["speech"].as_object() {
        assert_eq!(speech["heard_before_end"], true, "{name}");
        let has_another = is("dialect", "classic") && is("version", "1.1");
        let needs_another = !(is_socket || is("version", "2") || has_another);
        assert_eq!(count(&speech["new_connections"]), u64::from(needs_another), "{name}");
    }
}

/// Checks the packets against the connections.
fn check_wire(cell: &Value) {
    let (name, wire) = (&cell["cell"], &cell["wire"]);
    let connections = count(&cell["connections"]);
    assert_eq!(count(&wire["connections"]), connections, "{name}");
    // On a busy machine a segment may be retransmitted although none is lost.
    let most = 2 * connections + count(&wire["retransmissions"]);
    assert!((2 * connections..=most).contains(&count(&wire["syn"])), "{name}: {wire}");
    let endings: u64 = wire["endings"].as_object().unwrap().values().map(count).sum();
    assert_eq!(endings, connections, "{name}");
    assert!(
        wire["endings"].as_object().unwrap().keys().all(|ending| ending != "open"),
        "{name}: {wire}"
    );
    let payload: u64 = ["up", "down"]
        .iter()
        .flat_map(|way| cell["bytes"][way].as_object().unwrap().values())
        .map(count)
        .sum();
    let on_wire =
        count(&wire["bytes_up"]) + count(&wire["bytes_down"]) - count(&wire["header_bytes"]);
    assert!(on_wire >= payload, "{name}: {on_wire} {payload}");
}

fn check_verdicts(report: &Value) {
    let verdicts = report["verdicts"].as_array().unwrap();
    let rulings: BTreeMap<&str, &str> = verdicts
        .iter()
        .map(|verdict| (verdict["id"].as_str().unwrap(), verdict["ruling"].as_str().unwrap()))
        .collect();
    assert_eq!(rulings.len(), 30);
    for (ruling, claims) in [
        (
            "right",
            &[
                "4.1", "4.3", "4.6", "4.8", "4.9", "4.10", "4.11", "4.15", "4.16", "4.19", "4.20",
                "4.21", "4.22", "4.24", "4.25", "4.27",
            ][..],
        ),
        ("imprecise", &["4.2", "4.5", "4.12", "4.13", "4.23", "4.26"]),
        ("half_right", &["4.7"]),
        ("wrong", &["4.4", "4.28", "4.29"]),
        ("wrong_reason", &["4.14"]),
        ("wrong_frame", &["4.30"]),
        ("depends", &["4.18"]),
        ("meaningless", &["4.17"]),
    ] {
        for claim in claims {
            assert_eq!(rulings[claim], ruling, "{claim}: {report:#}");
        }
    }
    let shown = verdicts.iter().find(|verdict| verdict["id"] == "4.28").unwrap();
    assert_eq!(
        shown["evidence"]["en"],
        "2 answers of 56 events: 1 SYN, 0 FIN before the last was over."
    );
}

fn check_files(out: &Path, report: &Value) {
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    for verdict in report["verdicts"].as_array().unwrap() {
        for language in ["en", "zh"] {
            let claim = verdict["claim"][language].as_str().unwrap().replace('"', "&quot;");
            assert!(page.contains(&claim), "{claim}");
        }
    }
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "it needs nothing else");
    assert!(page.contains("One program: the Java demo") && page.contains("Conclusion: if you"));
    assert!(page.contains("Classic API (the Java demo's): WebSocket · HTTP/1.1"), "its ladder");
    for name in [
        "responses-sse-h1.1",
        "responses-websocket-h1.1",
        "responses-sse-h2",
        "responses-sse-h1.1-tls",
        "classic-sse-h1.1",
        "classic-websocket-h1.1",
    ] {
        let ladder = fs::read_to_string(out.join(format!("ladders/{name}.en.svg"))).unwrap();
        assert!(ladder.contains("SYN+ACK") && ladder.contains("FIN"), "{name}");
        assert!(page.contains("SYN+ACK"));
    }
    for name in ["transports.md", "transports.zh.md"] {
        let article = fs::read_to_string(out.join(name)).unwrap();
        for picture in article
            .lines()
            .filter_map(|line| line.strip_prefix("![")?.split_once("](")?.1.strip_suffix(')'))
        {
            assert!(out.join(picture).is_file(), "{name}: {picture}");
        }
    }
}

/// The packets of a capture: time, original length and bytes of its enhanced packet blocks (pcapng, section 4.3).
fn packets(file: &[u8]) -> Vec<(Moment, usize, Vec<u8>)> {
    let number = |at: usize| u32::from_le_bytes(*file[at..].first_chunk().unwrap());
    let (mut at, mut packets) = (0, Vec::new());
    while at < file.len() {
        let length = number(at + 4) as usize;
        if number(at) == 6 {
            let nanoseconds = u64::from(number(at + 12)) << 32 | u64::from(number(at + 16));
            let captured = number(at + 20) as usize;
            packets.push((
                Moment(nanoseconds),
                number(at + 24) as usize,
                file[at + 28..at + 28 + captured].to_vec(),
            ));
        }
        at += length;
    }
    packets
}

const FIELDS: [&str; 8] = [
    "tcp.seq",
    "tcp.seq_raw",
    "tcp.ack",
    "tcp.len",
    "tcp.flags",
    "tcp.window_size",
    "tcp.hdr_len",
    "frame.len",
];

/// A segment in the format of tshark's fields.
fn line(segment: &Segment, length: usize) -> String {
    let number = |value: Option<u64>| value.unwrap_or(0).to_string();
    [
        number(segment.relative_sequence),
        segment.sequence.to_string(),
        number(segment.relative_acknowledgment),
        segment.payload_bytes.to_string(),
        format!("{:#06x}", segment.flags.0),
        number(segment.window_bytes.map(u64::from)),
        segment.transport_bytes.to_string(),
        length.to_string(),
    ]
    .join("\t")
}

fn tshark(arguments: &[&str]) -> String {
    // Independent of the user's own settings.
    let output = Command::new("tshark")
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/nonexistent")
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("tshark: {error}; scripts/setup installs it"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn check_with_wireshark(path: &Path) {
    let file = fs::read(path).unwrap();
    let path = path.to_str().unwrap();
    let mut arguments =
        vec!["-r", path, "-T", "fields", "-E", "occurrence=f", "-o", "tcp.check_checksum:TRUE"];
    arguments.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
    let found = tshark(&arguments);
    let mut flows = FlowTable::new(FlowLimits {
        connections: 1 << 16,
        segments: 1,
        stream_bytes: 1 << 20,
        pending_bytes: 1 << 20,
    });
    let packets = packets(&file);
    assert!(packets.len() > 4000, "{}", packets.len());
    assert_eq!(found.lines().count(), packets.len());
    for (index, (found, (at, length, bytes))) in found.lines().zip(&packets).enumerate() {
        let seen =
            flows.push(*at, *length as u64, &decode(LinkType::Ethernet, bytes).unwrap()).unwrap();
        assert_eq!(found, line(&seen.segment, *length), "packet {}", index + 1);
    }
    // The file contains the keys: TLS can be decrypted, and the comments explain the packets.
    let inside = tshark(&[
        "-r",
        path,
        "-Y",
        "tls && http.request.method == \"POST\"",
        "-T",
        "fields",
        "-e",
        "http.request.uri",
    ]);
    assert!(inside.lines().any(|line| line == "/v1/responses"), "{inside}");
    let comments = tshark(&[
        "-r",
        path,
        "-Y",
        "frame.comment contains \"responses/sse/h1.1:\"",
        "-T",
        "fields",
        "-e",
        "frame.comment",
    ]);
    assert!(comments.lines().any(|line| line.contains("POST /v1/responses")), "{comments}");
    assert!(
        comments.lines().any(|line| line.contains("event response.output_text.delta")),
        "{comments}"
    );
}

#[tokio::test]
async fn a_remote_server_is_measured_from_the_client_and_its_key_stays_secret() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let directory = tempfile::tempdir().unwrap();
    let server = format!("http://{}", test_server.address);
    let arguments = [
        "--server",
        &server,
        "--key",
        ADMIN,
        "--model",
        "demo",
        "--quick",
        "--turns",
        "2",
        "--dialect",
        "responses,chat_completions",
    ];
    let output = compare(
        directory.path(),
        &[&arguments[..], &["--transport", "sse,websocket", "--http", "1.1,2"]].concat(),
    )
    .await;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(err.contains("The model is elsewhere"), "{err}");
    let report = report(directory.path());
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 6);
    for cell in cells {
        assert_eq!(
            (&cell["failed"], &cell["disagreements"], &cell["answers"]),
            (&Value::Null, &json!([]), &json!(2))
        );
        assert_eq!(
            (&cell["times"]["added_ms"], &cell["processor_us_per_token"]),
            (&Value::Null, &Value::Null)
        );
        assert!(cell["said"].is_object(), "an admin sees what the server counts: {cell}");
    }
    for file in walk(&directory.path().join("out")) {
        let bytes = fs::read(&file).unwrap();
        assert!(
            !bytes.windows(ADMIN.len()).any(|window| window == ADMIN.as_bytes()),
            "{}",
            file.display()
        );
    }
    test_server.close().await;
}

#[tokio::test]
async fn packets_have_the_requested_delay() {
    if !has_namespaces() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cells = [
        "--dialect",
        "responses",
        "--transport",
        "json,sse",
        "--http",
        "1.1,1.1-close",
        "--encrypted",
        "off",
    ];
    let output = compare(
        directory.path(),
        &[&["--quick", "--turns", "2", "--delay", "30", "--bandwidth", "500"][..], &cells].concat(),
    )
    .await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(directory.path());
    assert!(
        report["place"]["en"]
            .as_str()
            .unwrap()
            .contains("takes 30 ms in each direction, and 500 KB pass each second")
    );
    for cell in report["cells"].as_array().unwrap() {
        let least = |path: &str| cell.pointer(path).and_then(Value::as_f64).unwrap();
        assert!(
            least("/wire/handshake_ms/min") >= 60.0 && least("/times/added_ms/min") >= 30.0,
            "{cell}"
        );
        assert_eq!((&cell["cut"]["missing"], &cell["missing"]), (&json!(0), &json!([])));
    }
    // The verdicts do not depend on the delay.
    assert_eq!(
        ["4.6", "4.11", "4.16", "4.17", "4.27", "4.28"].map(|id| ruling(&report, id)),
        ["right", "right", "right", "meaningless", "right", "wrong"].map(Value::from)
    );
}

fn ruling(report: &Value, id: &str) -> Value {
    let verdicts = report["verdicts"].as_array().unwrap();
    verdicts.iter().find(|verdict| verdict["id"] == id).unwrap()["ruling"].clone()
}

#[tokio::test]
async fn the_classic_api_alone_is_judged_by_what_its_cells_show() {
    if !has_namespaces() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cells = ["--dialect", "classic", "--transport", "sse,websocket", "--encrypted", "off"];
    let output =
        compare(directory.path(), &[&["--quick", "--runs", "3"][..], &cells].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(directory.path());
    for (id, expected) in [
        ("4.7", "half_right"),
        ("4.10", "right"),
        ("4.14", "wrong_reason"),
        ("4.18", "depends"),
        ("4.19", "right"),
        ("4.28", "wrong"),
        ("4.29", "wrong"),
        // A second question on its socket waits, so nothing can be sent while an answer streams.
        ("4.20", "not_measured"),
    ] {
        assert_eq!(ruling(&report, id), expected, "{id}");
    }
    for cell in report["cells"].as_array().unwrap() {
        let runs = cell["runs"].as_array().unwrap();
        assert!((3..=4).contains(&runs.len()), "a repetition at most: {cell}");
        // One conversation of three answers with twelve tokens each, in every run.
        let timed: u64 = runs.iter().map(|run| count(&run["tokens"])).sum();
        assert_eq!((timed, count(&cell["answers"])), (36 * runs.len() as u64, 3));
        let added = &cell["times"]["added_ms"];
        assert!(count(&added["count"]) <= timed && added["p99"].is_null(), "{added}");
        if cell["cell"]["transport"] == "sse" && cell["cell"]["version"] == "1.1" {
            assert_eq!(cell["done"], json!({ "streams": 3, "with_end_of_body": 3 }));
        }
    }
    // Every run starts with another cell.
    let first = |run: usize| {
        let place = |cell: &Value| count(&cell["runs"][run]["place"]);
        let cells = report["cells"].as_array().unwrap();
        (0..cells.len()).min_by_key(|index| place(&cells[*index]))
    };
    assert_eq!([0, 1, 2].map(first), [Some(0), Some(2), Some(4)]);
    let page = fs::read_to_string(directory.path().join("out/report.html")).unwrap();
    assert!(page.contains("Classic API (the Java demo's): SSE · HTTP/1.1"), "its ladder");
    assert!(page.contains("SYN+ACK") && page.contains("In the API of the Java demo: 3 answers"));
    // What its cells show is cited of their packets.
    for verdict in report["verdicts"].as_array().unwrap() {
        let id = verdict["id"].as_str().unwrap();
        let frames = verdict["packets"]["frames"].as_array().map_or(0, Vec::len);
        let is_cited = !["4.8", "4.20", "4.22"].contains(&id);
        assert_eq!(frames > 0, is_cited, "{id}: {}", verdict["packets"]);
    }
}

/// Programs that keep all processors busy, for a limited time.
struct BusyLoops(Vec<std::process::Child>);

impl BusyLoops {
    fn start() -> Self {
        let processors = std::thread::available_parallelism().unwrap().get();
        let start = || {
            Command::new("timeout")
                .args(["120", "sh", "-c", "while :; do :; done"])
                .spawn()
                .unwrap()
        };
        Self((0..2 * processors).map(|_| start()).collect())
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // timeout(1) passes SIGTERM on to its program.
            let id = child.id().to_string();
            let _status = Command::new("kill").args(["-TERM", &id]).status();
            let _status = child.wait();
        }
    }
}

#[tokio::test]
async fn a_busy_machine_is_said_first_and_turns_no_verdict() {
    if !has_namespaces() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cells =
        ["--dialect", "responses", "--transport", "json,sse,websocket", "--encrypted", "off"];
    let busy = BusyLoops::start();
    let output = compare(directory.path(), &[&["--quick"][..], &cells].concat()).await;
    drop(busy);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(
        out.starts_with("This machine was busy while it measured: other programs used"),
        "{out}"
    );
    let report = report(directory.path());
    assert!(report["load"]["others_share"].as_f64().unwrap() >= 0.25, "{}", report["load"]);
    let page = fs::read_to_string(directory.path().join("out/report.html")).unwrap();
    let (said, first_table) = (page.find("This machine was busy"), page.find("<table"));
    assert!(said.unwrap() < first_table.unwrap());
    for (id, expected) in [
        ("4.1", "right"),
        ("4.4", "wrong"),
        ("4.7", "half_right"),
        ("4.10", "right"),
        ("4.11", "right"),
        ("4.14", "wrong_reason"),
        ("4.15", "right"),
        ("4.16", "right"),
        ("4.18", "depends"),
        ("4.19", "right"),
        ("4.20", "right"),
        ("4.22", "right"),
        ("4.27", "right"),
        ("4.28", "wrong"),
        ("4.29", "wrong"),
        ("4.30", "wrong_frame"),
    ] {
        assert_eq!(ruling(&report, id), expected, "{id}: {}", report["evidence"]);
    }
}

#[tokio::test]
async fn on_loopback_it_reports_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let cells = [
        "--dialect",
        "responses",
        "--transport",
        "sse,websocket",
        "--http",
        "1.1",
        "--encrypted",
        "on",
    ];
    let output = compare(
        directory.path(),
        &[&["--quick", "--turns", "2", "--loopback"][..], &cells].concat(),
    )
    .await;
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && err.contains("On loopback, as was asked for"), "{err}");
    let report = report(directory.path());
    assert!(report["notes"][0]["zh"].as_str().unwrap().contains("回环"));
    assert_eq!(report["evidence"]["loss"], Value::Null);
    assert!(
        report["cells"]
            .as_array()
            .unwrap()
            .iter()
            .all(|cell| cell["failed"].is_null() && cell["disagreements"] == json!([]))
    );
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let output = compare(directory.path(), &["--server", &server, "--quick"]).await;
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && err.contains("nothing happened within 10 seconds"),
        "{err}"
    );
}

#[tokio::test]
async fn a_cell_that_cannot_be_measured_says_why_and_the_others_continue() {
    let test_server =
        TestServer::open_with(TestServerPlan::server(|server| server.classic.enabled = false))
            .await;
    let directory = tempfile::tempdir().unwrap();
    let server = format!("http://{}", test_server.address);
    let arguments = [
        "--server",
        &server,
        "--model",
        "demo",
        "--quick",
        "--turns",
        "1",
        "--dialect",
        "responses,classic",
        "--transport",
        "sse",
        "--http",
        "1.1",
    ];
    let output = compare(directory.path(), &arguments).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(directory.path());
    let failed = |index: usize| report["cells"][index]["failed"].clone();
    assert_eq!(failed(0), Value::Null);
    assert!(failed(1).as_str().is_some_and(|why| why.contains("404")), "{report:#}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("not measured: "));
    test_server.close().await;
}

#[tokio::test]
async fn incomparable_settings_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, complaint) in [
        (&["--server", "localhost:80"][..], "expected http://"),
        (&["--server", "http://127.0.0.1:1"], "127.0.0.1:1"),
        (&["--turns", "0"], "0 is not in 1..=100"),
        (&["--runs", "0"], "0 is not in 1..=50"),
        (&["--transport", "pigeon"], "pigeon"),
        (&["--delay", "10", "--loopback"], "cannot be used with"),
        (&["--http", "1.0", "--transport", "websocket"], "there is no such cell"),
    ] {
        let arguments: Vec<&str> =
            ["compare", "--output", "out"].iter().chain(arguments).copied().collect();
        let (status, out, err) = run_in(&directory, &arguments).await;
        assert!(
            !status.success() && out.is_empty() && err.contains(complaint),
            "{arguments:?}: {err}"
        );
    }
}
