//! The report for a person at a terminal.

use std::time::Duration;

use crate::canvas::{Canvas, Colours, Look, padded, right};
use crate::check::CheckReport;
use crate::finding::{Finding, Level};
use crate::measure::Measured;
use crate::picture;
use crate::report::{Report, Role, SideReport, StreamKind, StreamReport};
use crate::stats::Summary;
use crate::text::{Language, Text, milliseconds, text};
use crate::threshold::{Judgement, Threshold};
use crate::words;

/// The cells of a row's name.
const NAME: usize = 13;

/// How a report is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// In which language.
    pub language: Language,
    /// With colours or without.
    pub colours: Colours,
}

struct Renderer {
    canvas: Canvas,
    language: Language,
}

/// The report as text.
pub fn render(report: &Report, thresholds: &[(Threshold, Judgement)], style: Style) -> String {
    let mut renderer = Renderer { canvas: Canvas::new(style.colours), language: style.language };
    for side in &report.sides {
        renderer.side(side);
    }
    for line in &report.lines {
        let line = renderer.say(line);
        renderer.canvas.wrapped(&[(Look::Plain, "  ")], Look::Plain, &line);
    }
    renderer.findings(&report.findings());
    renderer.thresholds(thresholds);
    renderer.end(report);
    renderer.canvas.finish()
}

impl Renderer {
    fn say(&self, text: &Text) -> String {
        text.get(self.language).to_owned()
    }

    fn heading(&mut self, text: &Text) {
        let text = self.say(text);
        self.canvas.blank();
        self.canvas.line(&[(Look::Bold, &text)]);
    }

    fn side(&mut self, side: &SideReport) {
        if side.role == Role::Origin {
            self.canvas.blank();
        }
        let role = match side.role {
            Role::Edge => String::new(),
            Role::Origin => self.say(&text!("origin ", "源站 ")),
        };
        self.canvas.line(&[(Look::Bold, &role), (Look::Bold, &side.url)]);
        let about = self.say(&about(side));
        self.canvas.wrapped(&[], Look::Faint, &about);
        if let Some(run) = side.main_run() {
            self.phases(run);
        }
        if !side.streams.is_empty() {
            self.heading(&text!("How events arrive", "事件如何到达"));
        }
        for stream in &side.streams {
            self.stream(stream);
        }
        if !side.checks.is_empty() {
            self.heading(&text!("Checks", "检查"));
        }
        for check in &side.checks {
            self.check(check);
        }
    }

    fn phases(&mut self, run: &Measured) {
        let rows = picture::phases(run);
        let total: Duration = rows.iter().map(|row| row.took).sum();
        let took = milliseconds(total);
        self.heading(&match run.phases.first_text {
            Some(_) => text!("To the first text: {took}", "到首段文本：{took}"),
            None => text!("To the first event: {took}", "到首个事件：{took}"),
        });
        for row in rows {
            let name = padded(&self.say(&row.name), NAME);
            let took = right(&milliseconds(row.took), 10);
            let bar = picture::bar(row.start, row.took, total);
            self.canvas.line(&[
                (Look::Plain, "  "),
                (Look::Plain, &name),
                (Look::Plain, &took),
                (Look::Plain, "  "),
                (Look::Good, &bar),
            ]);
        }
        let model_ms = run.headers.get("openai-processing-ms");
        if let Some(model_ms) = model_ms {
            let line = self.say(&text!(
                "the server says that its model took {model_ms} ms of this",
                "服务器称其中模型用了 {model_ms} 毫秒"
            ));
            self.canvas.wrapped(&[(Look::Plain, "  ")], Look::Faint, &line);
        }
    }

