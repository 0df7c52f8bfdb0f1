//! A report in both languages fits into 80 columns and has everything in it.

use client::http1::Headers;

use super::*;
use crate::canvas::width;
use crate::check::Check;
use crate::decode::BodyFormat;
use crate::dialect::Dialect;
use crate::hop::suspects;
use crate::measure::Transport;
use crate::place::Connecting;
use crate::reader::{Phases, StreamEnd};
use crate::trace::{Arrival, Read, Trace};
use crate::verdict::Verdict;

fn measured() -> Measured {
    let at = |index: u64| Duration::from_millis(200 + index / 7 * 100);
    let sent_us = |index: u64| i64::try_from(200_000 + index * 15_000).ok();
    Measured {
        transport: Transport::Sse,
        dialect: Dialect::Source,
        connecting: Connecting {
            dns: Some(Duration::from_millis(2)),
            tcp: Duration::from_millis(11),
            tls: None,
            address: ([127, 0, 0, 1], 80).into(),
        },
        headers: Headers::new(vec![("server".into(), "nginx/1.22.1\x1b[2J".into())]),
        phases: Phases {
            head: Duration::from_millis(150),
            first_byte: Some(Duration::from_millis(200)),
            first_event: Some(Duration::from_millis(200)),
            first_text: None,
            end: Some(Duration::from_millis(1800)),
        },
        trace: Trace {
            reads: (0..16)
                .map(|burst| Read { at: at(burst * 7), bytes: 4000, ends_inside_event: true })
                .collect(),
            arrivals: (0..110)
                .map(|index| Arrival { at: at(index), bytes: 600, sent_us: sent_us(index) })
                .collect(),
            stalls: Vec::new(),
        },
        events: Vec::new(),
        end: StreamEnd::Complete,
        ends_inside_event: false,
        format: BodyFormat::Sse,
        scan: None,
        heartbeats: 0,
        close_code: None,
    }
}

fn report() -> Report {
    let run = measured();
    let verdict = Verdict::BySize { bytes: 4000 };
    let suspects = suspects(&run.headers, &verdict);
    let findings = words::finding(&verdict, &text!("SSE", "SSE"), &suspects).into_iter().collect();
    let stream = StreamReport {
        kind: StreamKind::Source,
        transport: Transport::Sse,
        runs: vec![run],
        refused: None,
        verdict,
        suspects,
        findings,
    };
    let why = text!(
        "OpenAI Chat Completions has no way to resume: a cut costs the whole response",
        "OpenAI Chat Completions 没有断线续传：断一次就要重新生成整个回答"
    );
    let side = SideReport {
        role: Role::Edge,
        url: "https://chat.example.org/v1/responses".into(),
        dialect: Dialect::Responses,
        model: Some("demo".into()),
        is_weir: true,
        has_source: true,
        clock_error: Some(Duration::from_millis(1)),
        streams: vec![stream],
        checks: vec![CheckReport::not_made(Check::Resume, why)],
    };
    Report {
        sides: vec![side],
        comparison: Vec::new(),
        lines: Vec::new(),
        stalls: (3, Duration::from_millis(40)),
        took: Duration::from_secs(6),
    }
}

#[test]
fn a_report_fits_into_80_columns_and_names_the_repair() {
    let threshold: Threshold = "verdict!=steady".parse().unwrap();
    let judged = vec![(threshold.clone(), threshold.judge(&report()))];
    for (language, words) in [
        (
            Language::English,
            ["coalesced by size", "proxy_buffering off;", "it is coalesced_by_size"],
        ),
        (Language::Chinese, ["按大小攒批", "proxy_buffering off;", "实际为 coalesced_by_size"]),
    ] {
        let text = render(&report(), &judged, Style { language, colours: Colours::Off });
        for line in text.lines() {
            assert!(width(line) <= 80, "{}: {line}", width(line));
        }
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!text.contains('\x1b'), "a server's text cannot control the terminal");
    }
    let text = render(&report(), &[], Style { language: Language::English, colours: Colours::On });
    assert!(text.contains("\x1b[1m") && !text.contains("\x1b[2J"));
}

#[test]
fn json_says_the_same() {
    let document = crate::json::document(&report(), &[]);
    assert_eq!(
        (&document["ok"], &document["verdict"]),
        (&false.into(), &"coalesced_by_size".into())
    );
    let stream = &document["sides"][0]["streams"][0];
    assert_eq!((&stream["size_bytes"], &stream["gap"]["samples"]), (&4000.into(), &109.into()));
    assert_eq!(document["findings"][0]["fixes"][0]["hop"], "nginx");
}
