//! The report as an article in Markdown: each claim with its ruling and its evidence.

use std::fmt::Write;

use lens::ladder::words::Language;

use super::advice::ADVICE;
use super::data::{Ladder, Report, Subject};
use super::labels::{COLUMNS, EXPERIMENT_COLUMNS, Labels};
use super::page::summary_of_method;
use super::row::{cut, mid_stream, row};
use super::summary::lanes;
use super::{demo, packets, summary};
use crate::bilingual::Bilingual;
use crate::plan::Dialect;

/// The article in a language. Its pictures are in the directory `pictures`; the names of ladders
/// end in the language.
pub fn article(report: &Report, language: Language, pictures: &str) -> String {
    let end = language.pick("en", "zh");
    let mut out = String::new();
    // Writing to a `String` cannot fail, here and below.
    let _ = write!(
        out,
        "<!-- {} -->\n# {}\n\n{}\n\n{}{space}{}{space}{}\n\n",
        language.pick("Made by scripts/transports; do not edit.", "由 scripts/transports 生成，请勿手改。"),
        language.pick("What HTTP, SSE and WebSocket really do", "HTTP、SSE 与 WebSocket 的真实面目"),
        language.pick(
            "[中文](transports.zh.md). Thirty things that one reads about the three ways in which an answer can travel, most of them in an article around a Java demo from which many \
             people learnt them: each in short, with what was measured on a running server and on the wire, and what follows. Run it yourself, without root: \
             `weir compare --quick`. How each number is obtained stands in the last section.",
            "[English](transports.md)。关于回答的三种传输方式，这里收集了三十种说法，大多出自一篇围绕 Java 示例的文章，许多人由此入门。\
             每条只述其要点，并给出在运行中的服务器上、在线路上测得的结果及判定。你可以自己运行，无需 root：`weir compare --quick`。每个数字如何得到，见最后一节。",
        ),
        report.place.pick(language),
        report.conversation.pick(language),
        report.who_counted().pick(language),
        space = language.pick(" ", ""),
    );
    let _ = writeln!(out, "{} · {}\n", report.program, report.machine.pick(language));
    let _ = writeln!(out, "> {}\n", report.load.note().pick(language));
    for note in &report.notes {
        let _ = writeln!(out, "> {}\n", note.pick(language));
    }
    side_by_side(&mut out, report, language);
    seen(&mut out, language, pictures, end);
    let _ =
        write!(out, "## {}\n\n", language.pick("What is said, and what is so", "流行的说法与事实"));
    claims(&mut out, report, language, (Subject::Technique, pictures));
    let _ = write!(
        out,
        "## {}\n\n{}\n\n",
        language.pick("The packets", "数据包"),
        language.pick(
            "The handshake and every way to close, with the names of textbooks and TCP's states: [The handshake and the close](handshake-and-close.md).",
            "三次握手与各种关闭方式，配上教科书的名称和 TCP 状态：[逐包看三次握手与四次挥手](handshake-and-close.zh.md)。",
        )
    );
    ladders(&mut out, report, language, pictures, Subject::Technique);
    if report.has_demo() {
        java_demo(&mut out, report, language, pictures);
    }
    cells(&mut out, report, language);
    how(&mut out, language);
    conclusion(&mut out, report, language);
    out
}

/// The lanes side by side.
fn side_by_side(out: &mut String, report: &Report, language: Language) {
    let _ = write!(out, "## {}\n\n|  |", language.pick("Side by side", "并排对比"));
    for (english, chinese) in summary::COLUMNS {
        let _ = write!(out, " {} |", language.pick(english, chinese));
    }
    let _ = write!(out, "\n|---|--:|--:|--:|---|---|---|\n");
    let labels = Labels(language);
    for lane in lanes(&report.cells) {
        let bytes = lane.bytes.map_or("-".to_owned(), |(bytes, _)| format!("{bytes:.0}"));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {bytes} | {} | {} | {} |",
            labels.title(lane.cell),
            lane.first_text.plain(),
            lane.added.plain(),
            lane.connections.pick(language),
            lane.cut.pick(language),
            lane.mid_stream.pick(language)
        );
    }
    out.push('\n');
}

/// The part about one program.
fn java_demo(out: &mut String, report: &Report, language: Language, pictures: &str) {
    let text = |(english, chinese): (&'static str, &'static str)| language.pick(english, chinese);
    let _ = write!(out, "## {}\n\n*{}*\n\n", text(demo::TITLE), text(demo::SKIP));
    for paragraph in demo::paragraphs(&report.evidence) {
        let _ = write!(out, "{}\n\n", paragraph.pick(language));
    }
    claims(out, report, language, (Subject::Demo, pictures));
    ladders(out, report, language, pictures, Subject::Demo);
}

