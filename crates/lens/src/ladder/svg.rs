//! Writing SVG: text that can be selected, and a style that follows the page's scheme.

use std::fmt::Write;

/// A picture that is being written.
#[derive(Debug)]
pub(super) struct Svg {
    out: String,
}

/// Okabe and Ito's colours, darkened or lightened until text in them can be read on white or on
/// near black.
const STYLE: &str = r#"
:where(.ladder) {
  color-scheme: light dark;
  --ladder-paper: #ffffff; --ladder-ink: #1b1f24; --ladder-quiet: #5c6570; --ladder-line: #b6bec8;
  --ladder-open: #0063a0; --ladder-acknowledge: #6b7480; --ladder-head: #8a5a00; --ladder-body: #00704f;
  --ladder-control: #4b5aa8; --ladder-tls: #5a3d8a; --ladder-close: #a33b77; --ladder-reset: #b23a00;
}
@media (prefers-color-scheme: dark) {
  :where(.ladder) {
    --ladder-paper: #14171b; --ladder-ink: #e8ebef; --ladder-quiet: #a3acb8; --ladder-line: #4a535e;
    --ladder-open: #6cb8ec; --ladder-acknowledge: #98a2ae; --ladder-head: #f0b341; --ladder-body: #3fcf9f;
    --ladder-control: #a6b2ff; --ladder-tls: #c3a6f5; --ladder-close: #eb9ac6; --ladder-reset: #ff8a4c;
  }
}
.ladder text { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace; white-space: pre; }
.ladder .paper { fill: var(--ladder-paper); }
.ladder text { fill: var(--ladder-ink); }
.ladder .summary, .ladder .name { font-weight: 600; }
.ladder .address, .ladder .remark, .ladder .time, .ladder .cut { fill: var(--ladder-quiet); }
.ladder .cut { font-style: italic; }
.ladder g .step { font-weight: 700; fill: var(--ladder-ink); stroke: var(--ladder-paper); stroke-width: 4px; paint-order: stroke; }
.ladder rect.state { fill: var(--ladder-paper); stroke: var(--ladder-line); stroke-width: 1.5; }
.ladder text.state { font-weight: 600; }
.ladder .life { stroke: var(--ladder-line); stroke-width: 2; }
.ladder .axis { stroke: var(--ladder-quiet); fill: none; }
.ladder .wider { stroke-dasharray: 1 4; stroke-linecap: round; }
.ladder .wait { stroke: var(--ladder-close); stroke-width: 6; }
.ladder g { stroke-width: 1.8; }
.ladder g text { stroke: none; }
.ladder g .facts, .ladder g .holds { paint-order: stroke; stroke: var(--ladder-paper); stroke-width: 4px; stroke-linejoin: round; }
.ladder g .holds { font-weight: 600; }
.ladder .open { stroke: var(--ladder-open); --here: var(--ladder-open); }
.ladder .acknowledge { stroke: var(--ladder-acknowledge); --here: var(--ladder-acknowledge); stroke-width: 1.1; stroke-dasharray: 5 3; }
.ladder .head { stroke: var(--ladder-head); --here: var(--ladder-head); }
.ladder .body { stroke: var(--ladder-body); --here: var(--ladder-body); }
.ladder .control { stroke: var(--ladder-control); --here: var(--ladder-control); }
.ladder .tls { stroke: var(--ladder-tls); --here: var(--ladder-tls); }
.ladder .close { stroke: var(--ladder-close); --here: var(--ladder-close); }
.ladder .reset { stroke: var(--ladder-reset); --here: var(--ladder-reset); stroke-width: 2.4; }
.ladder .again { stroke-dasharray: 9 4; }
.ladder g text { fill: var(--here); stroke-dasharray: none; }
.ladder g polygon { fill: var(--here); stroke: none; }
"#;

