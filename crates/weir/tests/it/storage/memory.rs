//! How much memory a large request takes.

use std::fs;

use client::Request;
use serde_json::json;
use tempfile::TempDir;

use crate::program::{RunningServer, weir};

/// A picture in base64: almost as large as a body may be.
const PICTURE: usize = 30 << 20;

#[tokio::test]
async fn a_picture_takes_less_than_four_times_its_size() {
    for store in [false, true] {
        let directory = TempDir::new().unwrap();
        let server = RunningServer::start(weir(directory.path())).await;
        let ask = |input| {
            Request::post(
                "/v1/responses",
                &json!({ "model": "demo", "store": store, "input": input }),
            )
        };
        // What is loaded for the first answer, such as the vocabulary, is no part of the picture.
        assert_eq!(server.json(&ask(json!("hi"))).await.0, 200);
        let before = bytes(server.pid(), "VmRSS:");
        let picture = json!({ "type": "input_image", "image_url": format!("data:image/png;base64,{}", "QUJD".repeat(PICTURE / 4)) });
        let (status, answer) =
            server.json(&ask(json!([{ "role": "user", "content": [picture] }]))).await;
        assert_eq!(status, 200, "{answer}");
        let peak = bytes(server.pid(), "VmHWM:") - before;
        assert!(peak < 4 * PICTURE as u64, "{peak} bytes, stored: {store}");
        server.stop().await;
    }
}

/// A field of the memory of a process (proc(5)).
fn bytes(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
