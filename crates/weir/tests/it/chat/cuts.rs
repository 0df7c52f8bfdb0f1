//! Connections that break in the middle of a response: the text is complete, nothing is repeated, and a note explains
//! what happened.

use std::sync::Arc;

use fakes::FaultProxy;
use fakes::Script;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::pipe::run;
use super::{TRANSPORTS, chat};
use crate::test_server::TestServer;

#[tokio::test]
async fn a_response_survives_a_broken_connection_on_every_transport() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    for (index, transport) in TRANSPORTS.into_iter().enumerate() {
        let proxy = FaultProxy::start(test_server.address).await.unwrap();
        let (begun, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let script =
            Script::new().role().wait_for(&begun).content("One ").content("two ").wait_for(&gate);
        test_server.upstream.script(
            script.content("three ").content("four.").finish("stop").usage(9, 4, 0).done().end(),
        );
        let asked =
            tokio::spawn(run(chat(&directory, proxy.address(), &["--transport", transport]), "hi"));
        client::soon(test_server.upstream.wait_requests(index + 1)).await.unwrap();
        // The reading connection is open: it carried the question, or follows it.
        client::soon(async {
            while proxy.connections() < if transport == "json" { 2 } else { 1 } {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        begun.notify_one();
        proxy.cut_now_rst();
        gate.notify_one();
        let ran = asked.await.unwrap();
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (Some(0), "One two three four.\n"),
            "{transport}: {ran:?}"
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_cut_after_any_byte_loses_and_repeats_nothing() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let pieces: Vec<String> = (1..=12).map(|number| format!("{number} ")).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    for transport in TRANSPORTS {
        for bytes in [1_u64, 700, 1900, 3100, 4200] {
            let proxy = FaultProxy::start(test_server.address).await.unwrap();
            test_server.upstream.script(Script::text(&pieces));
            proxy.cut_after_bytes(bytes, fakes::Cut::Fin);
            let ran =
                run(chat(&directory, proxy.address(), &["--transport", transport]), "hi").await;
            let whole = (Some(0), pieces.concat() + "\n");
            if transport == "websocket" && ran.status == Some(1) && ran.out.is_empty() {
                // A socket that breaks before the response has an id is not retried: that might ask twice.
                assert!(bytes < 1900, "{bytes}: {ran:?}");
                test_server.quiet().await;
                continue;
            }
            assert_eq!(
                (ran.status, ran.out.clone()),
                whole,
                "{transport} cut after {bytes}: {ran:?}"
            );
        }
    }
    assert_eq!(
        test_server.upstream.requests().len() + test_server.upstream.scripts_left(),
        20,
        "no question was asked twice"
    );
    test_server.quiet().await;
    test_server.close().await;
}
