//! A row of the tables: one cell of the comparison.

use super::labels::COLUMNS;
use crate::bilingual::Bilingual;
use crate::numbers::{CutCost, Measured, MidStreamRequest, ratio};
use crate::spread::Spread;

/// A number of a row, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figure {
    /// The number; a dash if it was not measured.
    pub(super) text: String,
    /// The size of its sample, if it is that of a sample.
    pub(super) count: Option<String>,
}

impl Figure {
    fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), count: None }
    }

    fn dash() -> Self {
        Self::of("-")
    }

    /// The median.
    pub(super) fn median(spread: Option<Spread>, digits: usize) -> Self {
        spread.map_or_else(Self::dash, |spread| Self {
            text: format!("{:.digits$}", spread.p50),
            count: Some(spread.count.to_string()),
        })
    }

    /// Median and slowest, with the 99th percentile if the sample carries it.
    pub(super) fn range(spread: Option<Spread>) -> Self {
        spread.map_or_else(Self::dash, |Spread { count, p50, p99, max, .. }| Self {
            text: match p99 {
                Some(p99) => format!("{p50:.2}/{p99:.2}/{max:.2}"),
                None => format!("{p50:.2}/{max:.2}"),
            },
            count: Some(count.to_string()),
        })
    }

    fn number(value: Option<f64>, digits: usize) -> Self {
        value.map_or_else(Self::dash, |value| Self::of(format!("{value:.digits$}")))
    }

    /// With the size of the sample in parentheses.
    pub(super) fn plain(&self) -> String {
        match &self.count {
            Some(count) => format!("{} ({count})", self.text),
            None => self.text.clone(),
        }
    }
}

/// The numbers of a row, in the order of the columns.
pub(super) fn row(measured: &Measured) -> [Figure; COLUMNS.len()] {
    let wire = measured.wire.as_ref();
    let times = &measured.times;
    let per_token = |count: Option<u64>| {
        count.zip(measured.tokens).and_then(|(count, tokens)| ratio(count, tokens))
    };
    [
        Figure::of(measured.connections.to_string()),
        Figure::of(measured.requests.to_string()),
        wire.map_or_else(Figure::dash, |wire| {
            // Retransmissions are included in the counts.
            let again = if wire.retransmissions > 0 {
                format!(" (+{})", wire.retransmissions)
            } else {
                String::new()
            };
            Figure::of(format!("{}/{}/{}{again}", wire.syn, wire.fin, wire.rst))
        }),
        Figure::median(wire.and_then(|wire| wire.handshake_ms).or(times.connect_ms), 2),
        tls(times.tls_full_ms, times.tls_resumed_ms),
        Figure::median(times.first_token_ms, 1),
        Figure::range(times.gap_ms),
        Figure::range(times.added_ms),
        Figure::median(measured.event_bytes, 0),
        Figure::number(bytes_per_token(measured), 0),
        Figure::number(per_token(wire.map(|wire| wire.bytes_up + wire.bytes_down)), 0),
        Figure::number(per_token(wire.map(|wire| wire.segments_up + wire.segments_down)), 2),
        Figure::median(measured.processor_us_per_token, 0),
    ]
}

/// All bytes to the client above TCP, over tokens.
pub(super) fn bytes_per_token(measured: &Measured) -> Option<f64> {
    ratio(measured.bytes.down.total(), measured.tokens?)
}

fn tls(full: Option<Spread>, resumed: Option<Spread>) -> Figure {
    if full.is_none() && resumed.is_none() {
        return Figure::dash();
    }
    let [full, resumed] = [full, resumed].map(|spread| Figure::median(spread, 2));
    let count = |figure: &Figure| figure.count.clone().unwrap_or_else(|| "0".to_owned());
    Figure {
        text: format!("{}/{}", full.text, resumed.text),
        count: Some(format!("{}/{}", count(&full), count(&resumed))),
    }
}

/// What is left after a cut.
pub(super) fn cut(cut: Option<&CutCost>) -> Bilingual {
    let Some(cut) = cut else { return Bilingual::new("-", "-") };
    let number = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
    let (missing, whole) = (number(cut.missing), number(cut.pieces_whole));
    match (cut.resumed_by, cut.twice) {
        (Some(_), 0) => {
            Bilingual::new(format!("goes on, {missing} lost"), format!("续读，丢失 {missing}"))
        }
        (Some(_), twice) => Bilingual::new(
            format!("goes on, {missing} lost, {twice} twice"),
            format!("续读，丢失 {missing}，重复 {twice}"),
        ),
        (None, _) => Bilingual::new(
            format!("{missing} of {whole} lost"),
            format!("{whole} 个丢失 {missing}"),
        ),
    }
}

/// What a message of the client needs while an answer streams.
pub(super) fn mid_stream(request: Option<&MidStreamRequest>) -> Bilingual {
    let Some(request) = request else { return Bilingual::new("-", "-") };
    let late =
        if request.is_before_end { ("", "") } else { (", after the end", "，流结束之后") };
    let text = match request.new_connections {
        0 => ("same connection".to_owned(), "同一连接".to_owned()),
        1 => ("1 new connection".to_owned(), "新建 1 个连接".to_owned()),
        new => (format!("{new} new connections"), format!("新建 {new} 个连接")),
    };
    Bilingual::new(text.0 + late.0, text.1 + late.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_its_count_and_no_quantile_that_its_sample_does_not_carry() {
        let of = |count: u32| Spread::of((1..=count).map(f64::from).collect());
        assert_eq!(Figure::range(of(36)).plain(), "18.00/36.00 (36)");
        assert_eq!(Figure::range(of(200)).plain(), "100.00/198.00/200.00 (200)");
        assert_eq!(Figure::median(of(3), 1).plain(), "2.0 (3)");
        assert_eq!(tls(of(1), of(3)).plain(), "1.00/2.00 (1/3)");
        assert_eq!(tls(None, None).plain(), "-");
    }
}
