//! Which hop holds a stream back: what the head names, and what the shape of the bursts suggests.

use std::time::Duration;

use client::http1::Headers;

use crate::text::{Text, text};
use crate::verdict::Verdict;

/// A program that stands between a client and a server, or is the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// nginx, and what is built on it (OpenResty, ingress-nginx, Tengine).
    Nginx,
    /// Caddy.
    Caddy,
    /// HAProxy.
    HaProxy,
    /// Traefik.
    Traefik,
    /// Apache's httpd.
    Apache,
    /// Cloudflare.
    Cloudflare,
    /// Envoy, and what is built on it (Istio, Envoy Gateway).
    Envoy,
    /// CloudFront of AWS.
    CloudFront,
    /// The development server of Next.js.
    Next,
    /// The development server of Vite.
    Vite,
    /// webpack-dev-server, and what is built on it (Create React App, Vue CLI).
    Webpack,
    /// Express with its middleware `compression`.
    Express,
}

impl Hop {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 12] = [
        Self::Nginx,
        Self::Caddy,
        Self::HaProxy,
        Self::Traefik,
        Self::Apache,
        Self::Cloudflare,
        Self::Envoy,
        Self::CloudFront,
        Self::Next,
        Self::Vite,
        Self::Webpack,
        Self::Express,
    ];

    /// Its name, as its makers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::HaProxy => "HAProxy",
            Self::Traefik => "Traefik",
            Self::Apache => "Apache",
            Self::Cloudflare => "Cloudflare",
            Self::Envoy => "Envoy",
            Self::CloudFront => "CloudFront",
            Self::Next => "Next.js",
            Self::Vite => "Vite",
            Self::Webpack => "webpack-dev-server",
            Self::Express => "Express",
        }
    }
}

/// A hop that may be the cause, and why it is suspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The hop.
    pub hop: Hop,
    /// Whether a head names it, rather than a shape suggests it.
    pub is_named: bool,
    /// Why.
    pub because: Text,
}

/// Header fields by which hops show themselves: the field, a part of its value in lower case (empty:
/// any), and the hop.
const SIGNS: &[(&str, &str, Hop)] = &[
    ("cf-ray", "", Hop::Cloudflare),
    ("server", "cloudflare", Hop::Cloudflare),
    ("x-amz-cf-id", "", Hop::CloudFront),
    ("server", "nginx", Hop::Nginx),
    ("server", "openresty", Hop::Nginx),
    ("server", "tengine", Hop::Nginx),
    ("server", "caddy", Hop::Caddy),
    ("via", "caddy", Hop::Caddy),
    ("server", "apache", Hop::Apache),
    ("via", "apache", Hop::Apache),
    ("server", "envoy", Hop::Envoy),
    ("server", "istio", Hop::Envoy),
    ("x-envoy-upstream-service-time", "", Hop::Envoy),
    ("via", "haproxy", Hop::HaProxy),
    ("server", "traefik", Hop::Traefik),
    ("x-powered-by", "next.js", Hop::Next),
    ("x-powered-by", "express", Hop::Express),
];

/// The hops that the head of a response names, the nearest to the client first as far as it can be
/// told.
pub fn named(headers: &Headers) -> Vec<Suspect> {
    let mut suspects: Vec<Suspect> = Vec::new();
    for (field, part, hop) in SIGNS {
        let Some(value) = headers.all(field).find(|value| value.to_lowercase().contains(part))
        else {
            continue;
        };
        if suspects.iter().all(|suspect| suspect.hop != *hop) {
            let because = text!("the response has {field}: {value}", "响应带有 {field}: {value}");
            suspects.push(Suspect { hop: *hop, is_named: true, because });
        }
    }
    suspects
}

/// Who may hold a stream back like this: the hops that are named, then those with this habit.
pub fn suspects(headers: &Headers, verdict: &Verdict) -> Vec<Suspect> {
    let mut suspects = named(headers);
    // A hop that rarely has this habit goes to the end of those that are named.
    suspects.sort_by_key(|suspect| !has_habit(suspect.hop, verdict));
    for (hop, because) in by_shape(verdict) {
        if suspects.iter().all(|suspect| suspect.hop != hop) {
            suspects.push(Suspect { hop, is_named: false, because });
        }
    }
    suspects
}