    fn stream(&mut self, stream: &StreamReport) {
        let name = match stream.kind {
            StreamKind::Endpoint => self.say(&text!("endpoint", "接口")),
            StreamKind::Source => self.say(&text!("source", "校准源")),
        };
        let (mark, look) = verdict_mark(stream);
        let name = padded(&format!("{name} {}", stream.transport.title()), 18);
        let (title, meaning) = match &stream.refused {
            Some(refused) => (self.say(&text!("refused", "被拒绝")), refused.to_string()),
            None => (
                self.say(&words::title(&stream.verdict)),
                self.say(&words::meaning(&stream.verdict)),
            ),
        };
        let head = [
            (look, mark),
            (Look::Plain, " "),
            (Look::Plain, name.as_str()),
            (look, title.as_str()),
            (Look::Plain, "  "),
        ];
        self.canvas.wrapped(&head, Look::Plain, &meaning);
        let Some(run) = stream.runs.first() else { return };
        let end = run.phases.end.unwrap_or_default();
        let arrived = picture::arrived(&run.trace, end);
        let column = |renderer: &Self, text: Text| padded(&renderer.say(&text), NAME);
        if let Some(sent) = picture::sent(&run.trace, end) {
            let name = column(self, text!("sent", "发出"));
            self.canvas.line(&[(Look::Plain, "    "), (Look::Faint, &name), (Look::Faint, &sent)]);
        }
        let name = column(self, text!("arrived", "到达"));
        let seconds = format!(" {:.1} s", end.as_secs_f64());
        self.canvas.line(&[
            (Look::Plain, "    "),
            (Look::Plain, &name),
            (look, &arrived),
            (Look::Faint, &seconds),
        ]);
        self.numbers(stream);
        self.suspect(stream);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of events are small")]
    fn numbers(&mut self, stream: &StreamReport) {
        let (events, bursts) = stream.events_and_bursts();
        let each = events as f64 / bursts.max(1) as f64;
        let name = padded(&self.say(&text!("events", "事件")), NAME);
        let counts = self.say(&text!(
            "{events} in {bursts} bursts, {each:.1} in each",
            "{events} 个，分 {bursts} 批到达，每批 {each:.1} 个"
        ));
        self.canvas.line(&[(Look::Plain, "    "), (Look::Faint, &name), (Look::Faint, &counts)]);
        let gap = (text!("gap", "间隔"), stream.gaps());
        let delay = stream.delays().map(|delays| (text!("delay", "延迟"), delays));
        for (name, summary) in std::iter::once(gap).chain(delay) {
            let name = padded(&self.say(&name), NAME);
            let numbers = self.say(&quantiles(&summary));
            let head = [(Look::Plain, "    "), (Look::Faint, name.as_str())];
            self.canvas.wrapped(&head, Look::Faint, &numbers);
        }
    }

    /// The likeliest hop, and why.
    fn suspect(&mut self, stream: &StreamReport) {
        let Some(suspect) = stream.suspects.first().filter(|_| stream.verdict.is_problem()) else {
            return;
        };
        let name = padded(&self.say(&text!("likely hop", "可能的一跳")), NAME);
        let because = self.say(&suspect.because);
        let hop = suspect.hop.name();
        let why = self.say(&text!("{hop}: {because}", "{hop}：{because}"));
        self.canvas.wrapped(&[(Look::Plain, "    "), (Look::Faint, &name)], Look::Plain, &why);
    }

    fn check(&mut self, check: &CheckReport) {
        let is_bad = check.findings.iter().any(|finding| finding.level == Level::Problem);
        let (mark, look) = match (check.is_made, is_bad) {
            (false, _) => ("–", Look::Faint),
            (true, true) => ("✗", Look::Bad),
            (true, false) => ("✓", Look::Good),
        };
        let name = padded(&self.say(&words::check(check.check)), NAME);
        let mut texts: Vec<String> = check.lines.iter().map(|text| self.say(text)).collect();
        if is_bad {
            texts.push(self.say(&text!("see below", "见下文")));
        }
        for (index, text) in texts.iter().enumerate() {
            let (mark, name) =
                if index == 0 { (mark, name.clone()) } else { (" ", padded("", NAME)) };
            let head = [(look, mark), (Look::Plain, " "), (Look::Plain, name.as_str())];
            let body = if check.is_made { Look::Plain } else { Look::Faint };
            self.canvas.wrapped(&head, body, text);
        }
    }

    fn findings(&mut self, findings: &[&Finding]) {
        let of_level = |level| findings.iter().filter(move |finding| finding.level == level);
        if of_level(Level::Problem).next().is_some() {
            self.heading(&text!("Problems", "问题"));
        }
        let problems: Vec<&&Finding> = of_level(Level::Problem).collect();
        for (index, finding) in problems.iter().enumerate() {
            let text = self.say(&finding.text);
            self.canvas.wrapped(&[(Look::Bad, "✗ ")], Look::Bold, &text);
            // What repairs several of them is written once.
            if problems.get(index + 1).is_none_or(|next| next.fixes != finding.fixes) {
                self.fixes(finding);
            }
        }
        if of_level(Level::Note).next().is_some() {
            self.heading(&text!("Notes", "提示"));
        }
        for finding in of_level(Level::Note) {
            let text = self.say(&finding.text);
            self.canvas.wrapped(&[(Look::Faint, "· ")], Look::Plain, &text);
            self.fixes(finding);
        }
    }

    /// The repair at the likeliest hop in full; if none is likely, a line for each.
    fn fixes(&mut self, finding: &Finding) {
        let is_guess = finding.fixes.len() > 3;
        for fix in &finding.fixes {
            let place = format!("{}: {}", fix.hop.name(), fix.place);
            if is_guess {
                let line = fix.lines.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                let name = padded(fix.hop.name(), 20);
                self.canvas.wrapped(
                    &[(Look::Plain, "    "), (Look::Faint, &name)],
                    Look::Good,
                    &line,
                );
                continue;
            }
            self.canvas.line(&[(Look::Plain, "    "), (Look::Faint, &place)]);
            for line in fix.lines.lines() {
                self.canvas.line(&[(Look::Plain, "        "), (Look::Good, line)]);
            }
            if let Some(note) = &fix.note {
                let note = self.say(note);
                self.canvas.wrapped(&[(Look::Plain, "    ")], Look::Faint, &note);
            }
        }
    }

    fn thresholds(&mut self, thresholds: &[(Threshold, Judgement)]) {
        if thresholds.is_empty() {
            return;
        }
        self.heading(&text!("Thresholds", "阈值"));
        for (threshold, judgement) in thresholds {
            let (mark, look, text) = match judgement {
                Judgement::Kept => ("✓ ", Look::Good, threshold.written().to_owned()),
                Judgement::Crossed(text) | Judgement::Unmeasured(text) => {
                    ("✗ ", Look::Bad, self.say(text))
                }
            };
            self.canvas.wrapped(&[(look, mark)], Look::Plain, &text);
        }
    }

    fn end(&mut self, report: &Report) {
        let (stalls, longest) = (report.stalls.0, milliseconds(report.stalls.1));
        self.canvas.blank();
        if stalls > 0 {
            let line = self.say(&text!(
                "Stalls of this machine while it measured: {stalls}, the longest {longest}; gaps and delays in them are left out.",
                "测量用的机器卡顿了 {stalls} 次，最长 {longest}；受影响的间隔和延迟没有计入。"
            ));
            self.canvas.wrapped(&[], Look::Faint, &line);
        }
        let seconds = format!("{:.1}", report.took.as_secs_f64());
        let line = if report.is_clean() {
            text!("Nothing holds this stream up. ({seconds} s)", "没有发现问题。（{seconds} 秒）")
        } else {
            text!("It took {seconds} s.", "用时 {seconds} 秒。")
        };
        let line = self.say(&line);
        self.canvas.line(&[(Look::Faint, &line)]);
    }
}

fn verdict_mark(stream: &StreamReport) -> (&'static str, Look) {
    if stream.refused.is_some() {
        ("–", Look::Faint)
    } else if stream.verdict.is_problem() {
        ("✗", Look::Bad)
    } else if stream.verdict == crate::verdict::Verdict::Steady {
        ("✓", Look::Good)
    } else {
        ("?", Look::Plain)
    }
}

/// What an address is, in one line.
fn about(side: &SideReport) -> Text {
    let mut parts = vec![words::api(side.dialect)];
    if let Some(model) = &side.model {
        parts.push(text!("model {model}", "模型 {model}"));
    }
    if let Some(server) = side.main_run().and_then(|run| run.headers.get("server")) {
        parts.push(text!("server: {server}", "server: {server}"));
    }
    if let Some(coding) = side.main_run().and_then(Measured::encoding) {
        parts.push(text!("compressed: {coding}", "已压缩：{coding}"));
    }
    match (side.is_weir, side.has_source) {
        (true, true) => parts.push(text!("a Weir with a calibrated source", "Weir，带校准源")),
        (true, false) => parts.push(text!("a Weir", "Weir")),
        (false, _) => {}
    }
    let join = |texts: Vec<&str>, comma: &str| texts.join(comma);
    Text {
        en: join(parts.iter().map(|part| part.en.as_str()).collect(), ", "),
        zh: join(parts.iter().map(|part| part.zh.as_str()).collect(), "，"),
    }
}

fn quantiles(summary: &Summary) -> Text {
    let named =
        [("p50", summary.p50), ("p90", summary.p90), ("p99", summary.p99), ("max", summary.max)];
    let list: Vec<String> = named
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", milliseconds(value?))))
        .collect();
    let (list, samples, excluded) = (list.join("  "), summary.samples, summary.excluded);
    if excluded > 0 {
        text!(
            "{list}  ({samples} samples, {excluded} left out)",
            "{list}（{samples} 个样本，剔除 {excluded} 个）"
        )
    } else {
        text!("{list}  ({samples} samples)", "{list}（{samples} 个样本）")
    }
}

#[cfg(test)]
mod tests;
