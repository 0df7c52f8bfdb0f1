//! `GET /v1/lens/connections.pcapng?ids=…`: the packets of some connections as a capture file, their
//! headers alone: the lens shows no contents.

use std::collections::BTreeSet;

use axum::extract::{Query as QueryOf, State};
use axum::response::{IntoResponse, Response};
use engine::keys::Caller;
use http::{HeaderValue, header};
use lens::capture::captured::PacketDirection;
use lens::flow::connection::TcpConnection;
use lens::flow::side::Side;
use lens::headers::headers_of;
use lens::packet::link::LinkType;
use lens::pcapng::{PacketBlock, PcapngWriter, SectionInfo};
use protocol::fault::{Fault, FaultKind};

use super::{check_own, find, look, uncaptured, unknown, unreadable};
use crate::app::App;
use crate::capture::{CaptureExtent, CaptureView, Packets};
use crate::error::FaultResponse;
use crate::http::auth::Authenticated;
use crate::listen::ConnectionView;
use crate::query::Query;

/// More than the lanes of a few runs have.
const MOST: usize = 64;

const COMMENT: &str = "Headers only: the lens keeps no contents. Rebuilt from its record, so checksums are zero and there is no link layer.";

/// A connection and what its packets cover, with the file of all of them.
type Written = (Vec<(u64, CaptureExtent)>, Vec<u8>);

/// The capture file of the connections that `ids` names.
pub(crate) async fn capture_file(
    State(app): State<App>,
    QueryOf(query): QueryOf<Query>,
    Authenticated { caller, .. }: Authenticated,
) -> Result<Response, FaultResponse> {
    let views = wanted(&app, &caller, &query)?;
    let look = look(&app, &caller).await;
    let CaptureView::On(captured) = look else {
        let message = format!("No packets were captured: {}.", look.state().1);
        return Err(Fault::new(FaultKind::NotFound, "not_captured", message).into());
    };
    let write = move |captured: &Packets| write(captured, &views);
    let written = captured.read(&app.tasks, write).await.flatten();
    let (extents, file) = written.ok_or_else(unreadable)?;
    if extents.is_empty() {
        return Err(uncaptured("No packets of these connections were captured.").into());
    }
    // Another caller's request may have come on one of them meanwhile, and its packets into the
    // file.
    for (id, extent) in extents {
        let now = find(&app, &caller, id).ok_or_else(|| unknown(&id.to_string()))?;
        check_own(&caller, &now)?;
        if !caller.admin && !extent.is_within(&now) {
            let message = "The packets of a connection cannot be shown: they were not captured from its start or are still arriving, so they may belong to others.";
            return Err(uncaptured(message).into());
        }
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-pcapng")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"weir-lab.pcapng\""),
        ),
    ];
    Ok((headers, file).into_response())
}

fn wanted(app: &App, caller: &Caller, query: &Query) -> Result<Vec<ConnectionView>, Fault> {
    let text = query.get("ids").map_or("", String::as_str);
    let ids: BTreeSet<&str> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if ids.is_empty() || ids.len() > MOST {
        let message = format!(
            "Invalid value for 'ids': expected the numbers of 1 to {MOST} connections, separated by commas."
        );
        return Err(Fault::invalid("invalid_value", "ids", message));
    }
    let view = |id: &&str| -> Result<ConnectionView, Fault> {
        let view = id.parse().ok().and_then(|number| find(app, caller, number));
        let view = view.ok_or_else(|| unknown(id))?;
        check_own(caller, &view)?;
        Ok(view)
    };
    ids.iter().map(view).collect()
}

/// `None` if writing to memory failed.
fn write(captured: &Packets, views: &[ConnectionView]) -> Option<Written> {
    // Copied under the lock, and written outside of it.
    let connections: Vec<(&ConnectionView, TcpConnection)> = captured.take_in(|sight| {
        views.iter().filter_map(|view| Some((view, sight.of(view)?.clone()))).collect()
    });
    let section = SectionInfo { application: "Weir", comment: COMMENT, ..SectionInfo::default() };
    let mut file = PcapngWriter::new(Vec::new(), &section).ok()?;
    let interface = file.interface(LinkType::Raw, "lens", 0).ok()?;
    let mut segments: Vec<(&ConnectionView, &TcpConnection, usize)> = connections
        .iter()
        .flat_map(|(view, connection)| {
            (0..connection.segments().len()).map(move |index| (*view, connection, index))
        })
        .collect();
    segments.sort_by_key(|(_, connection, index)| connection.segments()[*index].at);
    for (view, connection, index) in segments {
        let segment = &connection.segments()[index];
        let (bytes, original_length) = headers_of(connection, segment);
        let title = (index == 0).then(|| title(view));
        let packet = PacketBlock {
            at: segment.at,
            direction: match segment.from {
                Side::Client => PacketDirection::Incoming,
                Side::Server => PacketDirection::Outgoing,
            },
            original_length,
            bytes: &bytes,
            comments: &title.as_deref().into_iter().collect::<Vec<_>>(),
        };
        file.packet(interface, &packet).ok()?;
    }
    let extents = connections
        .iter()
        .map(|(view, connection)| (view.id, CaptureExtent::of(connection)))
        .collect();
    Some((extents, file.finish().ok()?))
}

/// The comment on a connection's first packet: its number, and the lanes of its requests.
fn title(view: &ConnectionView) -> String {
    let lanes: BTreeSet<&str> =
        view.record.requests.iter().filter_map(|request| request.lane.as_deref()).collect();
    let lanes = lanes.into_iter().collect::<Vec<_>>().join(", ");
    format!("connection {}: {lanes}", view.id)
}