/// Whether a hop is known to do this with its usual settings, or with common ones.
fn has_habit(hop: Hop, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::BySize { .. } => matches!(hop, Hop::Nginx | Hop::Apache | Hop::CloudFront),
        Verdict::ByTime { .. } | Verdict::Late { .. } => {
            matches!(hop, Hop::HaProxy | Hop::Traefik | Hop::Caddy | Hop::Nginx)
        }
        Verdict::ToEnd
        | Verdict::Compressed
        | Verdict::Steady
        | Verdict::Uneven { .. }
        | Verdict::Unknown(_) => true,
    }
}

fn by_shape(verdict: &Verdict) -> Vec<(Hop, Text)> {
    let around = |value: Duration, milliseconds: u64, tolerance: u64| {
        value.as_millis().abs_diff(u128::from(milliseconds)) <= u128::from(tolerance)
    };
    match verdict {
        Verdict::Late { by } | Verdict::ByTime { period: by } if around(*by, 205, 25) => vec![(
            Hop::HaProxy,
            text!(
                "about 200 ms is how long the kernel waits for more of a write that HAProxy says is not the last",
                "约 200 毫秒，正是 HAProxy 声明“还有后续数据”时内核等待的时间"
            ),
        )],
        Verdict::ByTime { period } if around(*period, 100, 20) => vec![(
            Hop::Traefik,
            text!(
                "100 ms is Traefik's usual flush interval",
                "100 毫秒是 Traefik 默认的 flushInterval"
            ),
        )],
        Verdict::BySize { bytes }
            if (3300..=4300).contains(bytes) || (7000..=8400).contains(bytes) =>
        {
            vec![(
                Hop::Nginx,
                text!(
                    "4 or 8 KiB is the size of one of nginx's proxy buffers",
                    "4 或 8 KiB 是 nginx 一个代理缓冲区的大小"
                ),
            )]
        }
        Verdict::ByTime { .. }
        | Verdict::BySize { .. }
        | Verdict::Late { .. }
        | Verdict::ToEnd
        | Verdict::Compressed
        | Verdict::Steady
        | Verdict::Uneven { .. }
        | Verdict::Unknown(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        Headers::new(fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    fn check(fields: &[(&str, &str)], verdict: &Verdict, expected: &[Hop]) {
        let found: Vec<Hop> =
            suspects(&headers(fields), verdict).iter().map(|suspect| suspect.hop).collect();
        assert_eq!(found, expected, "{fields:?} {verdict:?}");
    }

    #[test]
    fn heads_name_hops() {
        let (end, fifth) = (Verdict::ToEnd, Verdict::ByTime { period: Duration::from_millis(203) });
        check(&[("server", "nginx/1.22.1")], &end, &[Hop::Nginx]);
        check(&[("Server", "Caddy")], &end, &[Hop::Caddy]);
        check(&[("server", "cloudflare"), ("cf-ray", "8f")], &end, &[Hop::Cloudflare]);
        check(
            &[("via", "1.1 Caddy"), ("x-powered-by", "Express")],
            &end,
            &[Hop::Caddy, Hop::Express],
        );
        check(&[("server", "uvicorn")], &end, &[]);
        check(&[], &fifth, &[Hop::HaProxy]);
        check(&[("server", "nginx")], &fifth, &[Hop::Nginx, Hop::HaProxy]);
    }

    #[test]
    fn shapes_suggest_hops() {
        check(&[], &Verdict::BySize { bytes: 4032 }, &[Hop::Nginx]);
        check(&[], &Verdict::BySize { bytes: 16_384 }, &[]);
        check(&[], &Verdict::ByTime { period: Duration::from_millis(101) }, &[Hop::Traefik]);
        let by_size = Verdict::BySize { bytes: 4096 };
        check(&[("cf-ray", "x"), ("server", "nginx")], &by_size, &[Hop::Nginx, Hop::Cloudflare]);
    }
}
