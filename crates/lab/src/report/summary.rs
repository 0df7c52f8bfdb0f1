//! The summary: the transports side by side, a lane for each, all bytes on one scale.

use super::row::{Figure, bytes_per_token, cut, mid_stream};
use crate::bilingual::Bilingual;
use crate::numbers::Measured;
use crate::plan::{Cell, Dialect, Transport, Version};

/// The columns after the name.
pub(super) const COLUMNS: [(&str, &str); 6] = [
    ("first text ms", "首段文本毫秒"),
    ("added ms: median/slowest", "附加延迟毫秒：中位数/最慢"),
    ("bytes a token", "每 token 字节"),
    ("connections", "连接"),
    ("after a cut", "切断之后"),
    ("to send while it streams", "流进行中再发送"),
];

/// A lane.
pub(super) struct Lane {
    pub(super) cell: Cell,
    /// Bytes to the client for each token, and their share of the most of any lane.
    pub(super) bytes: Option<(f64, f64)>,
    /// The columns but for the bytes, which are drawn too.
    pub(super) first_text: Figure,
    pub(super) added: Figure,
    pub(super) connections: Bilingual,
    pub(super) cut: Bilingual,
    pub(super) mid_stream: Bilingual,
}

/// A lane for each API and transport: over HTTP/1.1 without TLS if it was measured.
pub(super) fn lanes(cells: &[Measured]) -> Vec<Lane> {
    let mut chosen = Vec::new();
    for dialect in Dialect::ALL {
        for transport in Transport::ALL {
            let of_lane = cells.iter().filter_map(|measured| {
                let cell = measured.cell.filter(|_| measured.failed.is_none())?;
                (cell.dialect == dialect && cell.transport == transport).then_some((measured, cell))
            });
            chosen.extend(of_lane.min_by_key(|(_, cell)| rank(*cell)));
        }
    }
    let most =
        chosen.iter().filter_map(|(measured, _)| bytes_per_token(measured)).fold(1.0, f64::max);
    chosen
        .into_iter()
        .map(|(measured, cell)| Lane {
            cell,
            bytes: bytes_per_token(measured).map(|bytes| (bytes, bytes / most)),
            first_text: Figure::median(measured.times.first_token_ms, 1),
            added: Figure::range(measured.times.added_ms),
            connections: connections(measured),
            cut: cut(measured.cut.as_ref()),
            mid_stream: mid_stream(measured.mid_stream.as_ref()),
        })
        .collect()
}

fn rank(cell: Cell) -> (bool, u8) {
    let version = match cell.version {
        Version::Http11 => 0,
        Version::Http2 => 1,
        Version::Http11Close => 2,
        Version::Http10 => 3,
    };
    (cell.tls, version)
}

fn connections(measured: &Measured) -> Bilingual {
    let Measured { connections, answers, .. } = measured;
    let plural = if *answers == 1 { "" } else { "s" };
    Bilingual::new(
        format!("{connections} for {answers} answer{plural}"),
        format!("{answers} 个回答 {connections} 个"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cells;

    #[test]
    fn there_is_one_lane_for_each_transport_and_one_scale_of_bytes() {
        let all = cells(&Dialect::ALL, &Transport::ALL, &Version::ALL, &[true, false]);
        let measured: Vec<Measured> = all
            .iter()
            .map(|cell| {
                let mut measured =
                    Measured { cell: Some(*cell), tokens: Some(10), ..Measured::default() };
                measured.bytes.down.body =
                    if cell.dialect == Dialect::Classic { 500 } else { 5000 };
                measured
            })
            .collect();
        let lanes = lanes(&measured);
        let named: Vec<String> = lanes.iter().map(|lane| lane.cell.to_string()).collect();
        assert_eq!(lanes.len(), 5 + 3 + 2);
        assert_eq!((&*named[3], &*named[9]), ("responses/sse/h1.1", "classic/websocket/h1.1"));
        assert_eq!(lanes[0].bytes, Some((500.0, 1.0)));
        assert_eq!(lanes[9].bytes, Some((50.0, 0.1)));
        let only: Vec<Measured> = measured
            .into_iter()
            .filter(|measured| measured.cell.is_some_and(|cell| cell.version == Version::Http10))
            .collect();
        assert_eq!(super::lanes(&only)[0].cell.to_string(), "responses/json/h1.0");
    }
}
