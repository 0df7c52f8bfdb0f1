//! Limits for continuous integration: `--fail-if 'gap.p99>250ms'`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::report::{Report, SideReport, StreamKind, StreamReport};
use crate::stats::Summary;
use crate::text::{Text, milliseconds, text};

/// What can be limited, for error messages and the documentation.
pub const NAMES: &[&str] = &[
    "verdict",
    "problems",
    "dns",
    "tcp",
    "tls",
    "head",
    "first_byte",
    "first_event",
    "first_text",
    "gap.p50",
    "gap.p90",
    "gap.p99",
    "gap.max",
    "delay.p50",
    "delay.p90",
    "delay.p99",
    "delay.max",
    "events_per_burst",
    "stop.silent",
];

/// A condition under which a probe fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// As it was written.
    written: String,
    name: &'static str,
    /// Which streams; all of them if absent.
    kind: Option<StreamKind>,
    comparison: Comparison,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    NotBelow,
    Below,
    NotAbove,
    Equal,
    Different,
}

#[derive(Clone, Debug, PartialEq)]
enum Limit {
    Number(f64),
    Milliseconds(f64),
    Word(String),
}

/// Whether a threshold was crossed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It was not.
    Kept,
    /// It was.
    Crossed(Text),
    /// It cannot be told, which counts as crossed: a limit that is not measured protects nobody.
    Unmeasured(Text),
}

/// A value of the report.
enum Value {
    Milliseconds(f64),
    Number(f64),
    Word(&'static str),
    /// There is none, and why.
    None(Text),
}

/// A condition that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseThresholdError(String);

impl fmt::Display for ParseThresholdError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ParseThresholdError {}

impl FromStr for Threshold {
    type Err = ParseThresholdError;

    fn from_str(written: &str) -> Result<Self, ParseThresholdError> {
        const OPERATORS: [(&str, Comparison); 6] = [
            (">=", Comparison::NotBelow),
            ("<=", Comparison::NotAbove),
            ("!=", Comparison::Different),
            ("==", Comparison::Equal),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ];
        let wrong = |what: String| ParseThresholdError(what);
        let found = OPERATORS
            .iter()
            .find_map(|(sign, comparison)| Some((written.split_once(sign)?, *comparison)));
        let Some(((name, limit), comparison)) = found else {
            return Err(wrong(format!(
                "expected a name, one of > >= < <= == != and a value, such as 'gap.p99>250ms'; got {written:?}"
            )));
        };
        let (name, limit) = (name.trim(), limit.trim());
        let (kind, name) = match name.split_once('.') {
            Some(("source", rest)) => (Some(StreamKind::Source), rest),
            Some(("endpoint", rest)) => (Some(StreamKind::Endpoint), rest),
            Some(_) | None => (None, name),
        };
        let Some(name) = NAMES.iter().find(|known| **known == name) else {
            return Err(wrong(format!("{name:?} is not measured; there is {}", NAMES.join(", "))));
        };
        let limit = read_limit(name, limit)
            .ok_or_else(|| wrong(format!("{limit:?} is no value of {name}")))?;
        let is_word = matches!(limit, Limit::Word(_));
        if is_word && !matches!(comparison, Comparison::Equal | Comparison::Different) {
            return Err(wrong(format!("{name} is a word: compare it with == or !=")));
        }
        Ok(Self { written: written.to_owned(), name, kind, comparison, limit })
    }
}

fn read_limit(name: &str, text: &str) -> Option<Limit> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
    match name {
        "verdict" => {
            let is_word = text.chars().all(|next| next.is_ascii_lowercase() || next == '_');
            (is_word && !text.is_empty()).then(|| Limit::Word(text.to_owned()))
        }
        "problems" | "events_per_burst" => number(text).map(Limit::Number),
        _ => {
            let milliseconds = if let Some(text) = text.strip_suffix("ms") {
                number(text)?
            } else if let Some(text) = text.strip_suffix("us") {
                number(text)? / 1000.0
            } else {
                number(text.strip_suffix('s')?)? * 1000.0
            };
            Some(Limit::Milliseconds(milliseconds))
        }
    }
}

impl Threshold {
    /// As it was written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether the report crosses it.
    pub fn judge(&self, report: &Report) -> Judgement {
        let (written, value) = (&self.written, self.value(report));
        let (found, limit) = match (&value, &self.limit) {
            (Value::None(why), _) => return Judgement::Unmeasured(self.unmeasured(why)),
            (Value::Word(found), Limit::Word(limit)) => {
                let is_same = found == limit;
                let is_crossed = is_same == (self.comparison == Comparison::Equal);
                return if is_crossed {
                    Judgement::Crossed(text!(
                        "{written}: it is {found}",
                        "{written}：实际为 {found}"
                    ))
                } else {
                    Judgement::Kept
                };
            }
            (Value::Milliseconds(found), Limit::Milliseconds(limit))
            | (Value::Number(found), Limit::Number(limit)) => (*found, *limit),
            (Value::Word(_) | Value::Number(_) | Value::Milliseconds(_), _) => {
                let why = text!("another kind of value", "值的类型不同");
                return Judgement::Unmeasured(self.unmeasured(&why));
            }
        };
        if !self.comparison.holds(found, limit) {
            return Judgement::Kept;
        }
        let shown = match value {
            Value::Milliseconds(found) => milliseconds(Duration::from_secs_f64(found / 1000.0)),
            Value::Number(_) | Value::Word(_) | Value::None(_) => format!("{found:.1}"),
        };
        Judgement::Crossed(text!("{written}: it is {shown}", "{written}：实际为 {shown}"))
    }

