//! The report as one self-contained HTML page in English and Chinese, for light and dark, narrow
//! and wide screens.

use std::fmt::Write;

use lens::ladder::words::Language;

use super::chart::{bytes_chart, delay_chart, strip_chart};
use super::data::Report;
use super::labels::{COLUMNS, Labels};
use super::row::row;
use super::xml::escape;
use crate::bilingual::Bilingual;
use crate::claims::verdict::{Ruling, Verdict};
use crate::numbers::{CutCost, MidStreamRequest};

const STYLE: &str = r#"
:root { color-scheme: light dark; --paper: #f6f7f5; --raised: #fff; --ink: #1a2126; --soft: #56636b; --line: #d8dedb; --water: #0c6470;
  --right: #00704f; --wrong: #a3322b; --half: #8a5a0b; --none: #68737b; font: 16px/1.6 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
@media (prefers-color-scheme: dark) { :root { --paper: #10171a; --raised: #172125; --ink: #dde6e5; --soft: #93a5a8; --line: #27343a; --water: #6fc6cf;
  --right: #3fcf9f; --wrong: #ee8d83; --half: #d9a755; --none: #93a5a8; } }
* { box-sizing: border-box; } html { background: var(--paper); color: var(--ink); } body { margin: 0; }
html[data-language=en] [lang=zh], html[data-language=zh] [lang=en] { display: none !important; }
main, header { max-width: 76rem; margin: auto; padding: 0 1.25rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: baseline; padding-top: 1.5rem; } h1 { font-size: 1.6rem; margin: 0; flex: 1; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; } h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
button { font: inherit; color: var(--water); background: none; border: 1px solid var(--line); border-radius: 8px; padding: .35rem .8rem; min-height: 44px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--water); outline-offset: 2px; } .soft { color: var(--soft); } .note { border-left: 3px solid var(--half); padding: .1rem .9rem; }
.bad { border-left: 3px solid var(--wrong); padding: .1rem .9rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; background: var(--raised); border: 1px solid var(--line); border-radius: 10px; } .wide svg { display: block; min-width: 640px; width: 100%; max-width: 70rem; height: auto; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; } th, td { padding: .35rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); } th[title] { text-decoration: underline dotted; text-underline-offset: 3px; cursor: help; } td:first-child, th:first-child { text-align: left; }
tr.group td { font-weight: 600; background: var(--paper); text-align: left; } td.words { white-space: normal; text-align: left; min-width: 21rem; }
.claim { background: var(--raised); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; margin: .7rem 0; } .claim p { margin: .3rem 0; }
.claim .says { font-weight: 600; } .number { color: var(--soft); font-variant-numeric: tabular-nums; margin-right: .4rem; }
.ruling { display: inline-block; border: 1.5px solid currentColor; border-radius: 99px; padding: 0 .6rem; font-size: .85rem; font-weight: 600; margin-left: .4rem; }
.right { color: var(--right); } .wrong { color: var(--wrong); } .half { color: var(--half); } .none { color: var(--none); }
details { margin: .6rem 0; } summary { cursor: pointer; min-height: 32px; } dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; } dt { font-weight: 600; } dd { margin: 0; }
@media (max-width: 560px) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
"#;

const SCRIPT: &str = r#"
const root = document.documentElement;
const speak = (language) => { root.dataset.language = language; root.lang = language === "zh" ? "zh-CN" : "en"; };
speak(new URLSearchParams(location.search).get("lang") || (navigator.language.startsWith("zh") ? "zh" : "en"));
document.getElementById("language").onclick = () => speak(root.dataset.language === "zh" ? "en" : "zh");
"#;

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let title = Bilingual::new(
        "What HTTP, SSE and WebSocket really do",
        "HTTP、SSE 与 WebSocket 的真实面目",
    );
    // Writing to a `String` cannot fail, here and below.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\" data-language=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>weir compare</title>\n<style>{STYLE}</style>\n<header><h1>{}</h1><button id=\"language\" type=\"button\"><span lang=\"en\">中文</span><span \
         lang=\"zh\">English</span></button></header>\n<main>\n",
        both(&title)
    );
    introduction(&mut out, report);
    pictures(&mut out, report);
    claims(&mut out, report);
    ladders(&mut out, report);
    cells(&mut out, report);
    how(&mut out);
    let _ = write!(out, "</main>\n<script>{SCRIPT}</script>\n</html>\n");
    out
}

fn both(text: &Bilingual) -> String {
    each(|language| escape(text.pick(language)), "span")
}

/// The same content in both languages; the page shows one.
fn each(write: impl Fn(Language) -> String, element: &str) -> String {
    format!(
        "<{element} lang=\"en\">{}</{element}><{element} lang=\"zh\">{}</{element}>",
        write(Language::English),
        write(Language::Chinese)
    )
}

fn section(out: &mut String, en: &str, zh: &str) {
    let _ = writeln!(out, "<h2>{}</h2>", both(&Bilingual::new(en, zh)));
}

