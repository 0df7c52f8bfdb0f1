//! The report as one self-contained HTML page in English and Chinese, for light and dark, narrow
//! and wide screens.

use std::fmt::Write;

use super::chart::{Format, bytes_chart, delay_chart, strip_chart};
use super::data::{Ladder, Report, Subject};
use super::html::{both, each, pair, with_code};
use super::labels::{COLUMNS, EXPERIMENT_COLUMNS};
use super::page_cells::{advice_table, cell_columns, cell_table, summary_table};
use super::page_style::{SCRIPT, STYLE, headings};
use super::xml::escape;
use super::{demo, handshake, packets, summary};
use crate::bilingual::Bilingual;
use crate::claims::verdict::{Ruling, Verdict};
use crate::plan::Dialect;

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let title =
        pair(("What HTTP, SSE and WebSocket really do", "HTTP、SSE 与 WebSocket 的真实面目"));
    let tables =
        [headings("lanes", &summary::COLUMNS), headings("cells", &cell_columns())].concat();
    // Writing to a `String` cannot fail, here and below.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\" data-language=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>weir compare</title>\n<style>{STYLE}{tables}</style>\n<header><h1>{title}</h1><button id=\"language\" type=\"button\"><span lang=\"en\">中文</span><span \
         lang=\"zh\">English</span></button></header>\n<main>\n",
    );
    introduction(&mut out, report);
    section(&mut out, "Side by side", "并排对比");
    summary_table(&mut out, report);
    section(&mut out, "At a glance", "一览");
    charts(&mut out, report);
    if handshake::has_closes(report) {
        section(&mut out, "The handshake and the close, drawn", "三次握手与四次挥手，逐包画出");
        handshake::html(&mut out, report);
    }
    section(&mut out, "The packets", "数据包");
    ladders(&mut out, report, Subject::Technique);
    section(&mut out, "What is said, and what is so", "流行的说法与事实");
    claims(&mut out, report, Subject::Technique);
    if report.has_demo() {
        section(&mut out, demo::TITLE.0, demo::TITLE.1);
        java_demo(&mut out, report);
    }
    section(&mut out, "Every cell", "全部组合");
    cell_table(&mut out, report);
    section(&mut out, "How each number was obtained", "每个数字如何得到");
    how(&mut out);
    section(&mut out, "Conclusion: if you … take …", "结论：如果你……就选……");
    advice_table(&mut out, report);
    let _ = write!(out, "</main>\n<script>{SCRIPT}</script>\n</html>\n");
    out
}

fn section(out: &mut String, en: &str, zh: &str) {
    let _ = writeln!(out, "<h2>{}</h2>", pair((en, zh)));
}

fn introduction(out: &mut String, report: &Report) {
    let class = if report.load.is_busy() { "bad" } else { "soft" };
    let _ = writeln!(out, "<p class=\"{class}\">{}</p>", both(&report.load.note()));
    let _ = write!(
        out,
        "<p>{}</p>\n<p class=\"soft\">{} {} · {}</p>\n",
        both(&report.place),
        both(&report.conversation),
        escape(&report.program),
        both(&report.machine)
    );
    for note in &report.notes {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", both(note));
    }
    let disagreements: Vec<String> = report.disagreements().collect();
    if disagreements.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", both(&report.who_counted()));
    }
    for disagreement in disagreements {
        let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape(&disagreement));
    }
}

fn claims(out: &mut String, report: &Report, subject: Subject) {
    let (judged, others): (Vec<_>, Vec<_>) = report
        .verdicts_on(subject)
        .partition(|verdict| verdict.is_measured || subject == Subject::Demo);
    for verdict in judged {
        claim(out, verdict);
    }
    if others.is_empty() {
        return;
    }
    let _ = writeln!(out, "<details><summary>{}</summary>", pair(("Not measured", "未测量的说法")));
    for verdict in others {
        claim(out, verdict);
    }
    out.push_str("</details>\n");
}

