//! Draws one connection as an SVG sequence diagram: two lifelines, a time axis, and an arrow for each
//! segment.
//!
//! Colours come from CSS variables (`--ladder-…`), which a page may set; by default they follow the
//! reader's light or dark scheme. They are the Okabe–Ito palette, safe for colour blindness, and
//! shapes repeat what colours mean.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "coordinates in a picture, which are small"
)]

mod axis;
mod svg;
mod textbook;
pub mod words;

use std::time::Duration;

use axis::{Axis, AxisStep, Stretch};
use svg::{Svg, wrap};
use textbook::{states_text, step_name};
use words::{Colour, DetailLevel, Language};

use crate::flow::connection::TcpConnection;
use crate::flow::mark::SegmentMark;
use crate::flow::segment::Segment;
use crate::flow::side::{PerSide, Side};
use crate::flow::state::{INITIAL, State, Transition, transitions};
use crate::http::ConnectionReading;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderOptions {
    /// Width in CSS pixels, at least 340. Below 640 labels are shorter.
    pub width: u32,
    /// The language of the labels.
    pub language: Language,
    /// The side at which packets were captured, and for which the times are exact.
    pub vantage: Side,
    /// The most segments to draw; beyond that those in the middle are left out.
    pub segments: usize,
    /// What is drawn beside the segments.
    pub annotations: Annotations,
}

/// What is drawn beside the segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Annotations {
    /// Nothing.
    #[default]
    None,
    /// The steps of the handshake and of the close as textbooks name them, and the states of both
    /// ends. They need the start of the connection.
    Textbook,
}

impl Default for LadderOptions {
    fn default() -> Self {
        Self {
            width: 960,
            language: Language::English,
            vantage: Side::Client,
            segments: 160,
            annotations: Annotations::None,
        }
    }
}

/// A segment to draw, and how many were left out before it.
#[derive(Debug)]
struct Row<'a> {
    segment: &'a Segment,
    left_out: u64,
    colour: Colour,
    step: Option<String>,
    above: Vec<String>,
    below: Vec<String>,
    /// The states that begin with it at both ends.
    states: PerSide<Vec<State>>,
}

#[derive(Debug)]
struct Layout {
    width: f64,
    is_narrow: bool,
    font: f64,
    line: f64,
    axis: f64,
    client: f64,
    server: f64,
    /// The vertical distance from an arrow's tail to its head.
    slope: f64,
}

const HEADER: f64 = 84.0;

/// Draws a connection.
pub fn draw(
    connection: &TcpConnection,
    conversation: &ConnectionReading,
    options: &LadderOptions,
) -> String {
    let mut layout = Layout::new(options.width);
    let rows = rows(connection, conversation, options, &layout);
    let times: Vec<Duration> =
        rows.windows(2).map(|pair| pair[1].segment.at.since(pair[0].segment.at)).collect();
    // The slope may take up to 14 of this.
    let least: Vec<f64> = rows
        .windows(2)
        .map(|pair| layout.below(&pair[0]) + layout.above(&pair[1]) + 20.0)
        .collect();
    let is_left_out: Vec<bool> = rows.iter().skip(1).map(|row| row.left_out > 0).collect();
    let axis = Axis::new(&times, &least, &is_left_out);
    let one_way = connection.handshake.round_trip().unwrap_or_default().as_secs_f64() / 2.0;
    layout.slope = (one_way * axis.scale).clamp(5.0, 14.0);

    let begins_with_states = options.annotations == Annotations::Textbook;
    let initial = if begins_with_states { layout.states_height() } else { 0.0 };
    let top = HEADER + initial + rows.first().map_or(0.0, |row| layout.above(row)) + 10.0;
    let height: f64 = axis.steps.iter().map(|step| step.height).sum();
    let bottom = top + height + rows.last().map_or(0.0, |row| layout.below(row)) + 26.0;
    let legend = Legend::new(&layout, &rows, options.language);
    let total = bottom + 30.0 + legend.height(&layout);

    let mut svg = Svg::new(
        layout.width,
        total,
        layout.font,
        &words::summary(connection, conversation, options.language),
    );
    header(&mut svg, &layout, connection, conversation, options);
    life_lines(&mut svg, &layout, connection, bottom, options.language);
    if begins_with_states {
        for side in Side::ALL {
            state(&mut svg, &layout, side, HEADER + 6.0, &[*INITIAL.of(side)]);
        }
    }
    let mut y = top;
    for (index, row) in rows.iter().enumerate() {
        arrow(&mut svg, &layout, row, y, options);
        let time = words::offset(row.segment.at.since(connection.started));
        svg.text(layout.axis - 8.0, y + layout.font * 0.35, "end", "time", &time);
        if let (Some(step), Some(next)) = (axis.steps.get(index), rows.get(index + 1)) {
            axis_step(&mut svg, &layout, step, y);
            if next.left_out > 0 {
                // Between the labels of the two rows there is as much room as a cut has.
                let room =
                    f64::midpoint(y + layout.below(row), y + step.height - layout.above(next))
                        + 6.0;
                svg.text(
                    f64::midpoint(layout.client, layout.server),
                    room,
                    "middle",
                    "cut",
                    &left_out(next.left_out, options.language),
                );
            }
            y += step.height;
        }
    }
    legend.draw(&mut svg, &layout, &axis, bottom + 30.0);
    svg.finish()
}

