//! Prometheus' text exposition format, version 0.0.4, and everything an engine measures in it.
//!
//! Only this file depends on the format: instruments and traits provide numbers.

use std::fmt::{Display, Write};

use crate::engine::Engine;
use crate::instruments::counter::{Counter, Gauge};
use crate::instruments::family::MetricFamily;
use crate::instruments::histogram::{Histogram, LocalHistogram};
use crate::response::census::EngineStats;
use crate::response::metrics::EngineMetrics;
use crate::shares::CallerUsage;
use crate::trace::SpanCounts;
use crate::upstreams::{Circuit, UpstreamState};

/// The text while it is written. Each metric is written once, with all its series.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only increases; its name ends in `_total`.
    Counter,
    /// May increase and decrease.
    Gauge,
    /// A distribution.
    Histogram,
}

impl MetricKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Label names and values.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Its media type.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// An empty text.
    pub fn new() -> Self {
        Self::default()
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.numbers(name, help, MetricKind::Counter, [(&[] as Labels<'_>, counter.get())]);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.numbers(name, help, MetricKind::Gauge, [(&[] as Labels<'_>, value)]);
    }

    /// Numbers that are read elsewhere, each with its labels.
    pub fn numbers<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricKind,
        values: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        self.head(name, help, kind);
        for (labels, value) in values {
            self.sample(name, labels, None, value);
        }
    }

    /// Counters by label.
    pub fn counters(&mut self, name: &str, help: &str, family: &MetricFamily<Counter>) {
        self.family(name, help, MetricKind::Counter, family, |text, labels, counter| {
            text.sample(name, labels, None, counter.get());
        });
    }

    /// Gauges by label.
    pub fn gauges(&mut self, name: &str, help: &str, family: &MetricFamily<Gauge>) {
        self.family(name, help, MetricKind::Gauge, family, |text, labels, gauge| {
            text.sample(name, labels, None, gauge.get());
        });
    }

    /// A histogram without labels.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, MetricKind::Histogram);
        self.tally(name, &[], &histogram.get());
    }

    /// Histograms by label.
    pub fn histograms(&mut self, name: &str, help: &str, family: &MetricFamily<Histogram>) {
        self.family(name, help, MetricKind::Histogram, family, |text, labels, histogram| {
            text.tally(name, labels, &histogram.get());
        });
    }

    fn family<T>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricKind,
        family: &MetricFamily<T>,
        write: impl Fn(&mut Self, Labels<'_>, &T),
    ) {
        self.head(name, help, kind);
        for (values, one) in family.all() {
            let labels: Vec<(&str, &str)> =
                family.labels.iter().copied().zip(values.iter().map(|value| &**value)).collect();
            write(self, &labels, &one);
        }
    }

    fn tally(&mut self, name: &str, labels: Labels<'_>, tally: &LocalHistogram) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in tally.cumulative() {
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            self.sample(&bucket, labels, Some(&bound), count);
        }
        self.sample(&format!("{name}_sum"), labels, None, tally.sum());
        self.sample(&format!("{name}_count"), labels, None, tally.count());
    }

    fn head(&mut self, name: &str, help: &str, kind: MetricKind) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.0.push_str(name);
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (label, value) in
            labels.iter().copied().chain(bound).filter(|(_, value)| !value.is_empty())
        {
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
        // Writing to a `String` cannot fail.
        let _written = self.0.write_fmt(arguments);
    }
}

impl Engine {
    /// Writes all metrics of the engine, its models and its traces.
    pub fn write_metrics(&self, text: &mut Exposition) {
        let shared = &self.shared;
        write_engine(&shared.metrics, self.census(), text);
        write_callers(&shared.ledger.usage(), shared.ledger.bytes(), text);
        write_upstreams(&shared.models.upstreams(), text);
        if let Some(sink) = shared.traces.get() {
            write_spans(sink.counts(), text);
        }
    }
}

fn write_engine(metrics: &EngineMetrics, census: EngineStats, text: &mut Exposition) {
    text.histograms(
        "gen_ai_client_token_usage",
        "Tokens of each model call, as the upstream reports or Weir counts them.",
        &metrics.client_tokens,
    );
    let help = "Time from calling the model to the end of its stream.";
    text.histograms("gen_ai_client_operation_duration_seconds", help, &metrics.client_duration);
    let help = "Time from calling the model to its first output.";
    text.histograms(
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        help,
        &metrics.client_first_chunk,
    );
    let help = "Time from each output of the model to the next.";
    text.histograms(
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        help,
        &metrics.client_per_chunk,
    );
    let help = "Time from accepting a request to the end of its response.";
    text.histograms("gen_ai_server_request_duration_seconds", help, &metrics.server_duration);
    let help = "Time from accepting a request to its first token, if the response did not fail.";
    text.histograms("gen_ai_server_time_to_first_token_seconds", help, &metrics.server_first_token);
    let help = "Mean time per token after the first, if the response did not fail.";
    text.histograms("gen_ai_server_time_per_output_token_seconds", help, &metrics.server_per_token);

    text.counters("weir_answers_total", "Responses that have ended, by outcome.", &metrics.answers);
    text.gauge("weir_answers_running", "Responses in progress.", census.running);
    let help = "Pass-through calls (embeddings, text completions, moderations) that have ended, by outcome.";
    text.counters("weir_passthrough_calls_total", help, &metrics.passed);
    text.gauge(
        "weir_passthrough_calls_running",
        "Pass-through calls in progress.",
        metrics.passing.get(),
    );
    text.counters(
        "weir_cancels_total",
        "Responses that were cancelled, by reason.",
        &metrics.cancels,
    );
    let help = "Model calls that failed, by upstream and kind.";
    text.counters("weir_upstream_errors_total", help, &metrics.upstream_errors);
    let help = "Calls that were retried, by the upstream that failed and the reason.";
    text.counters("weir_upstream_retries_total", help, &metrics.retries);
    text.gauge("weir_readers", "Readers of responses.", metrics.readers.get());
    text.histogram(
        "weir_answer_readers",
        "The largest number of readers that a response had at once while it ran.",
        &metrics.peak_readers,
    );
    text.gauge("weir_log_bytes", "Bytes of all logs.", census.log_bytes);
    text.gauge("weir_item_bytes", "Bytes of all items.", census.item_bytes);
    text.gauge("weir_tasks", "Tasks that run.", census.tasks);
}

