//! Charts as SVG: bytes per token by kind, delays, and the arrival of each token; for wide screens,
//! and for phones with each name above its row.

#![expect(clippy::cast_precision_loss, reason = "coordinates of a picture are small")]

use std::fmt::Write;

use lens::ladder::words::Language;

use super::labels::{KINDS, Labels};
use super::xml::escape;
use crate::numbers::Measured;
use crate::plan::Dialect;
use crate::spread::Spread;

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
.chart .span { stroke: var(--mark); stroke-width: 2; } .chart .open { fill: var(--paper); stroke: var(--mark); stroke-width: 1.5; } .chart .strong { font-weight: 600; }
"#;

/// For which screens a chart is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// From about 700 pixels on.
    Wide,
    /// A phone's.
    Narrow,
}

/// The width of a character of the charts' font: ASCII, and others.
const CHARACTER: (f64, f64) = (7.6, 13.0);

const LINE: f64 = 18.0;

/// The approximate width of a text in pixels.
fn width_of(text: &str) -> f64 {
    text.chars().map(width_of_character).sum()
}

fn width_of_character(character: char) -> f64 {
    if character.is_ascii() { CHARACTER.0 } else { CHARACTER.1 }
}

/// Breaks a text into lines of a width, at spaces if possible.
fn wrap(text: &str, width: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    // A character of more than one byte, as in Chinese, is a word of its own.
    for word in text.split_inclusive(|character: char| character == ' ' || !character.is_ascii()) {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() || width_of(line) + width_of(word.trim_end()) <= width {
                line.push_str(word);
                continue;
            }
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The names and places of a chart's rows.
struct Layout<'a> {
    format: Format,
    width: f64,
    /// Where the plot starts.
    left: f64,
    /// Where it ends.
    right: f64,
    /// Below the title and the legend or the axis.
    top: f64,
    rows: Vec<Row<'a>>,
    bottom: f64,
}

struct Row<'a> {
    /// The name of the row, or the heading of those below.
    name: String,
    measured: Option<&'a Measured>,
    y: f64,
}

impl<'a> Layout<'a> {
    /// `margin` is free to the right of the plot; `head` is the height of the title and the legend.
    fn new(
        cells: &[&'a Measured],
        language: Language,
        format: Format,
        margin: f64,
        head: f64,
    ) -> Self {
        let labels = Labels(language);
        let mut rows = Vec::new();
        let mut dialect: Option<Dialect> = None;
        let several = cells.windows(2).any(|pair| {
            pair[0].cell.map(|cell| cell.dialect) != pair[1].cell.map(|cell| cell.dialect)
        });
        let (row, heading) = match format {
            Format::Wide => (24.0, 30.0),
            Format::Narrow => (42.0, 26.0),
        };
        let mut y = head;
        for measured in cells {
            let Some(cell) = measured.cell else { continue };
            if several && dialect.replace(cell.dialect) != Some(cell.dialect) {
                rows.push(Row { name: labels.dialect(cell.dialect).to_owned(), measured: None, y });
                y += heading;
            }
            rows.push(Row { name: labels.cell(cell), measured: Some(measured), y });
            y += row;
        }
        let names = rows.iter().filter(|row| row.measured.is_some()).map(|row| width_of(&row.name));
        let (width, left) = match format {
            Format::Wide => (960.0, names.fold(120.0, f64::max) + 24.0),
            Format::Narrow => (360.0, 8.0),
        };
        Self { format, width, left, right: width - margin, top: head, rows, bottom: y + 8.0 }
    }

    /// The rows with cells, and where their plots are.
    fn plots(&self) -> impl Iterator<Item = (&'a Measured, f64)> {
        let down = match self.format {
            Format::Wide => 6.0,
            Format::Narrow => 20.0,
        };
        self.rows.iter().filter_map(move |row| Some((row.measured?, row.y + down)))
    }

    /// The position of a value between 0 and 1.
    fn at(&self, share: f64) -> f64 {
        self.left + (self.right - self.left) * share
    }
}

/// A chart in progress.
struct Chart(String);

impl Chart {
    fn new(layout: &Layout<'_>, title: &str) -> Self {
        let mut out = String::new();
        let (width, height) = (layout.width, layout.bottom);
        // Writing to a `String` cannot fail, here and below.
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" height=\"{height:.0}\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n",
            escape(title)
        );
        let mut chart = Self(out);
        for (index, line) in wrap(title, width - 16.0).iter().enumerate() {
            chart.text(8.0, 18.0 + LINE * index as f64, "start", "strong", line.trim_end());
        }
        for row in &layout.rows {
            let class = if row.measured.is_some() { "" } else { "strong" };
            // In line with the plot, or above it.
            let down = match (row.measured, layout.format) {
                (Some(_), Format::Wide) => 17.0,
                (Some(_), Format::Narrow) => 14.0,
                (None, _) => 20.0,
            };
            chart.text(8.0, row.y + down, "start", class, &row.name);
        }
        chart
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
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"13\" class=\"{class}\"><title>{}</title></rect>",
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