impl Svg {
    pub(super) fn new(width: f64, height: f64, font: f64, title: &str) -> Self {
        let mut out = String::new();
        // Writing to a text cannot fail, here and below.
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ladder\" role=\"img\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" font-size=\"{font}\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n",
            escape(title)
        );
        Self { out }
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        );
    }

    pub(super) fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, class: &str) {
        let _ = writeln!(
            self.out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    /// A frame with round corners.
    pub(super) fn frame(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"5\" class=\"{class}\"/>"
        );
    }

    /// A line that is broken in its middle.
    pub(super) fn zigzag(&mut self, x: f64, from: f64, to: f64) {
        let middle = f64::midpoint(from, to);
        let turns = [
            (0.0, from),
            (0.0, middle - 7.0),
            (5.0, middle - 3.5),
            (-5.0, middle + 3.5),
            (0.0, middle + 7.0),
            (0.0, to),
        ];
        let points: Vec<String> =
            turns.iter().map(|(aside, y)| format!("{:.1},{y:.1}", x + aside)).collect();
        let _ = writeln!(self.out, "<polyline class=\"axis\" points=\"{}\"/>", points.join(" "));
    }

    /// A line with a head at its end, in the colour of its group.
    pub(super) fn arrow(&mut self, x1: f64, y1: f64, x2: f64, y2: f64) {
        let (dx, dy) = (x2 - x1, y2 - y1);
        let length = dx.hypot(dy).max(1.0);
        let (ux, uy) = (dx / length, dy / length);
        let (bx, by) = (x2 - ux * 10.0, y2 - uy * 10.0);
        self.line(x1, y1, bx, by, "");
        let (lx, ly, rx, ry) = (bx - uy * 4.5, by + ux * 4.5, bx + uy * 4.5, by - ux * 4.5);
        let _ = writeln!(
            self.out,
            "<polygon points=\"{x2:.1},{y2:.1} {lx:.1},{ly:.1} {rx:.1},{ry:.1}\"/>"
        );
    }

    pub(super) fn open_group(&mut self, class: &str, title: &str) {
        let title = if title.is_empty() {
            String::new()
        } else {
            format!("<title>{}</title>", escape(title))
        };
        let _ = writeln!(self.out, "<g class=\"{class}\">{title}");
    }

    pub(super) fn close_group(&mut self) {
        self.out.push_str("</g>\n");
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// Text as XML may hold it: what has a meaning is written out, and what may not be there (XML 1.0,
/// section 2.2) is replaced.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            control if control.is_control() || matches!(control, '\u{FFFE}' | '\u{FFFF}') => {
                out.push('\u{FFFD}');
            }
            other => out.push(other),
        }
    }
    out
}

/// How wide a text is, in characters of the monospaced font: those of East Asia take two.
pub(super) fn columns(text: &str) -> usize {
    text.chars()
        .map(|character| {
            if character >= '\u{1100}' && !matches!(character, '\u{2000}'..='\u{2E7F}') {
                2
            } else {
                1
            }
        })
        .sum()
}

/// Words joined into lines of at most `columns` columns. Longer words are cut.
pub(super) fn wrap(words: &[String], separator: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        let word = cut(word, most);
        match lines.last_mut() {
            Some(line) if columns(line) + columns(separator) + columns(&word) <= most => {
                line.push_str(separator);
                line.push_str(&word);
            }
            Some(_) | None => lines.push(word),
        }
    }
    lines
}

fn cut(word: &str, most: usize) -> String {
    if columns(word) <= most {
        return word.to_owned();
    }
    let mut kept = String::new();
    for character in word.chars() {
        if columns(&kept) + 3 > most {
            break;
        }
        kept.push(character);
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_long_as_there_is_room() {
        let words = ["one", "two", "三四", "abcdefghijk"].map(str::to_owned);
        assert_eq!(wrap(&words, " ", 8), ["one two", "三四", "abcdef…"]);
        assert_eq!(columns("三a"), 3);
    }

    #[test]
    fn nothing_breaks_out_of_a_text() {
        assert_eq!(
            escape("<a b=\"c\">&\0\u{1b}"),
            "&lt;a b=&quot;c&quot;&gt;&amp;\u{FFFD}\u{FFFD}"
        );
    }
}
