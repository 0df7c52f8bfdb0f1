//! The user's copy of the demo's pages: where each of its files is served, and that nothing else is.

use std::fs;
use std::path::Path;

use client::Request;

use super::plan;
use crate::test_server::TestServer;

/// A copy with the demo's layout, and a secret file next to it. The contents are our own.
fn copy(root: &Path) {
    for (name, text) in [
        ("pages/templates/1.html", "<script>one()</script>"),
        ("pages/templates/websocket.html", "socket"),
        ("pages/templates/_.html", "oldest"),
        ("pages/static/css/markdown.css", "css"),
        ("pages/static/js/eventsource.min.js", "js"),
        ("pages/static/image/favicon-32x32.png", "png"),
        ("pages/static/font/text.woff2", "woff2"),
        ("pages/application.properties", "chatgpt.apiKey=sk-secret"),
        ("secret.html", "secret"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(root.join("secret.html"), root.join("pages/link.html")).unwrap();
}

#[tokio::test]
async fn c11_every_path_of_the_pages_serves_its_file() {
    let directory = tempfile::tempdir().unwrap();
    copy(directory.path());
    let test_server =
        TestServer::open_with(plan(|classic| classic.pages = Some(directory.path().join("pages"))))
            .await;
    for (path, text, kind) in [
        ("/", "<script>one()</script>", "text/html; charset=utf-8"),
        ("/1.html", "<script>one()</script>", "text/html; charset=utf-8"),
        ("/websocket", "socket", "text/html; charset=utf-8"),
        ("/websocket.html", "socket", "text/html; charset=utf-8"),
        ("/_.html", "oldest", "text/html; charset=utf-8"),
        ("/css/markdown.css", "css", "text/css; charset=utf-8"),
        ("/js/eventsource.min.js", "js", "text/javascript; charset=utf-8"),
        ("/image/favicon-32x32.png", "png", "image/png"),
        ("/static/css/markdown.css", "css", "text/css; charset=utf-8"),
        ("/font/text.woff2", "woff2", "font/woff2"),
    ] {
        let mut response = test_server.send(&Request::get(path)).await;
        assert_eq!(
            (response.status, response.headers.get("content-type")),
            (200, Some(kind)),
            "{path}"
        );
        assert_eq!(response.collect().await.unwrap().0, text.as_bytes(), "{path}");
    }
    let page = test_server.send(&Request::get("/1.html")).await;
    let policy = page.headers.get("content-security-policy").unwrap();
    let scripts =
        policy.split("; ").find(|directive| directive.starts_with("script-src ")).unwrap();
    assert!(
        scripts.starts_with("script-src 'sha256-") && scripts.split(' ').count() == 2,
        "b17: {policy}"
    );
    let tag = page.headers.get("etag").unwrap().to_owned();
    let modified = page.headers.get("last-modified").unwrap().to_owned();
    for (name, value) in [("if-none-match", &*tag), ("if-modified-since", &*modified)] {
        let page = test_server.send(&Request::get("/1.html").header(name, value)).await;
        assert_eq!(page.status, 304, "{name}: {value}");
        assert_eq!(page.headers.get("etag"), Some(&*tag), "{name}");
    }
    let stale = Request::get("/1.html")
        .header("if-none-match", "\"other\"")
        .header("if-modified-since", &modified);
    assert_eq!(test_server.send(&stale).await.status, 200, "a tag outranks a date");
    for path in [
        "/link.html",
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/static/../../secret.html",
        "/application.properties",
        "/templates",
        "/2.html",
    ] {
        assert_eq!(test_server.json(&Request::get(path)).await.0, 404, "{path}");
    }
    assert_eq!(test_server.json(&Request::new("POST", "/1.html")).await.0, 404);
    test_server.close().await;
}

#[tokio::test]
async fn without_a_copy_our_own_page_is_served() {
    let test_server = TestServer::open().await;
    let mut page = test_server.send(&Request::get("/")).await;
    assert!(
        String::from_utf8(page.collect().await.unwrap().0).unwrap().contains("<title>Weir</title>")
    );
    assert_eq!(test_server.json(&Request::get("/1.html")).await.0, 404);
    test_server.close().await;
}
