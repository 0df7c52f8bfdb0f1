//! The lines that repair a hop. Those for nginx, Caddy and HAProxy are the ones of the tested files
//! in docs/proxies.

use crate::hop::Hop;
use crate::text::{Text, text};
use crate::verdict::Verdict;

/// What is to be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A hop collects what it should pass on.
    Buffering,
    /// A hop compresses a stream and does not flush.
    Compression,
    /// A hop or the kernel waits for more before it sends.
    Waiting,
    /// A hop closes connections on which nothing is sent.
    IdleTimeout,
    /// A hop does not let WebSockets through.
    WebSocket,
    /// A hop makes a response that was broken off look complete.
    Truncation,
}

impl Cause {
    /// What a verdict asks for; `None` if there is nothing to repair.
    pub fn of(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::ByTime { .. } | Verdict::BySize { .. } | Verdict::ToEnd => {
                Some(Self::Buffering)
            }
            Verdict::Compressed => Some(Self::Compression),
            Verdict::Late { .. } => Some(Self::Waiting),
            Verdict::Steady | Verdict::Uneven { .. } | Verdict::Unknown(_) => None,
        }
    }
}

/// The lines that repair one hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// Which hop.
    pub hop: Hop,
    /// Where the lines go.
    pub place: &'static str,
    /// The lines.
    pub lines: &'static str,
    /// What else to know.
    pub note: Option<Text>,
}

/// The lines for a cause at a hop; `None` if none are known.
pub fn fix(cause: Cause, hop: Hop) -> Option<Fix> {
    let (place, lines) = match cause {
        Cause::Buffering | Cause::Waiting => buffering(hop),
        Cause::Compression => compression(hop),
        Cause::IdleTimeout => idle(hop),
        Cause::WebSocket => websocket(hop),
        Cause::Truncation => truncation(hop),
    }?;
    Some(Fix { hop, place, lines, note: note(cause, hop) })
}

/// The lines for a cause at every hop for which some are known.
pub fn all(cause: Cause) -> Vec<Fix> {
    Hop::ALL.into_iter().filter_map(|hop| fix(cause, hop)).collect()
}

type Lines = Option<(&'static str, &'static str)>;

fn buffering(hop: Hop) -> Lines {
    match hop {
        Hop::Nginx => Some(("location { … }", "proxy_buffering off;\nproxy_http_version 1.1;")),
        Hop::Caddy => Some(("reverse_proxy … { … }", "flush_interval -1")),
        Hop::HaProxy => Some(("defaults", "option http-no-delay")),
        Hop::Traefik => Some((
            "http.services.NAME.loadBalancer",
            "responseForwarding:\n  flushInterval: \"-1ms\"",
        )),
        Hop::Apache => {
            Some(("<VirtualHost>", "ProxyPass \"/\" \"http://127.0.0.1:8000/\" flushpackets=on"))
        }
        Hop::Cloudflare => Some(("the origin's response", "Cache-Control: no-cache, no-transform")),
        Hop::Next => Some(("next.config.js", "compress: false")),
        Hop::Vite => Some((
            "vite.config.js, server.proxy['/v1']",
            "headers: { 'Accept-Encoding': 'identity' }",
        )),
        Hop::Webpack => Some(("webpack.config.js", "devServer: { compress: false }")),
        Hop::Express => Some((
            "app",
            "app.use(compression({ filter: (req, res) =>\n  !/event-stream|ndjson/.test(res.getHeader('Content-Type')) }))",
        )),
        Hop::Envoy | Hop::CloudFront => None,
    }
}

fn compression(hop: Hop) -> Lines {
    match hop {
        Hop::Nginx => Some(("location { … }", "gzip off;")),
        Hop::Caddy => Some(("the site", "@rest not path /v1/*\nencode @rest gzip")),
        Hop::HaProxy => Some((
            "frontend or backend",
            "compression type text/html text/css application/javascript application/json",
        )),
        Hop::Traefik => Some((
            "http.middlewares.NAME.compress",
            "excludedContentTypes:\n  - text/event-stream\n  - application/x-ndjson",
        )),
        Hop::Apache => Some(("<Location \"/v1/\">", "SetEnv no-gzip 1")),
        Hop::Cloudflare => Some(("the origin's response", "Cache-Control: no-cache, no-transform")),
        Hop::Envoy => Some((
            "the route's typed_per_filter_config",
            "envoy.filters.http.compressor:\n  \"@type\": type.googleapis.com/envoy.extensions.filters.http.compressor.v3.CompressorPerRoute\n  disabled: true",
        )),
        Hop::CloudFront => Some(("the cache behavior", "Compress: false")),
        Hop::Next | Hop::Vite | Hop::Webpack | Hop::Express => buffering(hop),
    }
}