impl Layout {
    fn new(width: u32) -> Self {
        let width = f64::from(width.max(340));
        let is_narrow = width < 640.0;
        let (font, axis) = if is_narrow { (11.0, 86.0) } else { (12.5, 104.0) };
        let client = axis + 14.0;
        Self {
            width,
            is_narrow,
            font,
            line: font * 1.32,
            axis,
            client,
            server: width - 14.0,
            slope: 0.0,
        }
    }

    fn above(&self, row: &Row<'_>) -> f64 {
        self.line * (row.above.len() + usize::from(row.step.is_some())) as f64
    }

    fn below(&self, row: &Row<'_>) -> f64 {
        let has_states = Side::ALL.iter().any(|side| !row.states.of(*side).is_empty());
        self.line * row.below.len() as f64 + if has_states { self.states_height() } else { 0.0 }
    }

    /// A line of states with the space around it.
    fn states_height(&self) -> f64 {
        self.line + 12.0
    }

    /// How many characters fit between the life lines.
    fn columns(&self) -> usize {
        ((self.server - self.client - 28.0) / (self.font * 0.602)) as usize
    }
}

fn left_out(count: u64, language: Language) -> String {
    language.pick(format!("⋯ {count} segments left out ⋯"), format!("⋯ 省略 {count} 个报文段 ⋯"))
}

fn rows<'a>(
    connection: &'a TcpConnection,
    conversation: &ConnectionReading,
    options: &LadderOptions,
    layout: &Layout,
) -> Vec<Row<'a>> {
    let segments = connection.segments();
    let most = options.segments.max(4);
    let (head, tail) = if segments.len() <= most {
        (segments.len(), 0)
    } else {
        (most * 2 / 3, most - most * 2 / 3)
    };
    let depth = if layout.is_narrow { DetailLevel::Short } else { DetailLevel::Full };
    let transitions = match options.annotations {
        Annotations::None => Vec::new(),
        Annotations::Textbook => transitions(connection),
    };
    let row = |segment: &'a Segment, left_out| {
        let Transition { steps, states } = usize::try_from(segment.number)
            .ok()
            .and_then(|number| transitions.get(number).cloned())
            .unwrap_or_default();
        let mut below = words::remarks(segment, options.language);
        below.extend(words::contents(segment, &conversation.readings, options.language));
        Row {
            segment,
            left_out,
            colour: Colour::of(segment, &conversation.readings),
            step: step_name(&steps, options.language),
            states,
            above: wrap(&words::facts(segment, depth), "  ", layout.columns()),
            below: wrap(&below, ", ", layout.columns()),
        }
    };
    let left_out = (segments.len() - head - tail) as u64;
    let after = segments[segments.len() - tail..].iter().enumerate();
    let after = after.map(|(index, segment)| row(segment, if index == 0 { left_out } else { 0 }));
    segments[..head].iter().map(|segment| row(segment, 0)).chain(after).collect()
}

