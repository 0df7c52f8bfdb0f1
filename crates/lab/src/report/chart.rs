//! Charts as SVG: bytes per token by kind, delays, and the arrival of each token.

#![expect(clippy::cast_precision_loss, reason = "coordinates of a picture are small")]

use std::fmt::Write;

use lens::ladder::words::Language;

use super::labels::{KINDS, Labels};
use super::xml::escape;
use crate::numbers::Measured;

/// Colours of Okabe and Ito, for light and dark.
const STYLE: &str = r#"
:where(.chart) { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --quiet: #5c6570; --rule: #d5dae0;
  --text: #00704f; --dialect: #56a98f; --event: #d08a00; --framing: #0072b2; --head: #8a5a00; --tls: #7d5bb0; --mark: #0072b2; --late: #c04a00; }
@media (prefers-color-scheme: dark) { :where(.chart) { --paper: #14171b; --ink: #e8ebef; --quiet: #a3acb8; --rule: #333b45;
  --text: #3fcf9f; --dialect: #2c8069; --event: #f0b341; --framing: #56b4e9; --head: #b98a3a; --tls: #b79af0; --mark: #56b4e9; --late: #ff8a4c; } }
.chart text { font: 12.5px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace; fill: var(--ink); }
.chart .quiet { fill: var(--quiet); } .chart .paper { fill: var(--paper); } .chart .rule { stroke: var(--rule); }
.chart .text { fill: var(--text); } .chart .dialect { fill: var(--dialect); } .chart .event { fill: var(--event); } .chart .framing { fill: var(--framing); }
.chart .head { fill: var(--head); } .chart .tls { fill: var(--tls); } .chart .mark { fill: var(--mark); } .chart .late { fill: var(--late); }
.chart .span { stroke: var(--mark); stroke-width: 2; }
"#;

const WIDTH: f64 = 960.0;
const NAMES: f64 = 290.0;
const ROW: f64 = 24.0;
const TOP: f64 = 46.0;

/// A chart in progress.
struct Chart(String);

impl Chart {
    fn new(title: &str, height: f64) -> Self {
        let mut out = String::new();
        // Writing to a `String` cannot fail, here and below.
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\">\n\
             <title>{0}</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
             <text x=\"8\" y=\"18\" font-weight=\"600\">{0}</text>\n",
            escape(title)
        );
        Self(out)
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            escape(text)
        );
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, class: &str, title: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"15\" class=\"{class}\"><title>{}</title></rect>",
            escape(title)
        );
    }

    fn dot(&mut self, x: f64, y: f64, radius: f64, class: &str) {
        let _ = writeln!(
            self.0,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" class=\"{class}\"/>"
        );
    }

    fn line(&mut self, [x1, y1, x2, y2]: [f64; 4], class: &str) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

fn height(rows: usize) -> f64 {
    TOP + rows as f64 * ROW + 12.0
}

fn row_at(index: usize) -> f64 {
    TOP + index as f64 * ROW
}

fn name(measured: &Measured, language: Language) -> String {
    measured.cell.map(|cell| Labels(language).cell(cell)).unwrap_or_default()
}

/// Bytes to the client per token by kind, with a bar for each cell.
pub fn bytes_chart(cells: &[&Measured], language: Language) -> String {
    let title = language.pick(
        "Bytes to the client for each token, above TCP",
        "每个 token 发给客户端的字节数（TCP 之上）",
    );
    let mut chart = Chart::new(title, height(cells.len() + 1));
    let mut x = 8.0;
    for (class, english, chinese) in KINDS {
        let kind = language.pick(english, chinese);
        chart.bar(x, 26.0, 11.0, class, kind);
        chart.text(x + 15.0, 38.0, "start", "quiet", kind);
        x += 15.0 + width_of(kind) + 16.0;
    }
    let kinds: Vec<[f64; 6]> =
        cells.iter().map(|measured| measured.kinds_per_token().unwrap_or_default()).collect();
    let most = kinds.iter().map(|kinds| kinds.iter().sum::<f64>()).fold(1.0, f64::max);
    let scale = (WIDTH - NAMES - 70.0) / most;
    for (index, (measured, kinds)) in cells.iter().zip(&kinds).enumerate() {
        let y = row_at(index) + 10.0;
        chart.text(8.0, y + 12.0, "start", "", &name(measured, language));
        let mut x = NAMES;
        for ((class, english, chinese), bytes) in KINDS.iter().zip(kinds) {
            chart.bar(
                x,
                y,
                bytes * scale,
                class,
                &format!("{}: {bytes:.1}", language.pick(english, chinese)),
            );
            x += bytes * scale;
        }
        let sum: f64 = kinds.iter().sum();
        chart.text(
            x + 6.0,
            y + 12.0,
            "start",
            "quiet",
            &if sum > 0.0 { format!("{sum:.0}") } else { "?".to_owned() },
        );
    }
    chart.finish()
}

/// The delay of tokens: p50, p90 and p99 on a logarithmic axis.
pub fn delay_chart(cells: &[&Measured], language: Language) -> String {
    let title = language.pick(
        "From the model to the client, in ms: half, nine in ten, ninety-nine in a hundred of the tokens (logarithmic)",
        "从模型到客户端的毫秒数：50%、90%、99% 的 token（对数轴）",
    );
    let mut chart = Chart::new(title, height(cells.len() + 1));
    let least: f64 = 0.05;
    let most =
        cells.iter().filter_map(|measured| Some(measured.times.added_ms?.p99)).fold(10.0, f64::max)
            * 1.3;
    let place = |value: f64| {
        NAMES + (WIDTH - NAMES - 70.0) * (value.max(least) / least).ln() / (most / least).ln()
    };
    let bottom = row_at(cells.len());
    for tick in [0.1, 1.0, 10.0, 100.0, 1000.0].into_iter().filter(|tick| *tick < most) {
        chart.line([place(tick), TOP - 8.0, place(tick), bottom], "rule");
        chart.text(place(tick), TOP - 12.0, "middle", "quiet", &format!("{tick}"));
    }
    for (index, measured) in cells.iter().enumerate() {
        let y = row_at(index) + 10.0;
        chart.text(8.0, y + 4.0, "start", "", &name(measured, language));
        let Some(added) = measured.times.added_ms else { continue };
        chart.line([place(added.p50), y, place(added.p99), y], "span");
        for (value, radius) in [(added.p50, 5.0), (added.p90, 3.5), (added.p99, 2.5)] {
            chart.dot(place(value), y, radius, "mark");
        }
        chart.text(
            place(added.p99) + 9.0,
            y + 4.0,
            "start",
            "quiet",
            &format!("{:.2}/{:.2}", added.p50, added.p99),
        );
    }
    chart.finish()
}

/// The tokens of one answer: when the model sent each (above the line), and when it arrived
/// (below).
pub fn strip_chart(cells: &[&Measured], language: Language) -> String {
    let title = language.pick(
        "One answer, token by token: when the model gave it (small) and when the client had it (large)",
        "一个回答，逐个 token：模型给出的时刻（小点）与客户端收到的时刻（大点）",
    );
    let mut chart = Chart::new(title, height(cells.len() + 1));
    let last = |measured: &&Measured| measured.strip.arrived_ms.last().copied().unwrap_or_default();
    let most = cells.iter().map(last).fold(1.0, f64::max) * 1.04;
    let place = |value: f64| NAMES + (WIDTH - NAMES - 20.0) * value / most;
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
        .into_iter()
        .find(|step| most / step <= 8.0)
        .unwrap_or(5000.0);
    let bottom = row_at(cells.len());
    let mut tick = 0.0;
    while tick < most {
        chart.line([place(tick), TOP - 8.0, place(tick), bottom], "rule");
        chart.text(place(tick), TOP - 12.0, "middle", "quiet", &format!("{tick} ms"));
        tick += step;
    }
    for (index, measured) in cells.iter().enumerate() {
        let y = row_at(index) + 10.0;
        chart.text(8.0, y + 4.0, "start", "", &name(measured, language));
        for given in &measured.strip.given_ms {
            chart.dot(place(*given), y - 5.0, 1.6, "late");
        }
        for arrived in &measured.strip.arrived_ms {
            chart.dot(place(*arrived), y + 3.0, 3.6, "mark");
        }
    }
    chart.finish()
}

/// The approximate width of a text in pixels.
fn width_of(text: &str) -> f64 {
    text.chars().map(|character| if character.is_ascii() { 7.6 } else { 13.0 }).sum()
}