fn claim(out: &mut String, verdict: &Verdict) {
    let class = match verdict.ruling {
        Ruling::Right => "right",
        Ruling::Wrong | Ruling::WrongReason | Ruling::WrongFrame => "wrong",
        Ruling::Imprecise | Ruling::HalfRight | Ruling::Depends | Ruling::Meaningless => "half",
        Ruling::NotMeasured => "none",
    };
    let _ = writeln!(
        out,
        "<div class=\"claim\" id=\"claim-{0}\"><p class=\"says\"><span class=\"number\">{0}</span>{1}<span class=\"ruling {class}\">{2}</span></p><p>{3}</p><p \
         class=\"soft\">{4}</p>{5}</div>",
        verdict.number(),
        both(&verdict.claim),
        both(&verdict.words),
        both(&verdict.evidence),
        both(&verdict.truth),
        packets::html(verdict)
    );
}

fn charts(out: &mut String, report: &Report) {
    let cells = report.charted();
    for chart in [strip_chart, bytes_chart, delay_chart] {
        for (format, class) in [(Format::Wide, "wide"), (Format::Narrow, "slim")] {
            let _ = writeln!(
                out,
                "<figure class=\"{class}\">{}</figure>",
                each(|language| chart(&cells, language, format), "div")
            );
        }
    }
}

/// The ladders of one subject: those of the classic API are in the part about the demo.
fn ladders(out: &mut String, report: &Report, subject: Subject) {
    let is_demo = |ladder: &&Ladder| {
        ladder
            .cell
            .is_some_and(|cell| (cell.dialect == Dialect::Classic) == (subject == Subject::Demo))
    };
    let shown: Vec<&Ladder> = report.ladders.iter().filter(is_demo).collect();
    if shown.is_empty() {
        if subject == Subject::Technique {
            let _ = writeln!(out, "<p class=\"soft\">{}</p>", pair(NO_LADDERS));
        }
        return;
    }
    let _ = writeln!(
        out,
        "<p class=\"soft\">{}</p>\n<div class=\"ladders\">",
        with_code(&Bilingual::new(LADDERS.0, LADDERS.1))
    );
    for ladder in shown {
        let [english, chinese] = &ladder.narrow;
        let picture = each(|language| language.pick(english.clone(), chinese.clone()), "div");
        let _ = writeln!(
            out,
            "<figure><figcaption>{}</figcaption>{picture}</figure>",
            both(&ladder.title)
        );
    }
    out.push_str("</div>\n");
}

const LADDERS: (&str, &str) = (
    "The first and the last packets of one connection each. Larger, and with more packets: `ladders/`. All packets, for Wireshark: `capture.pcapng`.",
    "每幅图是一个连接最初与最后的数据包。更大、更完整的图在 `ladders/` 中；全部数据包（用于 Wireshark）在 `capture.pcapng` 中。",
);

const NO_LADDERS: (&str, &str) =
    ("There are no pictures here for the cells of this run.", "本次运行的组合在此没有图。");

fn java_demo(out: &mut String, report: &Report) {
    let _ = writeln!(
        out,
        "<p class=\"soft\">{}</p>",
        with_code(&Bilingual::new(demo::SKIP.0, demo::SKIP.1))
    );
    for paragraph in demo::paragraphs(&report.evidence) {
        let _ = writeln!(out, "<p>{}</p>", with_code(&paragraph));
    }
    claims(out, report, Subject::Demo);
    ladders(out, report, Subject::Demo);
}

fn how(out: &mut String) {
    out.push_str("<dl>");
    for column in COLUMNS.iter().chain(&EXPERIMENT_COLUMNS) {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", pair(column.head), pair(column.how));
    }
    let _ = writeln!(out, "</dl>\n<p>{}</p>", both(&summary_of_method()));
}

/// How repeated runs and stalls are treated.
pub(super) fn summary_of_method() -> Bilingual {
    Bilingual::new(
        "Every cell is measured in several runs, each of which starts with another cell. The client watches its own task: what arrives while that could not run is counted, and left out of the \
         times. A run with a token that is ten times as late as the median, and by more than 5 ms, is repeated once; if the repetition has none, the run is set aside. A 90th percentile needs 20 \
         values, a 99th 200: with fewer it would be the slowest by another name. report.json has every run.",
        "每个组合测量若干轮，每轮从不同的组合开始。客户端监视自己的任务：在它无法运行期间到达的数据会被计数，但不计入时间。若某轮中有 token 的延迟达到中位数的十倍且多出 5 毫秒以上，则重测一次；\
         若重测中没有再出现，该轮被搁置。p90 至少需要 20 个值，p99 至少需要 200 个，否则它们只是“最慢”的另一个名字。report.json 中有每一轮的数据。",
    )
}
