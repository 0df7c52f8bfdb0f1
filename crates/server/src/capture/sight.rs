//! What was captured, and which of it belongs to which of our connections.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use lens::capture::Recording;
use lens::flow::connection::Connection;
use lens::flow::{Flows, Limits};
use lens::moment::Moment;
use lens::packet::decode;

use crate::listen::View;

/// The connections that were captured on a port.
#[derive(Debug)]
pub(crate) struct Sight {
    flows: Flows,
    port: u16,
}

impl Sight {
    pub(super) fn new(limits: Limits, port: u16) -> Self {
        Self { flows: Flows::new(limits).with_server_port(port), port }
    }

    pub(super) fn take_in(&mut self, recording: Recording) {
        for packet in recording.packets {
            if let Ok(decoded) = decode(packet.link, &packet.bytes) {
                self.flows.push(packet.at, packet.original_length as u64, &decoded);
            }
        }
    }

    /// The packets of one of our connections, if they are among what was captured.
    pub(crate) fn of(&self, view: &View) -> Option<&Connection> {
        let accepted = moment(view.record.accepted);
        let end = accepted + view.record.close.map_or(view.record.age, |close| close.at);
        let is_ours = |connection: &Connection| {
            let (client, server) = (connection.addresses.client, connection.addresses.server);
            is_same(client, view.peer) && server.port() == self.port && was_there(connection, accepted, end)
        };
        // Of those that had the same address one after another, the last that had begun by then.
        self.flows.iter().map(|(_, connection)| connection).filter(|connection| is_ours(connection)).last()
    }
}

/// An IPv4 client has an IPv6 address where a socket takes both.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip().to_canonical(), one.port()) == (other.ip().to_canonical(), other.port())
}

/// Whether these packets can be those of a connection that was accepted and ended then. A client's port comes back, and
/// another's packets must not be shown.
fn was_there(connection: &Connection, accepted: Moment, end: Moment) -> bool {
    if connection.handshake.syn.is_none() {
        // The capture began in the middle of it.
        return (accepted..=end).contains(&connection.began);
    }
    let over = connection.closing().over_since().and_then(|number| usize::try_from(number).ok());
    let over = over.and_then(|number| connection.segments().get(number)).map(|segment| segment.at);
    // We accept behind the handshake, and before we do we close nothing.
    connection.began <= accepted && over.is_none_or(|over| over >= accepted)
}

fn moment(time: SystemTime) -> Moment {
    let nanoseconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Moment(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