/// What each caller uses.
fn write_callers(usage: &[CallerUsage], bytes: u64, text: &mut Exposition) {
    let labels: Vec<[(&str, &str); 1]> =
        usage.iter().map(|usage| [("key", usage.owner.as_str())]).collect();
    let mut gauges = |name: &str, help: &str, value: fn(&CallerUsage) -> u64| {
        text.numbers(
            name,
            help,
            MetricKind::Gauge,
            labels.iter().zip(usage).map(|(labels, usage)| (&labels[..], value(usage))),
        );
    };
    gauges(
        "weir_key_memory_bytes",
        "Bytes of requests, conversations and responses in memory, by key.",
        |usage| usage.bytes,
    );
    gauges("weir_key_answers_running", "Responses and calls in progress, by key.", |usage| {
        usage.running as u64
    });
    gauges("weir_key_connections", "Connections that a key uses.", |usage| {
        usage.connections as u64
    });
    text.gauge(
        "weir_memory_bytes",
        "Bytes of requests, conversations and responses in memory.",
        bytes,
    );
}

/// The state of the upstreams and their keys. A key appears by its label, which the configuration
/// bounds.
fn write_upstreams(states: &[UpstreamState], text: &mut Exposition) {
    let circuits: Vec<_> = states
        .iter()
        .map(|state| ([("upstream", &*state.upstream)], circuit(state.circuit)))
        .collect();
    let help = "Circuit breaker of an upstream: 1 closed, 0.5 half open, 0 open.";
    let samples = circuits.iter().map(|(labels, value)| (&labels[..], value));
    text.numbers("weir_upstream_up", help, MetricKind::Gauge, samples);

    let waiting: Vec<_> =
        states.iter().map(|state| ([("upstream", &*state.upstream)], state.waiting)).collect();
    let samples = waiting.iter().map(|(labels, value)| (&labels[..], value));
    text.numbers(
        "weir_upstream_waiting",
        "Responses that are queued for a free key.",
        MetricKind::Gauge,
        samples,
    );

    let keys = || states.iter().flat_map(|state| state.keys.iter().map(move |key| (state, key)));
    let running: Vec<_> = keys()
        .map(|(state, key)| ([("upstream", &*state.upstream), ("key", &*key.label)], key.running))
        .collect();
    let samples = running.iter().map(|(labels, value)| (&labels[..], value));
    text.numbers(
        "weir_upstream_key_running",
        "Responses in progress that use a key.",
        MetricKind::Gauge,
        samples,
    );

    let healths: Vec<_> = keys()
        .map(|(state, key)| {
            [("upstream", &*state.upstream), ("key", &*key.label), ("state", key.health.said().0)]
        })
        .collect();
    let samples = healths.iter().map(|labels| (&labels[..], 1));
    text.numbers(
        "weir_upstream_key_state",
        "State of a key, as a label; always 1.",
        MetricKind::Gauge,
        samples,
    );
}

fn circuit(circuit: Circuit) -> f64 {
    match circuit {
        Circuit::Closed => 1.0,
        Circuit::HalfOpen => 0.5,
        Circuit::Open(_) => 0.0,
    }
}

fn write_spans(counts: SpanCounts, text: &mut Exposition) {
    let outcomes: [(&[_], u64); 2] = [
        (&[("outcome", "exported")], counts.exported),
        (&[("outcome", "dropped")], counts.dropped),
    ];
    text.numbers(
        "weir_trace_spans_total",
        "Spans of traces, by outcome.",
        MetricKind::Counter,
        outcomes,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_gauges_and_histograms() {
        let mut text = Exposition::new();
        let counters = MetricFamily::new(&["model", "reason"], Counter::default);
        counters.of(&["a\\b\"c\nd", ""]).add(2);
        text.counters("weir_x_total", "What\nit is.", &counters);
        text.gauge("weir_y", "How many.", 1.5);
        let histograms = MetricFamily::new(&["model"], || Histogram::new(&[0.01, 1.0]));
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
