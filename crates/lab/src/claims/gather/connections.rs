//! How connections start and end: by either side, by a reset, and half-closed.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use lens::flow::FlowTable;
use lens::flow::connection::TcpConnection;
use lens::flow::side::Side;
use lens::packet::tcp::TcpFlags;

use super::experiment::Experiment;
use crate::captured::{count, ending, side_name};
use crate::claims::evidence::{Endings, Fin, HalfClose, Handshake};
use crate::conversation::{Progress, Streaming, Turn};
use crate::plan::{Dialect, Version};
use client::soon;
use client::{BodyEnd, Request};

/// Handshake, FIN, endings, half-close.
pub(super) type Closing = (Option<Handshake>, Option<Fin>, Option<Endings>, Option<HalfClose>);

/// Ends connections in every way, and reads their packets.
pub(super) async fn closing(setting: &Experiment<'_>) -> Result<Closing> {
    setting.forget_packets();
    let by_client = by_client(setting).await?;
    let mut ports = vec![
        by_client,
        by_server(setting).await?,
        by_socket(setting).await?,
        by_reset(setting).await?,
    ];
    let (half_port, is_whole) = half(setting).await?;
    ports.push(half_port);
    let all: BTreeSet<u16> = ports.into_iter().collect();
    let Some(caught) = setting.caught(&all).await else { return Ok((None, None, None, None)) };
    let flows = &caught.flows;
    let mut endings = Endings::default();
    for (_, connection) in flows.iter() {
        count(&mut endings.counts, ending(connection.ending()));
    }
    if let Some(sockets) = &setting.harness.sockets {
        endings.time_wait = time_waits(&sockets(), &all);
    }
    let first = of(flows, by_client).context("its packets were not seen")?;
    let half = of(flows, half_port).map(|connection| HalfClose {
        bytes_after_fin: connection.closing().bytes_after_first,
        is_whole,
    });
    Ok((handshake(first), fin(first), Some(endings), half))
}

fn of(flows: &FlowTable, port: u16) -> Option<&TcpConnection> {
    flows
        .iter()
        .map(|(_, connection)| connection)
        .find(|connection| connection.addresses.client.port() == port)
}

/// The client closes a kept connection.
async fn by_client(setting: &Experiment<'_>) -> Result<u16> {
    let mut session = setting.session(Version::Http11)?;
    session.fetch(Request::get("/healthz"), 200).await?;
    let (opened, _) = session.close().await?;
    Ok(opened.first().context("no connection")?.local.port())
}

/// The server closes after a response of HTTP/1.0.
async fn by_server(setting: &Experiment<'_>) -> Result<u16> {
    let mut session = setting.session(Version::Http10)?;
    session.fetch(Request::get("/healthz"), 200).await?;
    let (opened, _) = session.close().await?;
    Ok(opened.first().context("no connection")?.local.port())
}

/// A WebSocket closes in order.
async fn by_socket(setting: &Experiment<'_>) -> Result<u16> {
    let mut session = setting.session(Version::Http11)?;
    session.socket("/v1/responses").await?.close().await?;
    Ok(session.opened.first().context("no connection")?.local.port())
}

/// The client resets in the middle of an answer.
async fn by_reset(setting: &Experiment<'_>) -> Result<u16> {
    let mut session = setting.session(Version::Http11)?;
    let mut streaming = Streaming::new(
        session.send(setting.ask(setting.question(), true)).await?,
        Turn::start(),
        Dialect::Responses,
    )?;
    while streaming.turn.arrivals.is_empty() && streaming.next().await? == Progress::More {}
    streaming.cut()?;
    Ok(session.opened.first().context("no connection")?.local.port())
}

/// The client sends FIN after its question, and continues to read.
async fn half(setting: &Experiment<'_>) -> Result<(u16, bool)> {
    let mut session = setting.session(Version::Http11)?;
    let mut connection = session.open().await?;
    let request = session.prepared(setting.ask(setting.short_question()?, true));
    connection.write(&request).await?;
    connection.half_close().await?;
    let mut response = soon(connection.read_response(&request)).await??;
    let (body, end) = soon(response.collect()).await??;
    let is_whole = end == BodyEnd::Clean && body.windows(7).any(|window| window == b"[DONE]\n");
    Ok((session.opened.first().context("no connection")?.local.port(), is_whole))
}

/// The sequence numbers of the first three segments.
fn handshake(connection: &TcpConnection) -> Option<Handshake> {
    let segments = connection.segments();
    let segment = |place: Option<(u64, _)>| segments.get(usize::try_from(place?.0).ok()?);
    let (syn, syn_ack, ack) = (
        segment(connection.handshake.syn)?,
        segment(connection.handshake.syn_ack)?,
        segment(connection.handshake.ack)?,
    );
    Some(Handshake {
        first_is_syn: syn.number == 0
            && syn.flags.contains(TcpFlags::SYN)
            && !syn.flags.intersects(TcpFlags::ACK | TcpFlags::FIN | TcpFlags::RST),
        client_initial: syn.sequence,
        server_initial: syn_ack.sequence,
        syn_ack_acknowledges: syn_ack.acknowledgment?,
        third_sequence: ack.sequence,
        third_acknowledges: ack.acknowledgment?,
        third_bytes: ack.payload_bytes,
    })
}

fn fin(connection: &TcpConnection) -> Option<Fin> {
    let side = connection.closing().first?;
    let fin = (*connection.closing().fins.of(side))?;
    let segment = |number: u64| connection.segments().get(usize::try_from(number).ok()?);
    Some(Fin {
        // The first byte has the number 1.
        last_byte: connection.directions.of(side).stream.length(),
        number: fin.number,
        acknowledged_by: segment(fin.acknowledged?)?.relative_acknowledgment?,
        has_ack: segment(fin.segment)?.flags.contains(TcpFlags::ACK),
    })
}

/// The number of sockets in TIME-WAIT by host, from the kernel's table (`/proc/net/tcp`, proc(5):
/// state 06) and the client's ports.
fn time_waits(table: &str, ports: &BTreeSet<u16>) -> std::collections::BTreeMap<String, u64> {
    let mut counts = std::collections::BTreeMap::new();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, "06", ..] = fields[..] else { continue };
        if port(local).is_some_and(|port| ports.contains(&port)) {
            count(&mut counts, side_name(Side::Client).to_owned());
        } else if port(remote).is_some_and(|port| ports.contains(&port)) {
            count(&mut counts, side_name(Side::Server).to_owned());
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_in_time_wait_are_counted_by_host() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
             0: 010200C0:9C41 020200C0:1F40 06 00000000:00000000\n\
             1: 020200C0:1F40 010200C0:9C42 06 00000000:00000000\n\
             2: 020200C0:1F40 010200C0:9C43 01 00000000:00000000\n\
             3: 020200C0:1F40 010200C0:0001 06 00000000:00000000\n";
        let counts = time_waits(table, &BTreeSet::from([0x9C41, 0x9C42, 0x9C43]));
        assert_eq!(counts, [("client".to_owned(), 1), ("server".to_owned(), 1)].into());
    }
}