fn idle(hop: Hop) -> Lines {
    match hop {
        Hop::Nginx => {
            Some(("location { … }", "proxy_read_timeout 300s;\nproxy_send_timeout 300s;"))
        }
        Hop::Caddy => Some(("reverse_proxy … { … }", "transport http {\n  read_timeout 5m\n}")),
        Hop::HaProxy => {
            Some(("defaults", "timeout client 300s\ntimeout server 300s\ntimeout tunnel 65m"))
        }
        Hop::Traefik => Some((
            "entryPoints.NAME.transport.respondingTimeouts",
            "writeTimeout: 0s\nidleTimeout: 300s",
        )),
        Hop::Apache => Some(("<VirtualHost>", "ProxyTimeout 300")),
        Hop::Envoy => Some(("the route", "timeout: 0s\nidle_timeout: 300s")),
        Hop::CloudFront => Some(("the origin", "OriginReadTimeout: 60")),
        Hop::Vite => {
            Some(("vite.config.js, server.proxy['/v1']", "timeout: 300000,\nproxyTimeout: 300000"))
        }
        Hop::Webpack => Some((
            "webpack.config.js, devServer.proxy[0]",
            "timeout: 300000,\nproxyTimeout: 300000",
        )),
        Hop::Cloudflare | Hop::Next | Hop::Express => None,
    }
}

fn websocket(hop: Hop) -> Lines {
    match hop {
        Hop::Nginx => Some((
            "location { … }",
            "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";",
        )),
        Hop::Apache => Some((
            "<VirtualHost>",
            "ProxyPass \"/v1/\" \"http://127.0.0.1:8000/v1/\" upgrade=websocket",
        )),
        Hop::Vite => Some(("vite.config.js, server.proxy['/v1']", "ws: true")),
        Hop::Webpack => Some(("webpack.config.js, devServer.proxy[0]", "ws: true")),
        Hop::Envoy => {
            Some(("the HTTP connection manager", "upgrade_configs:\n  - upgrade_type: websocket"))
        }
        Hop::Cloudflare => Some(("Network", "WebSockets: On")),
        Hop::Caddy | Hop::HaProxy | Hop::Traefik | Hop::CloudFront | Hop::Next | Hop::Express => {
            None
        }
    }
}

fn truncation(hop: Hop) -> Lines {
    match hop {
        // Over HTTP/1.0, nginx's default, only a close marks the end of a stream.
        Hop::Nginx => {
            Some(("location { … }", "proxy_http_version 1.1;\nproxy_set_header Connection \"\";"))
        }
        Hop::Apache
        | Hop::Caddy
        | Hop::HaProxy
        | Hop::Traefik
        | Hop::Cloudflare
        | Hop::Envoy
        | Hop::CloudFront
        | Hop::Next
        | Hop::Vite
        | Hop::Webpack
        | Hop::Express => None,
    }
}

fn note(cause: Cause, hop: Hop) -> Option<Text> {
    match (cause, hop) {
        (Cause::Buffering, Hop::Nginx) => Some(text!(
            "Or let the server send X-Accel-Buffering: no, and do not ignore that field (proxy_ignore_headers).",
            "也可以让上游发送 X-Accel-Buffering: no，且不要用 proxy_ignore_headers 忽略它。"
        )),
        (Cause::Buffering, Hop::Traefik) => Some(text!(
            "And no middleware 'buffering' on this router.",
            "同时该 router 上不要使用 buffering 中间件。"
        )),
        (Cause::Buffering, Hop::Cloudflare) => Some(text!(
            "The content type must be text/event-stream. Turn off what rewrites bodies on this path.",
            "内容类型必须是 text/event-stream；并在该路径上关闭会改写响应体的功能。"
        )),
        (Cause::WebSocket, Hop::Nginx) => Some(text!(
            "docs/proxies/nginx.conf has a map in place of \"upgrade\", for a location with other requests too.",
            "如果该 location 还处理其他请求，请参照 docs/proxies/nginx.conf 用 map 代替 \"upgrade\"。"
        )),
        (Cause::IdleTimeout, _) => Some(text!(
            "Better: let the server send a heartbeat more often than this timeout (Weir: server.heartbeat).",
            "更好的办法：让服务器的心跳间隔小于这个超时（Weir：server.heartbeat）。"
        )),
        (Cause::Compression, Hop::HaProxy) => Some(text!(
            "Name the types that are compressed, and no streams among them.",
            "只列出需要压缩的类型，不要包含流式类型。"
        )),
        (
            Cause::Buffering
            | Cause::Compression
            | Cause::Waiting
            | Cause::WebSocket
            | Cause::Truncation,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the tested configurations.
    const FILES: [(Hop, &str); 3] = [
        (Hop::Nginx, include_str!("../../../docs/proxies/nginx.conf")),
        (Hop::Caddy, include_str!("../../../docs/proxies/Caddyfile")),
        (Hop::HaProxy, include_str!("../../../docs/proxies/haproxy.cfg")),
    ];

    #[test]
    fn fixes_agree_with_the_tested_configurations() {
        for (hop, file) in FILES {
            let first = fix(Cause::Buffering, hop).unwrap().lines.lines().next().unwrap();
            assert!(file.contains(first), "{}: {first}", hop.name());
        }
        assert!(FILES[0].1.contains(fix(Cause::Compression, Hop::Nginx).unwrap().lines));
        for line in fix(Cause::Compression, Hop::Caddy).unwrap().lines.lines() {
            assert!(FILES[1].1.contains(line), "{line}");
        }
    }

    #[test]
    fn every_problem_has_fixes() {
        for cause in [
            Cause::Buffering,
            Cause::Compression,
            Cause::IdleTimeout,
            Cause::WebSocket,
            Cause::Truncation,
        ] {
            assert!(all(cause).iter().any(|fix| fix.hop == Hop::Nginx), "{cause:?}");
        }
        assert_eq!(Cause::of(&Verdict::Steady), None);
        assert_eq!(Cause::of(&Verdict::ToEnd), Some(Cause::Buffering));
    }
}