fn header(
    svg: &mut Svg,
    layout: &Layout,
    connection: &TcpConnection,
    conversation: &ConnectionReading,
    options: &LadderOptions,
) {
    let language = options.language;
    let summary = words::summary(connection, conversation, language);
    let parts: Vec<String> = summary.split(" · ").map(str::to_owned).collect();
    let columns = ((layout.width - 16.0) / (layout.font * 0.602)) as usize;
    for (index, line) in wrap(&parts, " · ", columns).iter().take(2).enumerate() {
        svg.text(8.0, 18.0 + index as f64 * layout.line, "start", "summary", line);
    }
    let y = HEADER - 28.0;
    let addresses = connection.addresses;
    svg.text(layout.client - 10.0, y, "start", "name", language.pick("client", "客户端"));
    svg.text(layout.server + 8.0, y, "end", "name", language.pick("server", "服务器"));
    svg.text(
        layout.client - 10.0,
        y + layout.line,
        "start",
        "address",
        &addresses.client.to_string(),
    );
    svg.text(layout.server + 8.0, y + layout.line, "end", "address", &addresses.server.to_string());
    svg.text(layout.axis - 8.0, y + layout.line, "end", "time", language.pick("time", "时间"));
}

fn life_lines(
    svg: &mut Svg,
    layout: &Layout,
    connection: &TcpConnection,
    bottom: f64,
    language: Language,
) {
    for (side, x) in [(Side::Client, layout.client), (Side::Server, layout.server)] {
        svg.line(x, HEADER, x, bottom, "life");
        if connection.ending().holds_time_wait(side) {
            svg.line(x, bottom - 18.0, x, bottom + 16.0, "wait");
            let (anchor, at) =
                if side == Side::Client { ("start", x + 8.0) } else { ("end", x - 8.0) };
            svg.text(
                at,
                bottom + 14.0,
                anchor,
                "remark",
                language.pick("TIME-WAIT", "TIME-WAIT（等待 2MSL）"),
            );
        }
    }
}

/// The arrow's end at the side where the packets were captured is at the time of the capture.
fn arrow(svg: &mut Svg, layout: &Layout, row: &Row<'_>, y: f64, options: &LadderOptions) {
    let from = row.segment.from;
    let (start, end) =
        if from == options.vantage { (y, y + layout.slope) } else { (y - layout.slope, y) };
    let (tail, head) = match from {
        Side::Client => (layout.client, layout.server),
        Side::Server => (layout.server, layout.client),
    };
    let is_repeated =
        row.segment.marks.iter().any(|mark| matches!(mark, SegmentMark::Retransmission { .. }));
    let class = format!("{}{}", row.colour.class(), if is_repeated { " again" } else { "" });
    let title: Vec<String> =
        [words::facts(row.segment, DetailLevel::Full).join(" "), row.below.join(" ")]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
    svg.open_group(&class, &title.join("; "));
    svg.arrow(tail, start, head, end);
    let (middle, center) = (f64::midpoint(layout.client, layout.server), f64::midpoint(start, end));
    for (index, line) in row.above.iter().rev().enumerate() {
        svg.text(middle, center - 7.0 - index as f64 * layout.line, "middle", "facts", line);
    }
    if let Some(step) = &row.step {
        let up = center - 7.0 - row.above.len() as f64 * layout.line;
        svg.text(middle, up, "middle", "step", step);
    }
    for (index, line) in row.below.iter().enumerate() {
        svg.text(
            middle,
            center + layout.font + 3.0 + index as f64 * layout.line,
            "middle",
            "holds",
            line,
        );
    }
    svg.close_group();
    let under = start.max(end) + 6.0 + row.below.len() as f64 * layout.line;
    for side in Side::ALL {
        state(svg, layout, side, under, row.states.of(side));
    }
}

