//! Pictures of scripted connections. With `LENS_PICTURES` set to a directory they are left there,
//! to be looked at.

use super::*;
use crate::http::read_connection;
use crate::tests::build::{ACK, FIN, PSH, RST, Script};

fn chunked() -> Script {
    let request = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n{\"stream\":true}";
    let mut script = Script::new();
    script.handshake().wait(300).client(PSH, 1, 1, request);
    let (mut at, asked) = (1, 1 + request.len() as u32);
    script.server(ACK, at, asked, b"").wait(900);
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let event = |name: &str| {
        let event = format!("event: {name}\ndata: {{\"delta\":\"<&>\"}}\n\n");
        format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
    };
    let delta = event("response.output_text.delta");
    for (wait, part) in [
        (0, head.to_vec()),
        (20_000, event("response.created")),
        (21_000, delta.clone()),
        (38_000, delta.repeat(3)),
        (2_500_000, delta.clone()),
        (19_000, delta),
        (20_000, [event("response.completed").as_slice(), b"0\r\n\r\n"].concat()),
    ] {
        script.wait(wait).server(PSH, at, asked, &part);
        at += part.len() as u32;
        script.wait(40).client(ACK, asked, at, b"");
    }
    script.wait(5000).client(FIN, asked, at, b"").server(FIN, at, asked + 1, b"").client(
        ACK,
        asked + 1,
        at + 1,
        b"",
    );
    script
}

fn websocket() -> Script {
    use codec::websocket::{CloseCode, Opcode, encode};
    let mut script = Script::between("[2001:db8::1]:40000", "[2001:db8::2]:8000", [9, 7]);
    let request =
        b"GET /v1/responses HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let asked = 1 + request.len() as u32;
    script.handshake().client(PSH, 1, 1, request).wait(200).server(PSH, 1, asked, answer);
    let mut at = 1 + answer.len() as u32;
    let mut text = bytes::BytesMut::new();
    encode::client_frame(
        &mut text,
        encode::WebSocketFrameHead::whole(Opcode::Text),
        [1, 2, 3, 4],
        &[b'x'; 42],
    );
    script.wait(500).client(PSH, asked, at, &text);
    let said = asked + text.len() as u32;
    for part in [
        encode::server_text(b"hello"),
        encode::server_text(b"world"),
        encode::close(CloseCode::RESTART, ""),
    ] {
        script.wait(4000).server(PSH, at, said, &part);
        at += part.len() as u32;
    }
    script.wait(300).server(PSH, at - 4, said, &encode::close(CloseCode::RESTART, ""));
    script.client(RST, said, at, b"");
    script
}

fn pictures(name: &str, script: &Script) -> Vec<String> {
    let flows = script.flows();
    let connection = flows.iter().next().unwrap().1;
    let conversation = read_connection(connection);
    let mut all = Vec::new();
    for (width, language) in [
        (960, Language::English),
        (400, Language::English),
        (960, Language::Chinese),
        (400, Language::Chinese),
    ] {
        let svg = draw(
            connection,
            &conversation,
            &LadderOptions { width, language, ..LadderOptions::default() },
        );
        if let Some(directory) = std::env::var_os("LENS_PICTURES") {
            let language = language.pick("en", "zh");
            std::fs::write(
                std::path::Path::new(&directory).join(format!("{name}-{width}-{language}.svg")),
                &svg,
            )
            .unwrap();
        }
        all.push(svg);
    }
    all
}

/// Every element that is opened is closed, in order.
fn check_tags(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0) {
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn an_answer_in_chunks_is_drawn() {
    let pictures = pictures("chunked", &chunked());
    for svg in &pictures {
        check_tags(svg);
    }
    let english = &pictures[0];
    for label in [
        ">SYN  seq=0 (1000)  win=1000  mss=1460  wscale=7<",
        ">SYN+ACK  seq=0 (5000)  ack=1 (1001)  win=1000  mss=1460  wscale=7<",
        ">POST /v1/responses HTTP/1.1, body 15 B<",
        ">HTTP/1.1 200<",
        ">chunk, event response.created<",
        ">3 × chunk, 3 × event response.output_text.delta<",
        ">chunk, last chunk, event response.completed<",
        ">⋯ 2.50 s<",
        ">TIME-WAIT<",
        "closed by the client in 3 segments",
    ] {
        assert!(english.contains(label), "{label}");
    }
    assert!(pictures[2].contains(">3 × 块, 3 × 事件 response.output_text.delta<"));
}

#[test]
fn frames_and_a_reset_are_drawn() {
    let pictures = pictures("websocket", &websocket());
    for svg in &pictures {
        check_tags(svg);
    }
    for label in [
        "GET /v1/responses HTTP/1.1",
        ">WebSocket text 42 B masked<",
        ">WebSocket close 2 B 1012<",
        ">retransmission, ",
        "reset by the client",
    ] {
        assert!(pictures[0].contains(label), "{label}");
    }
}

/// A handshake and a close with an acknowledgment for each FIN, and one without.
fn closes() -> [Script; 2] {
    let begin = || {
        let mut script = Script::new();
        script.handshake().wait(200).client(PSH, 1, 1, b"GET / HTTP/1.1\r\n\r\n");
        script.wait(300).server(PSH, 1, 19, b"HTTP/1.1 204 No Content\r\n\r\n");
        script.wait(40).client(ACK, 19, 28, b"").wait(500).client(FIN, 19, 28, b"").wait(60);
        script
    };
    let (mut four, mut three) = (begin(), begin());
    four.server(ACK, 28, 20, b"").wait(700).server(FIN, 28, 20, b"");
    three.server(FIN, 28, 20, b"");
    [four, three].map(|mut script| {
        script.wait(30).client(ACK, 20, 29, b"");
        script
    })
}

#[test]
fn a_close_has_the_names_of_textbooks_and_both_states() {
    let picture = |script: &Script, width, language| {
        let flows = script.flows();
        let connection = flows.iter().next().unwrap().1;
        let annotations = Annotations::Textbook;
        let options = LadderOptions { width, language, annotations, ..LadderOptions::default() };
        let svg = draw(connection, &read_connection(connection), &options);
        check_tags(&svg);
        svg
    };
    let [four, three] = closes();
    let pictures = [
        ("four", picture(&four, 960, Language::English)),
        ("four-zh", picture(&four, 400, Language::Chinese)),
        ("three", picture(&three, 400, Language::English)),
        ("three-zh", picture(&three, 960, Language::Chinese)),
    ];
    if let Some(directory) = std::env::var_os("LENS_PICTURES") {
        for (name, svg) in &pictures {
            std::fs::write(std::path::Path::new(&directory).join(format!("{name}.svg")), svg)
                .unwrap();
        }
    }
    let [(_, four), (_, four_zh), (_, three), (_, three_zh)] = &pictures;
    let english = ["first handshake", "second handshake", "third handshake", "first wave"];
    for label in english.iter().chain(&["second wave", "third wave", "fourth wave"]) {
        assert!(four.contains(&format!(">{label}<")), "{label}");
    }
    for label in ["第一次握手", "第三次握手", "第一次挥手", "第四次挥手"] {
        assert!(four_zh.contains(&format!(">{label}<")), "{label}");
    }
    for state in ["CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1"]
        .iter()
        .chain(&["FIN-WAIT-2", "CLOSE-WAIT", "LAST-ACK", "TIME-WAIT"])
    {
        assert!(four.contains(&format!(">{state}<")), "{state}");
    }
    assert!(three.contains(">second and third wave in one<") && !three.contains("FIN-WAIT-2"));
    assert!(three_zh.contains(">第二、第三次挥手合并<"));
}

#[test]
fn long_connections_lose_their_middle() {
    let script = chunked();
    let flows = script.flows();
    let connection = flows.iter().next().unwrap().1;
    let svg = draw(
        connection,
        &read_connection(connection),
        &LadderOptions { segments: 9, ..LadderOptions::default() },
    );
    check_tags(&svg);
    if let Some(directory) = std::env::var_os("LENS_PICTURES") {
        std::fs::write(std::path::Path::new(&directory).join("long.svg"), &svg).unwrap();
    }
    assert_eq!(svg.matches("<polygon").count(), 9);
    assert!(svg.contains(&format!("⋯ {} segments left out", connection.total_segments() - 9)));
}