    /// A mark of the axis, from above the first row to below the last.
    fn tick(&mut self, layout: &Layout<'_>, x: f64, text: &str) {
        self.line([x, layout.top - 4.0, x, layout.bottom - 8.0], "rule");
        self.text(x, layout.top - 8.0, "middle", "quiet", text);
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

/// The height of a title and one line below it.
fn head(title: &str, format: Format) -> f64 {
    let width = match format {
        Format::Wide => 944.0,
        Format::Narrow => 344.0,
    };
    8.0 + LINE * wrap(title, width).len() as f64 + LINE + 4.0
}

/// Bytes to the client per token by kind, with a bar for each cell, all on one scale.
pub fn bytes_chart(cells: &[&Measured], language: Language, format: Format) -> String {
    let title = language.pick(
        "Bytes to the client for each token, above TCP",
        "每个 token 发给客户端的字节数（TCP 之上）",
    );
    let lines = legend(language, format);
    let legend_height = LINE * lines.len().saturating_sub(1) as f64;
    let layout =
        Layout::new(cells, language, format, 60.0, head(title, format) + legend_height + 4.0);
    let mut chart = Chart::new(&layout, title);
    for (index, line) in lines.iter().enumerate() {
        let mut x = 8.0;
        let y = layout.top - legend_height - LINE - 2.0 + LINE * index as f64;
        for (class, kind) in line {
            chart.bar(x, y, 11.0, class, kind);
            chart.text(x + 15.0, y + 11.0, "start", "quiet", kind);
            x += 15.0 + width_of(kind) + 14.0;
        }
    }
    let sum = |measured: &&Measured| {
        measured.kinds_per_token().map_or(0.0, |kinds| kinds.iter().sum::<f64>())
    };
    let most = cells.iter().map(sum).fold(1.0, f64::max);
    for (measured, y) in layout.plots() {
        let kinds = measured.kinds_per_token().unwrap_or_default();
        let mut x = layout.left;
        for ((class, english, chinese), bytes) in KINDS.iter().zip(kinds) {
            let width = layout.at(bytes / most) - layout.left;
            chart.bar(
                x,
                y,
                width,
                class,
                &format!("{}: {bytes:.1}", language.pick(english, chinese)),
            );
            x += width;
        }
        let sum: f64 = kinds.iter().sum();
        let text = if sum > 0.0 { format!("{sum:.0}") } else { "?".to_owned() };
        chart.text(x + 6.0, y + 11.0, "start", "quiet", &text);
    }
    chart.finish()
}

/// The kinds of bytes in lines.
fn legend(language: Language, format: Format) -> Vec<Vec<(&'static str, &'static str)>> {
    let width = match format {
        Format::Wide => 944.0,
        Format::Narrow => 344.0,
    };
    let (mut lines, mut used) = (vec![Vec::new()], 0.0);
    for (class, english, chinese) in KINDS {
        let kind = language.pick(english, chinese);
        let needed = 29.0 + width_of(kind);
        if used + needed > width {
            lines.push(Vec::new());
            used = 0.0;
        }
        used += needed;
        if let Some(line) = lines.last_mut() {
            line.push((class, kind));
        }
    }
    lines
}

/// The delay of tokens on a logarithmic axis: the median, the quantiles that the sample carries, and
/// the slowest.
pub fn delay_chart(cells: &[&Measured], language: Language, format: Format) -> String {
    let title = language.pick(
        "From the model to the client, in ms (logarithmic): median (large), p90 and p99 where the sample carries them (small), slowest (open)",
        "从模型到客户端的毫秒数（对数轴）：中位数（大点）、样本足够时的 p90 与 p99（小点）、最慢（空心）",
    );
    let margin = match format {
        Format::Wide => 230.0,
        Format::Narrow => 14.0,
    };
    let layout = Layout::new(cells, language, format, margin, head(title, format));
    let mut chart = Chart::new(&layout, title);
    let least: f64 = 0.05;
    let slowest =
        |measured: &&Measured| measured.times.added_ms.map(|added| added.max).unwrap_or_default();
    let most = cells.iter().map(slowest).fold(10.0, f64::max) * 1.1;
    let place = |value: f64| layout.at((value.max(least) / least).ln() / (most / least).ln());
    for tick in [0.1, 1.0, 10.0, 100.0, 1000.0].into_iter().filter(|tick| *tick < most) {
        chart.tick(&layout, place(tick), &format!("{tick}"));
    }
    for (measured, y) in layout.plots() {
        let y = y + 6.0;
        let Some(added) = measured.times.added_ms else { continue };
        let Spread { count, p50, p90, p99, max, .. } = added;
        chart.line([place(p50), y, place(max), y], "span");
        chart.dot(place(max), y, 3.5, "open");
        for value in [p90, p99].into_iter().flatten() {
            chart.dot(place(value), y, 2.5, "mark");
        }
        chart.dot(place(p50), y, 5.0, "mark");
        let text = match language {
            Language::English => format!("{p50:.2}, slowest of {count}: {max:.2}"),
            Language::Chinese => format!("{p50:.2}，{count} 个中最慢 {max:.2}"),
        };
        match format {
            Format::Wide => chart.text(layout.right + 12.0, y + 4.0, "start", "quiet", &text),
            // Beside the name, which is in the line above.
            Format::Narrow => {
                chart.text(layout.width - 8.0, y - 12.0, "end", "quiet", &short(&added));
            }
        }
    }
    chart.finish()
}

/// Median, slowest and count where there is little room.
fn short(added: &Spread) -> String {
    format!("{:.2}/{:.2} ({})", added.p50, added.max, added.count)
}

/// The tokens of one answer: when the model sent each (above the line), and when it arrived
/// (below).
pub fn strip_chart(cells: &[&Measured], language: Language, format: Format) -> String {
    let title = language.pick(
        "One answer, token by token: when the model gave it (small) and when the client had it (large), in ms",
        "一个回答，逐个 token：模型给出的时刻（小点）与客户端收到的时刻（大点），单位毫秒",
    );
    let layout = Layout::new(cells, language, format, 24.0, head(title, format));
    let mut chart = Chart::new(&layout, title);
    let last = |measured: &&Measured| measured.strip.arrived_ms.last().copied().unwrap_or_default();
    let most = cells.iter().map(last).fold(1.0, f64::max) * 1.04;
    let place = |value: f64| layout.at(value / most);
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
        .into_iter()
        .find(|step| most / step <= 8.0)
        .unwrap_or(5000.0);
    let mut tick = 0.0;
    while tick < most {
        chart.tick(&layout, place(tick), &format!("{tick}"));
        tick += step;
    }
    for (measured, y) in layout.plots() {
        for given in &measured.strip.given_ms {
            chart.dot(place(*given), y + 1.0, 1.6, "late");
        }
        for arrived in &measured.strip.arrived_ms {
            chart.dot(place(*arrived), y + 9.0, 3.6, "mark");
        }
    }
    chart.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Cell, Transport, Version, cells};

    fn measured() -> Vec<Measured> {
        let all = cells(&Dialect::ALL, &Transport::ALL, &Version::ALL, &[false, true]);
        let of = |cell: Cell| {
            let mut measured = Measured { cell: Some(cell), ..Measured::default() };
            measured.tokens = Some(12);
            measured.bytes.down.body = 9000;
            measured.times.added_ms = Spread::of((0..36).map(f64::from).collect());
            measured.strip.arrived_ms = vec![1.0, 60.0];
            measured
        };
        all.into_iter().map(of).collect()
    }

    /// Right ends of texts, left ends for those that end at their place.
    fn is_inside(chart: &str, width: f64) -> bool {
        let attribute = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        chart.lines().filter(|line| line.starts_with("<text")).all(|line| {
            let x: f64 = attribute(line, "x").unwrap().parse().unwrap();
            let text = line.split_once('>').unwrap().1.trim_end_matches("</text>");
            // The font is up to a tenth narrower than assumed.
            let long = width_of(text) * 0.98;
            let (left, right) = match attribute(line, "text-anchor").unwrap().as_str() {
                "start" => (x, x + long),
                "middle" => (x - long / 2.0, x + long / 2.0),
                _ => (x - long, x),
            };
            left >= -1.0 && right <= width + 1.0
        })
    }

    #[test]
    fn nothing_is_cut_on_a_phone_or_a_wide_screen() {
        let all = measured();
        let cells: Vec<&Measured> = all.iter().collect();
        for language in [Language::English, Language::Chinese] {
            for (format, width) in [(Format::Wide, 960.0), (Format::Narrow, 360.0)] {
                for chart in [bytes_chart, delay_chart, strip_chart] {
                    let chart = chart(&cells, language, format);
                    assert!(is_inside(&chart, width), "{width}: {chart}");
                }
            }
        }
    }

    #[test]
    fn a_delay_has_its_count_and_no_percentile_that_is_its_maximum() {
        let all = measured();
        let cells: Vec<&Measured> = all.iter().take(1).collect();
        let chart = delay_chart(&cells, Language::English, Format::Wide);
        assert!(chart.contains("17.00, slowest of 36: 35.00"), "{chart}");
    }

    #[test]
    fn lines_break_at_spaces_and_between_chinese_characters() {
        assert_eq!(wrap("one two three", 60.0), ["one two ", "three"]);
        assert_eq!(wrap("一二三四五", 40.0), ["一二三", "四五"]);
    }
}
