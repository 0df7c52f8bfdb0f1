//! How connections start and end: by either side, by a reset, and half-closed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use lens::flow::FlowTable;
use lens::flow::connection::TcpConnection;
use lens::flow::side::Side;
use lens::packet::tcp::TcpFlags;

use super::experiment::Experiment;
use crate::bilingual::Bilingual;
use crate::captured::{count, ending, side_name};
use crate::claims::cite::names;
use crate::claims::evidence::{Endings, Fin, HalfClose, Handshake};
use crate::conversation::{Progress, Streaming, Turn};
use crate::plan::{Dialect, Version};
use client::soon;
use client::{BodyEnd, Request};

/// Handshake, FIN, endings, half-close.
pub(super) type Closing = (Option<Handshake>, Option<Fin>, Option<Endings>, Option<HalfClose>);

/// The pause before a client's FIN, so that it stands apart in pictures.
const PAUSE: Duration = Duration::from_millis(2);

/// Ends connections in every way, and reads their packets.
pub(super) async fn closing(setting: &Experiment<'_>) -> Result<Closing> {
    let by_client = by_client(setting).await?;
    by_server(setting).await?;
    by_socket(setting).await?;
    by_reset(setting).await?;
    let (half_port, is_whole) = half(setting).await?;
    // A server elsewhere may not let it be cancelled: then there is no such picture.
    drop(in_four(setting).await);
    if !setting.settle().await {
        return Ok((None, None, None, None));
    }
    setting.captured(|captured| {
        let flows = &captured.flows;
        let mut endings = Endings::default();
        for (_, connection) in flows.iter() {
            count(&mut endings.counts, ending(connection.ending()));
        }
        if let Some(sockets) = &setting.harness.sockets {
            endings.time_wait = time_waits(&sockets(), &setting.ports());
        }
        let first = of(flows, by_client).context("its packets were not seen")?;
        let half = of(flows, half_port).map(|connection| HalfClose {
            bytes_after_fin: connection.closing().bytes_after_first,
            is_whole,
        });
        Ok((handshake(first), fin(first), Some(endings), half))
    })
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
    tokio::time::sleep(PAUSE).await;
    let (opened, _) = session.close().await?;
    let port = opened.first().context("no connection")?.local.port();
    let title =
        Bilingual::new("The client closes first, in three segments", "客户端先关闭，三个报文段");
    setting.name_for_teaching(port, names::THREE, title);
    Ok(port)
}

/// The client closes in the middle of an answer that has stopped for a while. The server's kernel
/// acknowledges the FIN when nothing was sent for a moment; the answer is cancelled then, and the
/// server's FIN follows its last events.
async fn in_four(setting: &Experiment<'_>) -> Result<()> {
    let mut session = setting.session(Version::Http11)?;
    let question = if setting.plan.pace.is_some() { "/stall 1" } else { setting.question() };
    let asked = session.send(setting.ask(question, true)).await?;
    let mut streaming = Streaming::new(asked, Turn::start(), Dialect::Responses)?;
    while streaming.turn.arrivals.is_empty() && streaming.next().await? == Progress::More {}
    let port = session.opened.first().context("no connection")?.local.port();
    let title =
        Bilingual::new("The client closes first, in four segments", "客户端先关闭，四个报文段");
    setting.name_for_teaching(port, names::FOUR, title);
    tokio::time::sleep(PAUSE).await;
    streaming.half_close().await?;
    tokio::time::sleep(DELAYED_ACK).await;
    let id = streaming.turn.id.clone().context("an answer without an id")?;
    let mut control = setting.session(Version::Http11)?;
    let cancel = Request::post(&format!("/v1/responses/{id}/cancel"), &serde_json::json!({}));
    control.fetch(cancel, 200).await?;
    control.close().await?;
    soon(streaming.read_out()).await?
}

/// The longest time after which an acknowledgment is sent by itself: Linux waits 40 ms, and at most
/// 200 (RFC 9293, section 3.8.6.3, allows 500).
const DELAYED_ACK: Duration = Duration::from_millis(240);

/// The server closes after a response of HTTP/1.0.
async fn by_server(setting: &Experiment<'_>) -> Result<()> {
    let mut session = setting.session(Version::Http10)?;
    session.fetch(Request::get("/healthz"), 200).await?;
    let (opened, _) = session.close().await?;
    let port = opened.first().context("no connection")?.local.port();
    let title = Bilingual::new(
        "The server closes first, after a response of HTTP/1.0",
        "服务器先关闭：HTTP/1.0 应答之后",
    );
    setting.name_for_teaching(port, names::SERVER, title);
    Ok(())
}

/// A WebSocket closes in order.
async fn by_socket(setting: &Experiment<'_>) -> Result<()> {
    let mut session = setting.session(Version::Http11)?;
    session.socket("/v1/responses").await?.close().await?;
    let port = session.opened.first().context("no connection")?.local.port();
    let title = Bilingual::new(
        "A WebSocket closes: two close frames, then the server's FIN",
        "WebSocket 的关闭：两个关闭帧，然后服务器发送 FIN",
    );
    setting.name_for_teaching(port, names::SOCKET, title);
    Ok(())
}

/// The client resets in the middle of an answer.
async fn by_reset(setting: &Experiment<'_>) -> Result<()> {
    let mut session = setting.session(Version::Http11)?;
    let mut streaming = Streaming::new(
        session.send(setting.ask(setting.question(), true)).await?,
        Turn::start(),
        Dialect::Responses,
    )?;
    while streaming.turn.arrivals.is_empty() && streaming.next().await? == Progress::More {}
    streaming.cut()?;
    let port = session.opened.first().context("no connection")?.local.port();
    let title = Bilingual::new(
        "The client resets the connection in the middle of an answer",
        "客户端在回答途中用 RST 重置连接",
    );
    setting.name_for_teaching(port, names::RESET, title);
    Ok(())
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
    let port = session.opened.first().context("no connection")?.local.port();
    let title = Bilingual::new(
        "Half-closed: the client's FIN, then the whole answer",
        "半关闭：客户端 FIN 之后，整个回答才到达",
    );
    setting.name_for_teaching(port, names::HALF, title);
    Ok((port, is_whole))
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
