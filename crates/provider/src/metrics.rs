//! Metrics of upstreams and keys. A key is identified by its label, so the settings bound the cardinality.

use engine::metrics::{Exposition, Kind};
use engine::upstreams::{Circuit, State};

/// Writes the metrics of every upstream.
pub(crate) fn write(states: &[State], text: &mut Exposition) {
    let circuits: Vec<_> = states.iter().map(|state| ([("upstream", &*state.upstream)], circuit(state.circuit))).collect();
    let help = "Whether an upstream is asked: 1 it is, 0.5 once to see, 0 it is left alone.";
    let samples = circuits.iter().map(|(labels, value)| (&labels[..], value));
    text.numbers("weir_upstream_up", help, Kind::Gauge, samples);

    let waiting: Vec<_> = states.iter().map(|state| ([("upstream", &*state.upstream)], state.waiting)).collect();
    let samples = waiting.iter().map(|(labels, value)| (&labels[..], value));
    text.numbers("weir_upstream_waiting", "Answers that wait until a key is free.", Kind::Gauge, samples);

    let keys = || states.iter().flat_map(|state| state.keys.iter().map(move |key| (state, key)));
    let running: Vec<_> = keys().map(|(state, key)| ([("upstream", &*state.upstream), ("key", &*key.label)], key.running)).collect();
    let samples = running.iter().map(|(labels, value)| (&labels[..], value));
    text.numbers("weir_upstream_key_running", "Answers that run on a key.", Kind::Gauge, samples);

    let healths: Vec<_> =
        keys().map(|(state, key)| [("upstream", &*state.upstream), ("key", &*key.label), ("state", key.health.said().0)]).collect();
    let samples = healths.iter().map(|labels| (&labels[..], 1));
    text.numbers("weir_upstream_key_state", "How a key is; always 1, and its label says it.", Kind::Gauge, samples);
}

fn circuit(circuit: Circuit) -> f64 {
    match circuit {
        Circuit::Closed => 1.0,
        Circuit::HalfOpen => 0.5,
        Circuit::Open(_) => 0.0,
    }
}
