//! The packets that a ruling rests on, and how to find them: for the page and for the article.

use std::fmt::Write;

use lens::ladder::words::Language;

use super::html::{both, each, pair};
use super::xml::escape;
use crate::bilingual::Bilingual;
use crate::claims::verdict::Verdict;

/// For a ruling on what no packet shows.
const BEYOND: (&str, &str) = (
    "It rests on no packet: what a program keeps in its memory is not on the wire.",
    "不依据数据包：程序内存里保留什么，线路上看不到。",
);

const FRAMES: (&str, &str) = ("Its packets in capture.pcapng", "capture.pcapng 中的依据");

/// More frames than this are not listed: the filters find them.
const MOST_FRAMES: usize = 8;

/// The packets of a ruling, as HTML.
pub(super) fn html(verdict: &Verdict) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail, here and below.
    if let Some(example) = verdict.example.as_deref().filter(|example| !example.is_empty()) {
        let _ = write!(out, "<pre>{}</pre>", escape(example.trim_end()));
    }
    let Some(cited) = &verdict.packets else {
        if verdict.is_beyond_packets() {
            let _ = write!(out, "<p class=\"soft\">{}</p>", pair(BEYOND));
        }
        return out;
    };
    let _ = write!(
        out,
        "<details class=\"packets\"><summary>{}</summary><p>{}</p>",
        pair(FRAMES),
        both(&frames(&cited.frames))
    );
    for filter in std::iter::once(&cited.filter).chain(&cited.searches) {
        let _ = write!(out, "<pre>tshark -r capture.pcapng -Y '{}'</pre>", escape(filter));
    }
    let links = |language: Language| {
        let end = language.pick("en", "zh");
        let links: Vec<String> = cited
            .ladders
            .iter()
            .map(|link| {
                let title = escape(link.title.pick(language));
                format!("<a href=\"ladders/{}.{end}.svg\">{title}</a>", link.name)
            })
            .collect();
        links.join(" · ")
    };
    let _ = write!(out, "<p>{}</p></details>", each(links, "span"));
    out
}

/// The packets of a ruling, as Markdown.
pub(super) fn markdown(verdict: &Verdict, language: Language, pictures: &str) -> String {
    let mut out = String::new();
    if let Some(example) = verdict.example.as_deref().filter(|example| !example.is_empty()) {
        let _ = write!(out, "```\n{}\n```\n\n", example.trim_end());
    }
    let Some(cited) = &verdict.packets else {
        if verdict.is_beyond_packets() {
            let _ = write!(out, "{}\n\n", language.pick(BEYOND.0, BEYOND.1));
        }
        return out;
    };
    let end = language.pick("en", "zh");
    let links: Vec<String> = cited
        .ladders
        .iter()
        .map(|link| format!("[{}]({pictures}/{}.{end}.svg)", link.title.pick(language), link.name))
        .collect();
    let _ = write!(
        out,
        "{} `{}`{} {}\n\n",
        language.pick("Packets:", "数据包："),
        cited.filter,
        language.pick(";", "；"),
        links.join(" · ")
    );
    out
}

fn frames(frames: &[u64]) -> Bilingual {
    let listed: Vec<String> = frames.iter().take(MOST_FRAMES).map(u64::to_string).collect();
    let more = frames.len().saturating_sub(MOST_FRAMES);
    let (en, zh) = match more {
        0 => (String::new(), String::new()),
        more => (format!(" and {more} more"), format!(" 等共 {} 个", frames.len())),
    };
    Bilingual::new(
        format!("Frames {}{en}. Wireshark and tshark find them by:", listed.join(", ")),
        format!("帧 {}{zh}。用 Wireshark 或 tshark 可这样找到：", listed.join("、")),
    )
}