/// The states that begin at one end, in a frame on its life line; nothing if there are none.
fn state(svg: &mut Svg, layout: &Layout, side: Side, top: f64, states: &[State]) {
    if states.is_empty() {
        return;
    }
    let text = states_text(states);
    let width = svg::columns(&text) as f64 * layout.font * 0.602 + 12.0;
    let (left, x) = match side {
        Side::Client => (layout.client - 4.0, layout.client + 2.0),
        Side::Server => (layout.server + 4.0 - width, layout.server - 2.0),
    };
    svg.frame(left, top, width, layout.line + 3.0, "state");
    let anchor = if side == Side::Client { "start" } else { "end" };
    svg.text(x, top + layout.font + 1.5, anchor, "state", &text);
}

fn axis_step(svg: &mut Svg, layout: &Layout, step: &AxisStep, y: f64) {
    let (x, end) = (layout.axis, y + step.height);
    match step.stretch {
        Stretch::ToScale => svg.line(x, y, x, end, "axis"),
        Stretch::Wider => svg.line(x, y, x, end, "axis wider"),
        Stretch::Cut => {
            svg.zigzag(x, y, end);
            svg.text(
                x - 8.0,
                f64::midpoint(y, end) + 4.0,
                "end",
                "cut",
                &format!("⋯ {}", words::duration(step.time)),
            );
        }
    }
    svg.line(x - 4.0, y, x + 4.0, y, "axis");
    svg.line(x - 4.0, end, x + 4.0, end, "axis");
}

/// The legend below the diagram: the colours that occur, the scale, and how to read the axis.
#[derive(Debug)]
struct Legend {
    /// Each colour with its position: line and x.
    colours: Vec<(Colour, &'static str, f64, f64)>,
    notes: Vec<String>,
}

impl Legend {
    fn new(layout: &Layout, rows: &[Row<'_>], language: Language) -> Self {
        let (mut x, mut line) = (8.0, 0.0);
        let mut colours = Vec::new();
        for colour in
            Colour::ALL.into_iter().filter(|colour| rows.iter().any(|row| row.colour == *colour))
        {
            let name = colour.name(language);
            let width = 40.0 + svg::columns(name) as f64 * layout.font * 0.602;
            if x + width > layout.width {
                (x, line) = (8.0, line + 1.0);
            }
            colours.push((colour, name, line, x));
            x += width;
        }
        let note = language.pick(
            "Solid axis: to scale. Dotted: closer in time than drawn. Zigzag: a pause, cut. Times are those of the capture; slopes are not to scale.",
            "实线：按比例；点线：实际间隔更短；折线：停顿，已截短。时间为抓包时刻；箭头斜度不按比例。",
        );
        let words: Vec<String> = match language {
            Language::English => note.split(' ').map(str::to_owned).collect(),
            Language::Chinese => note.split_inclusive(['；', '。']).map(str::to_owned).collect(),
        };
        let columns = ((layout.width - 16.0) / (layout.font * 0.602)) as usize;
        Self { colours, notes: wrap(&words, language.pick(" ", ""), columns) }
    }

    fn colours_height(&self, layout: &Layout) -> f64 {
        self.colours.last().map_or(0.0, |(_, _, line, _)| (line + 1.0) * layout.line)
    }

    fn height(&self, layout: &Layout) -> f64 {
        self.colours_height(layout) + 30.0 + self.notes.len() as f64 * layout.line
    }

    fn draw(&self, svg: &mut Svg, layout: &Layout, axis: &Axis, top: f64) {
        for (colour, name, line, x) in &self.colours {
            let y = top + line * layout.line;
            svg.open_group(colour.class(), "");
            svg.line(*x, y, x + 20.0, y, "sample");
            svg.text(x + 25.0, y + layout.font * 0.35, "start", "holds", name);
            svg.close_group();
        }
        let (time, length) = axis.ruler();
        let y = top + self.colours_height(layout) + 6.0;
        svg.line(8.0, y, 8.0 + length, y, "axis");
        svg.line(8.0, y - 4.0, 8.0, y + 4.0, "axis");
        svg.line(8.0 + length, y - 4.0, 8.0 + length, y + 4.0, "axis");
        svg.text(16.0 + length, y + layout.font * 0.35, "start", "remark", &words::duration(time));
        for (index, line) in self.notes.iter().enumerate() {
            svg.text(8.0, y + 22.0 + index as f64 * layout.line, "start", "remark", line);
        }
    }
}

#[cfg(test)]
mod tests;
