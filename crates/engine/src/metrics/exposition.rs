//! The text that Prometheus reads: its text exposition format, version 0.0.4.

use std::fmt::{Display, Write};

use super::instruments::{Counter, Family, Gauge, Histogram, Tally};

/// The text while it is written. A metric is written whole, once.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Labels as they are written: names and values.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Its media type.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.numbers(name, help, Kind::Counter, [(&[] as Labels<'_>, counter.get())]);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.numbers(name, help, Kind::Gauge, [(&[] as Labels<'_>, value)]);
    }

    /// Numbers that are read where they are, each with its labels.
    pub fn numbers<'a, V: Display>(&mut self, name: &str, help: &str, kind: Kind, values: impl IntoIterator<Item = (Labels<'a>, V)>) {
        self.head(name, help, kind);
        for (labels, value) in values {
            self.sample(name, labels, None, value);
        }
    }

    /// Counters by label.
    pub fn counters(&mut self, name: &str, help: &str, family: &Family<Counter>) {
        self.family(name, help, Kind::Counter, family, |text, labels, counter| text.sample(name, labels, None, counter.get()));
    }

    /// Gauges by label.
    pub fn gauges(&mut self, name: &str, help: &str, family: &Family<Gauge>) {
        self.family(name, help, Kind::Gauge, family, |text, labels, gauge| text.sample(name, labels, None, gauge.get()));
    }

    /// A histogram without labels.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, Kind::Histogram);
        self.tally(name, &[], &histogram.get());
    }

    /// Histograms by label.
    pub fn histograms(&mut self, name: &str, help: &str, family: &Family<Histogram>) {
        self.family(name, help, Kind::Histogram, family, |text, labels, histogram| text.tally(name, labels, &histogram.get()));
    }

    fn family<T>(&mut self, name: &str, help: &str, kind: Kind, family: &Family<T>, write: impl Fn(&mut Self, Labels<'_>, &T)) {
        self.head(name, help, kind);
        for (values, one) in family.all() {
            let labels: Vec<(&str, &str)> = family.labels.iter().copied().zip(values.iter().map(|value| &**value)).collect();
            write(self, &labels, &one);
        }
    }

    fn tally(&mut self, name: &str, labels: Labels<'_>, tally: &Tally) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in tally.cumulative() {
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            self.sample(&bucket, labels, Some(&bound), count);
        }
        self.sample(&format!("{name}_sum"), labels, None, tally.sum());
        self.sample(&format!("{name}_count"), labels, None, tally.count());
    }

    fn head(&mut self, name: &str, help: &str, kind: Kind) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.0.push_str(name);
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (label, value) in labels.iter().copied().chain(bound).filter(|(_, value)| !value.is_empty()) {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            self.write(format_args!("{separator}{label}=\"{value}\""));
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        // A String takes whatever is written to it.
        let _written = self.0.write_fmt(arguments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_gauges_and_histograms() {
        let mut text = Exposition::new();
        let counters = Family::new(&["model", "reason"], Counter::default);
        counters.of(&["a\\b\"c\nd", ""]).add(2);
        text.counters("weir_x_total", "What\nit is.", &counters);
        text.gauge("weir_y", "How many.", 1.5);
        let histograms = Family::new(&["model"], || Histogram::new(&[0.01, 1.0]));
        histograms.of(&["m"]).observe(0.5);
        text.histograms("weir_z_seconds", "How long.", &histograms);
        let expected = r#"# HELP weir_x_total What\nit is.
# TYPE weir_x_total counter
weir_x_total{model="a\\b\"c\nd"} 2
# HELP weir_y How many.
# TYPE weir_y gauge
weir_y 1.5
# HELP weir_z_seconds How long.
# TYPE weir_z_seconds histogram
weir_z_seconds_bucket{model="m",le="0.01"} 0
weir_z_seconds_bucket{model="m",le="1"} 1
weir_z_seconds_bucket{model="m",le="+Inf"} 1
weir_z_seconds_sum{model="m"} 0.5
weir_z_seconds_count{model="m"} 1
"#;
        assert_eq!(text.into_text(), expected);
    }
}
