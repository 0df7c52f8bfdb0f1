//! The style and the script of the page.

use std::fmt::Write;

/// For light and dark, from 320 pixels on. Below 76rem a row of a table is a block, in which each
/// number has its heading before it, so that no column is beyond the edge.
pub(super) const STYLE: &str = r#"
:root { color-scheme: light dark; --paper: #f6f7f5; --raised: #fff; --ink: #1a2126; --soft: #56636b; --line: #d8dedb; --water: #0c6470; --bar: #8fc3bb;
  --right: #00704f; --wrong: #a3322b; --half: #8a5a0b; --none: #68737b; font: 16px/1.6 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
@media (prefers-color-scheme: dark) { :root { --paper: #10171a; --raised: #172125; --ink: #dde6e5; --soft: #93a5a8; --line: #27343a; --water: #6fc6cf; --bar: #2f6d68;
  --right: #3fcf9f; --wrong: #ee8d83; --half: #d9a755; --none: #93a5a8; } }
* { box-sizing: border-box; } html { background: var(--paper); color: var(--ink); } body { margin: 0; overflow-wrap: anywhere; }
html[data-language=en] [lang=zh], html[data-language=zh] [lang=en] { display: none !important; }
main, header { max-width: 82rem; margin: auto; padding: 0 1.25rem; } main { padding-bottom: 4rem; } main > p, main > ul { max-width: 62rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: baseline; padding-top: 1.5rem; } h1 { font-size: 1.6rem; line-height: 1.3; margin: 0; flex: 1 1 16rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; } h3 { font-size: 1rem; margin: 0 0 .4rem; }
button { font: inherit; color: var(--water); background: none; border: 1px solid var(--line); border-radius: 8px; padding: .35rem .8rem; min-height: 44px; cursor: pointer; }
code { font: .9em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; } :focus-visible { outline: 2px solid var(--water); outline-offset: 2px; }
.soft { color: var(--soft); } .note { border-left: 3px solid var(--half); padding: .1rem .9rem; } .bad { border-left: 3px solid var(--wrong); padding: .1rem .9rem; }
figure { margin: 0 0 1rem; background: var(--raised); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; } figure svg { display: block; width: 100%; height: auto; }
.wide svg { max-width: 70rem; } .slim { display: none; }
.ladders { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem; align-items: start; } .ladders figcaption { padding: .6rem .9rem .2rem; font-weight: 600; }
table { border-collapse: separate; border-spacing: 0; font-size: .78rem; line-height: 1.35; width: 100%; background: var(--raised); border: 1px solid var(--line); border-radius: 10px; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .4rem; text-align: right; vertical-align: baseline; overflow-wrap: normal; border-bottom: 1px solid var(--line); } td small { color: var(--soft); font-size: .82em; white-space: nowrap; }
thead th { position: sticky; top: 0; z-index: 1; background: var(--raised); font-weight: 600; color: var(--soft); vertical-align: bottom; border-bottom: 2px solid var(--line); } thead th:first-child { border-top-left-radius: 10px; }
td:first-child, th:first-child, td.words, th.words { text-align: left; } #cells td:last-child, #cells td:nth-last-child(2) { white-space: nowrap; } #cells td[colspan] { white-space: normal; overflow-wrap: anywhere; } td:first-child { white-space: nowrap; } tr.group td { font-weight: 600; background: var(--paper); text-align: left; }
#cells { font-size: .74rem; } #cells th, #cells td { padding: .22rem .28rem; }
#lanes { font-size: .88rem; } #lanes .bar { display: inline-block; height: .7em; background: var(--bar); border-radius: 2px; margin-right: .4rem; } #lanes td:nth-child(4) { text-align: left; min-width: 11rem; white-space: nowrap; }
#advice { font-size: .9rem; } #advice td, #advice th { text-align: left; padding: .4rem .6rem; white-space: normal; } #advice td:nth-child(2) { font-weight: 600; }
.claim { background: var(--raised); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; margin: .7rem 0; } .claim p { margin: .3rem 0; }
.claim .says { font-weight: 600; } .number { color: var(--soft); font-variant-numeric: tabular-nums; margin-right: .4rem; }
.ruling { display: inline-block; border: 1.5px solid currentColor; border-radius: 99px; padding: 0 .6rem; font-size: .85rem; font-weight: 600; margin-left: .4rem; }
.right { color: var(--right); } .wrong { color: var(--wrong); } .half { color: var(--half); } .none { color: var(--none); }
.claim pre { white-space: pre-wrap; font-size: .8rem; background: var(--paper); border-radius: 6px; padding: .4rem .6rem; margin: .3rem 0; } details { margin: .6rem 0; } summary { cursor: pointer; min-height: 32px; } dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; } dt { font-weight: 600; } dd { margin: 0; }
@media (max-width: 76rem) {
  table, tbody, tr, td { display: block; } thead { display: none; } table { border: 0; background: none; }
  tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(5.6rem, 1fr)); gap: .35rem .8rem; background: var(--raised); border: 1px solid var(--line); border-radius: 10px; padding: .5rem .8rem; margin-bottom: .5rem; }
  tr.group { background: none; border: 0; padding: .6rem 0 0; } tr.group td { background: none; } td { text-align: left; border: 0; padding: 0; }
  td:first-child { grid-column: 1 / -1; font-weight: 600; white-space: normal; } td::before { display: block; color: var(--soft); font-size: .9em; line-height: 1.2; } td:empty { display: none; }
  #cells td { padding: 0; } #advice tr { display: block; } #advice td { padding: .1rem 0; } #lanes td:nth-child(4) { min-width: 0; grid-column: 1 / -1; order: 9; } }
@media (max-width: 44rem) { .wide { display: none; } .slim { display: block; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
"#;

pub(super) const SCRIPT: &str = r#"
const root = document.documentElement;
const speak = (language) => { root.dataset.language = language; root.lang = language === "zh" ? "zh-CN" : "en"; };
speak(new URLSearchParams(location.search).get("lang") || (navigator.language.startsWith("zh") ? "zh" : "en"));
document.getElementById("language").onclick = () => speak(root.dataset.language === "zh" ? "en" : "zh");
"#;

/// The rules that write the heading of each column before its numbers where a row is a block.
pub(super) fn headings(table: &str, columns: &[(&str, &str)]) -> String {
    let mut rules = "@media (max-width: 76rem) {\n".to_owned();
    for (index, (english, chinese)) in columns.iter().enumerate() {
        let child = index + 2;
        for (language, heading) in [("en", english), ("zh", chinese)] {
            let _ = writeln!(
                rules,
                "html[data-language={language}] #{table} td:nth-child({child})::before {{ content: \"{heading}\" }}"
            );
        }
    }
    rules + "}\n"
}