fn introduction(out: &mut String, report: &Report) {
    let _ = write!(
        out,
        "<p>{}</p>\n<p class=\"soft\">{} {} {}</p>\n",
        both(&report.place),
        both(&report.conversation),
        escape(&report.program),
        escape(&report.machine)
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

fn claims(out: &mut String, report: &Report) {
    section(out, "What is said, and what is so", "流行的说法与事实");
    let (measured, others): (Vec<_>, Vec<_>) =
        report.verdicts.iter().partition(|verdict| verdict.is_measured);
    for verdict in measured {
        claim(out, verdict);
    }
    let _ = writeln!(
        out,
        "<details><summary>{}</summary>",
        both(&Bilingual::new("Not measured", "未测量的说法"))
    );
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
         class=\"soft\">{4}</p></div>",
        verdict.number(),
        both(&verdict.claim),
        both(&verdict.words),
        both(&verdict.evidence),
        both(&verdict.truth)
    );
}

fn pictures(out: &mut String, report: &Report) {
    section(out, "At a glance", "一览");
    let cells = report.charted();
    for chart in [strip_chart, bytes_chart, delay_chart] {
        let _ = writeln!(
            out,
            "<div class=\"wide\">{}</div><br>",
            each(|language| chart(&cells, language), "div")
        );
    }
}

fn ladders(out: &mut String, report: &Report) {
    if report.ladders.is_empty() {
        return;
    }
    section(out, "The packets", "数据包");
    for ladder in &report.ladders {
        let [english, chinese] = &ladder.pictures;
        let picture = each(|language| language.pick(english.clone(), chinese.clone()), "div");
        let _ = writeln!(
            out,
            "<details><summary>{}</summary><div class=\"wide\">{picture}</div></details>",
            both(&ladder.title)
        );
    }
}

fn cells(out: &mut String, report: &Report) {
    section(out, "Every cell", "全部单元格");
    out.push_str("<div class=\"wide\"><table><thead><tr><th></th>");
    for column in COLUMNS {
        let (en, zh) = column.how;
        let _ = write!(
            out,
            "<th title=\"{}\">{}</th>",
            escape(&format!("{en} / {zh}")),
            both(&Bilingual::new(column.head.0, column.head.1))
        );
    }
    for (en, zh) in
        [("cut behind 3 pieces", "在 3 段后切断"), ("a word while it streams", "流进行中插话")]
    {
        let _ = write!(out, "<th>{}</th>", both(&Bilingual::new(en, zh)));
    }
    out.push_str("</tr></thead><tbody>\n");
    let mut group = None;
    for measured in &report.cells {
        let Some(cell) = measured.cell else { continue };
        if group != Some((cell.dialect, cell.tls)) {
            group = Some((cell.dialect, cell.tls));
            let name = each(
                |language| {
                    format!(
                        "{}{}",
                        Labels(language).dialect(cell.dialect),
                        if cell.tls { ", TLS" } else { "" }
                    )
                },
                "span",
            );
            let _ = writeln!(
                out,
                "<tr class=\"group\"><td colspan=\"{}\">{name}</td></tr>",
                COLUMNS.len() + 3
            );
        }
        let name = each(
            |language| {
                format!(
                    "{}, {}",
                    Labels(language).transport(cell.transport),
                    Labels(language).version(cell)
                )
            },
            "span",
        );
        let _ = write!(out, "<tr><td>{name}</td>");
        if let Some(why) = &measured.failed {
            let _ = writeln!(
                out,
                "<td colspan=\"{}\" class=\"words\">{}</td></tr>",
                COLUMNS.len() + 2,
                escape(why)
            );
            continue;
        }
        for text in row(measured) {
            let _ = write!(out, "<td>{}</td>", escape(&text));
        }
        let _ = writeln!(
            out,
            "<td class=\"words\">{}</td><td class=\"words\">{}</td></tr>",
            cut(measured.cut.as_ref()),
            mid_stream(measured.mid_stream.as_ref())
        );
    }
    out.push_str("</tbody></table></div>\n");
}

fn cut(cut: Option<&CutCost>) -> String {
    let Some(cut) = cut else { return "-".to_owned() };
    let number = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
    let (missing, twice, whole) = (number(cut.missing), cut.twice, number(cut.pieces_whole));
    let text = match (cut.resumed_by, cut.model_gave) {
        (Some(how), _) => Bilingual::new(
            format!("goes on by {how}: {missing} missing, {twice} twice"),
            format!("以 {how} 续读：缺失 {missing}，重复 {twice}"),
        ),
        (None, Some(gave)) => Bilingual::new(
            format!("nothing to go on from: {missing} of {whole} lost; the model gave {gave}"),
            format!("无从续读：{whole} 个中丢失 {missing} 个；模型给出 {gave} 个"),
        ),
        (None, None) => Bilingual::new(
            format!("nothing to go on from: {missing} of {whole} lost"),
            format!("无从续读：{whole} 个中丢失 {missing} 个"),
        ),
    };
    both(&text)
}

fn mid_stream(request: Option<&MidStreamRequest>) -> String {
    let Some(request) = request else { return "-".to_owned() };
    let when = if request.is_before_end {
        ("heard at once", "立即被听到")
    } else {
        ("heard only behind it", "流结束后才被听到")
    };
    let text = match request.new_connections {
        0 => Bilingual::new(
            format!("on the same connection, {}", when.0),
            format!("同一连接，{}", when.1),
        ),
        new => Bilingual::new(
            format!("{new} new connection(s), {}", when.0),
            format!("新建 {new} 个连接，{}", when.1),
        ),
    };
    both(&text)
}

fn how(out: &mut String) {
    section(out, "How each number was obtained", "每个数字如何得到");
    out.push_str("<dl>");
    for column in COLUMNS {
        let head = both(&Bilingual::new(column.head.0, column.head.1));
        let _ = write!(
            out,
            "<dt>{head}</dt><dd>{}</dd>",
            both(&Bilingual::new(column.how.0, column.how.1))
        );
    }
    out.push_str("</dl>\n");
}