/// The advice.
fn conclusion(out: &mut String, report: &Report, language: Language) {
    let _ = write!(
        out,
        "\n## {}\n\n{}\n|---|---|---|\n",
        language.pick("Conclusion: if you … take …", "结论：如果你……就选……"),
        language.pick("| You have | Take | Because |", "| 你的情况 | 选择 | 原因 |")
    );
    for advice in ADVICE {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            language.pick(advice.have.0, advice.have.1),
            language.pick(advice.take.0, advice.take.1),
            advice.reason(&report.cells).pick(language)
        );
    }
}

fn seen(out: &mut String, language: Language, pictures: &str, end: &str) {
    let _ = write!(out, "## {}\n\n", language.pick("At a glance", "一览"));
    for (name, alt) in [
        (
            "arrivals",
            language.pick(
                "When each token of an answer came, on each transport",
                "各传输方式下每个 token 到达的时刻",
            ),
        ),
        (
            "bytes",
            language
                .pick("Bytes to the client for each token, by kind", "每个 token 的字节数，按种类"),
        ),
        ("delays", language.pick("How late tokens are", "token 的延迟")),
    ] {
        let _ = write!(out, "![{alt}]({pictures}/{name}.{end}.svg)\n\n");
    }
}

fn claims(
    out: &mut String,
    report: &Report,
    language: Language,
    (subject, pictures): (Subject, &str),
) {
    for verdict in report.verdicts_on(subject) {
        let ruling = verdict.words.pick(language);
        let _ = write!(
            out,
            "**{}. {}** — *{ruling}*\n\n",
            verdict.number(),
            verdict.claim.pick(language)
        );
        let measured =
            if verdict.is_measured { language.pick("Measured: ", "实测：") } else { "" };
        let _ = write!(out, "{measured}{}\n\n", verdict.evidence.pick(language));
        let _ = write!(out, "{}\n\n", verdict.truth.pick(language));
        out.push_str(&packets::markdown(verdict, language, pictures));
    }
}

fn ladders(
    out: &mut String,
    report: &Report,
    language: Language,
    pictures: &str,
    subject: Subject,
) {
    let end = language.pick("en", "zh");
    let is_demo = |ladder: &&Ladder| {
        ladder
            .cell
            .is_some_and(|cell| (cell.dialect == Dialect::Classic) == (subject == Subject::Demo))
    };
    for ladder in report.ladders.iter().filter(is_demo) {
        let title = ladder.title.pick(language);
        let _ = write!(out, "### {title}\n\n![{title}]({pictures}/{}.{end}.svg)\n\n", ladder.name);
    }
}

fn cells(out: &mut String, report: &Report, language: Language) {
    let _ = write!(out, "## {}\n\n", language.pick("Every cell", "全部组合"));
    let words = Labels(language);
    for dialect in Dialect::ALL {
        let rows: Vec<_> = report
            .cells
            .iter()
            .filter(|measured| {
                measured.failed.is_none()
                    && measured.cell.is_some_and(|cell| cell.dialect == dialect)
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(out, "### {}\n\n|", words.dialect(dialect));
        for head in std::iter::once("").chain(
            COLUMNS
                .iter()
                .chain(&EXPERIMENT_COLUMNS)
                .map(|column| language.pick(column.head.0, column.head.1)),
        ) {
            let _ = write!(out, " {head} |");
        }
        let _ = write!(out, "\n|---|{}---|---|\n", "--:|".repeat(COLUMNS.len()));
        for measured in rows {
            let Some(cell) = measured.cell else { continue };
            let _ = write!(out, "| {} |", words.cell(cell));
            for number in row(measured) {
                let _ = write!(out, " {} |", number.plain());
            }
            let _ = writeln!(
                out,
                " {} | {} |",
                cut(measured.cut.as_ref()).pick(language),
                mid_stream(measured.mid_stream.as_ref()).pick(language)
            );
        }
        out.push('\n');
    }
}

fn how(out: &mut String, language: Language) {
    let _ =
        write!(out, "## {}\n\n", language.pick("How each number was obtained", "每个数字如何得到"));
    for column in COLUMNS.iter().chain(&EXPERIMENT_COLUMNS) {
        let _ = writeln!(
            out,
            "- **{}**: {}",
            language.pick(column.head.0, column.head.1),
            language.pick(column.how.0, column.how.1)
        );
    }
    let _ = writeln!(out, "\n{}", summary_of_method().pick(language));
    let _ = writeln!(out, "\n{}", verdict_note().pick(language));
}

fn verdict_note() -> Bilingual {
    Bilingual::new(
        "The verdicts follow from the numbers by code whose tests change each piece of evidence and see the verdict change. Times and processor time are those of one shared machine: \
         compare them with each other, not with yours.",
        "判定由代码根据数字得出；其测试会逐一改变证据，并检查判定随之改变。时间与处理器时间来自一台共享机器：请相互比较，而不要与你的机器比较。",
    )
}
