//! AF_PACKET (packet(7)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::captured::{CaptureEvent, CaptureStatistics, CapturedPacket, PacketDirection};
use super::config::{CaptureError, Config};
use super::filter;
use super::stamps::KernelTimestamps;
use crate::moment::Moment;
use crate::packet::link::LinkType;
use crate::system::{packet, socket};

const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
const ARPHRD_NONE: u16 = 0xFFFE;

/// A capture that runs.
#[derive(Debug)]
pub struct PacketCapture {
    socket: OwnedFd,
    stop: Arc<OwnedFd>,
    buffer: Vec<u8>,
    statistics: CaptureStatistics,
    is_stamped: bool,
}

/// The end of a capture, to be called from anywhere.
#[derive(Clone, Debug)]
pub struct CaptureStopper(Arc<OwnedFd>);

impl CaptureStopper {
    /// Ends the capture: what has come by now can still be taken.
    pub fn stop(&self) {
        socket::signal(self.0.as_fd());
    }
}

impl PacketCapture {
    /// Begins. All packets that come after this returns are seen, and have the time at which they
    /// came.
    pub fn open(config: &Config) -> Result<Self, CaptureError> {
        let descriptor = packet::open().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => CaptureError::NotPermitted,
            _ => CaptureError::Failed(error),
        })?;
        let socket = descriptor.as_fd();
        // Where there is no loopback, the first packets may have to do with the time at which they
        // are read. It has to be there until this socket wants times too, and before this socket
        // gets packets.
        let stamps = KernelTimestamps::begin();
        let interface = match &config.interface {
            None => 0,
            Some(name) => packet::interface_index(name)
                .map_err(|_| CaptureError::NoInterface(name.clone()))?,
        };
        let kernel_bytes = config.kernel_bytes.try_into().unwrap_or(i32::MAX);
        // Beyond the limit of the system only root may go; who may not gets as much as there is.
        let forced =
            socket::set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, kernel_bytes);
        forced.or_else(|_| {
            socket::set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, kernel_bytes)
        })?;
        socket::set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        socket::set_option(socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        packet::attach_filter(socket, &filter::of_port(config.port))?;
        packet::bind(socket, interface)?;
        let stop = Arc::new(socket::event()?);
        let is_stamped = stamps.is_ok_and(|stamps| stamps.have_begun);
        Ok(Self {
            socket: descriptor,
            stop,
            buffer: vec![0; config.packet_bytes.max(64)],
            statistics: CaptureStatistics::default(),
            is_stamped,
        })
    }

    /// Whether the first packets have the time at which they came; otherwise they may have that at
    /// which they were read.
    pub fn is_stamped(&self) -> bool {
        self.is_stamped
    }

    /// A handle that ends it.
    pub fn stopper(&self) -> CaptureStopper {
        CaptureStopper(Arc::clone(&self.stop))
    }

    /// Waits for the next packet, for ever without a timeout.
    pub fn next(&mut self, timeout: Option<Duration>) -> io::Result<CaptureEvent> {
        loop {
            match packet::receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(received) => match self.captured(&received) {
                    Some(captured) => return Ok(CaptureEvent::Packet(captured)),
                    None => self.statistics.unreadable += 1,
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match socket::wait([self.socket.as_fd(), self.stop.as_fd()], timeout)? {
                        [true, _] => {}
                        [false, true] => return Ok(CaptureEvent::Stopped),
                        [false, false] => return Ok(CaptureEvent::Idle),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How many packets there were since the start.
    pub fn statistics(&mut self) -> io::Result<CaptureStatistics> {
        let (received, dropped) = packet::statistics(self.socket.as_fd())?;
        self.statistics.received += received;
        self.statistics.dropped += dropped;
        Ok(self.statistics)
    }

    fn captured(&self, received: &packet::Received) -> Option<CapturedPacket> {
        let link = match received.hardware {
            ARPHRD_ETHER | ARPHRD_LOOPBACK => LinkType::Ethernet,
            ARPHRD_NONE => LinkType::Raw,
            _ => return None,
        };
        let direction = match received.direction {
            libc::PACKET_HOST => PacketDirection::Incoming,
            libc::PACKET_OUTGOING => PacketDirection::Outgoing,
            _ => PacketDirection::Other,
        };
        let mut bytes = self.buffer[..received.captured].to_vec();
        let mut original_length = received.original;
        // The kernel takes the tag out; it stood after the two addresses.
        if let Some((kind, tag)) =
            received.tag.filter(|_| bytes.len() >= 12 && link == LinkType::Ethernet)
        {
            let [a, b] = kind.to_be_bytes();
            let [c, d] = tag.to_be_bytes();
            bytes.splice(12..12, [a, b, c, d]);
            original_length += 4;
        }
        let at = Moment(received.at?);
        Some(CapturedPacket {
            at,
            link,
            interface: received.interface,
            direction,
            original_length,
            bytes,
        })
    }
}