    fn unmeasured(&self, why: &Text) -> Text {
        let written = &self.written;
        Text {
            en: format!("{written}: cannot be told: {}", why.en),
            zh: format!("{written}：无法判定：{}", why.zh),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of findings are small")]
    fn value(&self, report: &Report) -> Value {
        let Some(edge) = report.sides.first() else {
            return Value::None(text!("nothing was measured", "没有测量结果"));
        };
        match self.name {
            "verdict" => Value::Word(edge.verdict().name()),
            "problems" => {
                let problems = report
                    .findings()
                    .iter()
                    .filter(|finding| finding.level == crate::finding::Level::Problem)
                    .count();
                Value::Number(problems as f64)
            }
            "events_per_burst" => self.largest(edge, |stream| {
                let (events, bursts) = stream.events_and_bursts();
                (bursts > 0).then(|| events as f64 / bursts as f64)
            }),
            "stop.silent" => {
                edge.checks.iter().find_map(|check| check.facts["silent_ms"].as_f64()).map_or_else(
                    || Value::None(text!("no stop was made", "没有进行停止测试")),
                    Value::Milliseconds,
                )
            }
            name => match name.split_once('.') {
                Some(("gap", quantile)) => {
                    self.quantile(edge, quantile, |stream| Some(stream.gaps()))
                }
                Some((_, quantile)) => self.quantile(edge, quantile, StreamReport::delays),
                None => phase(edge, name),
            },
        }
    }

    /// The largest value of the streams that count.
    fn largest(&self, side: &SideReport, value: impl Fn(&StreamReport) -> Option<f64>) -> Value {
        let largest = self.streams(side).filter_map(value).max_by(f64::total_cmp);
        largest.map_or_else(
            || Value::None(text!("there is no such stream", "没有这样的流")),
            Value::Number,
        )
    }

    fn quantile(
        &self,
        side: &SideReport,
        name: &str,
        summary: impl Fn(&StreamReport) -> Option<Summary>,
    ) -> Value {
        let summaries: Vec<Summary> = self.streams(side).filter_map(summary).collect();
        let value = |summary: &Summary| match name {
            "p50" => summary.p50,
            "p90" => summary.p90,
            "p99" => summary.p99,
            _ => summary.max,
        };
        if let Some(largest) = summaries.iter().filter_map(value).max() {
            return Value::Milliseconds(largest.as_secs_f64() * 1000.0);
        }
        let samples = summaries.iter().map(|summary| summary.samples).max().unwrap_or(0);
        let fewest = Summary::fewest(name);
        Value::None(text!(
            "{samples} samples, and {name} needs {fewest}; ask for a longer response, or more often (--runs)",
            "只有 {samples} 个样本，{name} 需要 {fewest} 个；请换更长的回答，或多测几次（--runs）"
        ))
    }

    fn streams<'a>(&self, side: &'a SideReport) -> impl Iterator<Item = &'a StreamReport> {
        let kind = self.kind;
        side.streams.iter().filter(move |stream| {
            !stream.runs.is_empty() && kind.is_none_or(|kind| kind == stream.kind)
        })
    }
}

impl Comparison {
    fn holds(self, found: f64, limit: f64) -> bool {
        let order = found.total_cmp(&limit);
        match self {
            Self::Above => order.is_gt(),
            Self::NotBelow => order.is_ge(),
            Self::Below => order.is_lt(),
            Self::NotAbove => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::Different => order.is_ne(),
        }
    }
}

fn phase(side: &SideReport, name: &str) -> Value {
    let duration = side.main_run().and_then(|run| match name {
        "dns" => run.connecting.dns,
        "tcp" => Some(run.connecting.tcp),
        "tls" => run.connecting.tls.as_ref().map(|tls| tls.duration),
        "head" => Some(run.phases.head),
        "first_byte" => run.phases.first_byte,
        "first_event" => run.phases.first_event,
        _ => run.phases.first_text,
    });
    match duration {
        Some(duration) => Value::Milliseconds(duration.as_secs_f64() * 1000.0),
        None => Value::None(text!("there was no {name}", "没有 {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let read = |text: &str| text.parse::<Threshold>();
        let gap = read("gap.p99 > 250ms").unwrap();
        assert_eq!((gap.name, gap.comparison), ("gap.p99", Comparison::Above));
        assert_eq!(gap.limit, Limit::Milliseconds(250.0));
        assert_eq!(read("first_text>=2s").unwrap().limit, Limit::Milliseconds(2000.0));
        assert_eq!(read("source.delay.p50>500us").unwrap().kind, Some(StreamKind::Source));
        assert_eq!(read("verdict!=steady").unwrap().limit, Limit::Word("steady".into()));
        assert_eq!(read("problems>0").unwrap().limit, Limit::Number(0.0));
        for wrong in ["gap.p99", "gap.p75>1ms", "gap.p99>250", "verdict>steady", "problems>x", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("gap>1ms").unwrap_err().to_string().contains("gap.p99"));
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        let report = Report {
            sides: Vec::new(),
            comparison: Vec::new(),
            lines: Vec::new(),
            stalls: (0, Duration::ZERO),
            took: Duration::ZERO,
        };
        let threshold: Threshold = "gap.p99>250ms".parse().unwrap();
        assert!(matches!(threshold.judge(&report), Judgement::Unmeasured(_)));
    }
}
