//! The kernel's data on a TCP socket (tcp(7), `TCP_INFO`), and the bytes in its send queue.

use std::time::Duration;

/// The contents of `TCP_INFO`. Fields that an older kernel does not have are `None`. Times that the
/// kernel has not measured yet are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// The state, by the kernel's number; 1 is ESTABLISHED.
    pub state: u8,
    /// Timeouts since the last acknowledgment.
    pub timeouts: u8,
    /// How long it waits before it repeats a segment.
    pub retransmission_timeout: Duration,
    /// The largest segment it sends, in bytes of payload.
    pub send_mss: u32,
    /// The largest segment that it takes the other side to send.
    pub receive_mss: u32,
    /// Segments that are not acknowledged.
    pub unacknowledged: u32,
    /// Segments that are thought to be lost.
    pub lost: u32,
    /// The largest packet that the path takes.
    pub path_mtu: u32,
    /// The smoothed round trip (RFC 6298).
    pub round_trip: Duration,
    /// How much it varies.
    pub round_trip_variation: Duration,
    /// How many segments may be under way.
    pub congestion_window: u32,
    /// How many segments were repeated in all.
    pub total_retransmissions: u32,
    /// Bytes of ours that the other side acknowledged (Linux 4.1).
    pub bytes_acknowledged: Option<u64>,
    /// Bytes that came in order (Linux 4.1).
    pub bytes_received: Option<u64>,
    /// Segments sent, of any kind (Linux 4.2).
    pub segments_out: Option<u32>,
    /// Segments received, of any kind (Linux 4.2).
    pub segments_in: Option<u32>,
    /// Bytes that were written but not sent (Linux 4.6).
    pub not_sent_bytes: Option<u32>,
    /// The shortest round trip (Linux 4.6).
    pub minimal_round_trip: Option<Duration>,
    /// Segments with payload received (Linux 4.6).
    pub data_segments_in: Option<u32>,
    /// Segments with payload sent (Linux 4.6).
    pub data_segments_out: Option<u32>,
    /// Bytes per second that arrive (Linux 4.9).
    pub delivery_rate: Option<u64>,
    /// How long there was something to send (Linux 4.10).
    pub busy: Option<Duration>,
    /// How long of that the other side's window held it back (Linux 4.10).
    pub limited_by_window: Option<Duration>,
    /// Segments that arrived (Linux 4.18).
    pub delivered: Option<u32>,
    /// Bytes sent, repetitions included (Linux 4.19).
    pub bytes_sent: Option<u64>,
    /// Bytes repeated (Linux 4.19).
    pub bytes_retransmitted: Option<u64>,
    /// The other side's window, in bytes (Linux 5.4).
    pub send_window: Option<u32>,
    /// Our window, in bytes (Linux 6.2).
    pub receive_window: Option<u32>,
}

impl TcpInfo {
    /// Reads what the kernel wrote: `struct tcp_info` of `linux/tcp.h`, as long as this kernel's
    /// is. It only ever grew at its end. `None` if it is not even as long as the first one was.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let four = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes);
        let eight = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes);
        let microseconds = |at: usize| four(at).map(|value| Duration::from_micros(value.into()));
        Some(Self {
            state: *bytes.first()?,
            timeouts: *bytes.get(2)?,
            retransmission_timeout: microseconds(8)?,
            send_mss: four(16)?,
            receive_mss: four(20)?,
            unacknowledged: four(24)?,
            lost: four(32)?,
            path_mtu: four(60)?,
            round_trip: microseconds(68)?,
            round_trip_variation: microseconds(72)?,
            congestion_window: four(80)?,
            total_retransmissions: four(100)?,
            bytes_acknowledged: eight(120),
            bytes_received: eight(128),
            segments_out: four(136),
            segments_in: four(140),
            not_sent_bytes: four(144),
            // Before the first measurement it is the largest number there is.
            minimal_round_trip: four(148)
                .filter(|value| *value != u32::MAX)
                .map(|value| Duration::from_micros(value.into())),
            data_segments_in: four(152),
            data_segments_out: four(156),
            delivery_rate: eight(160),
            busy: eight(168).map(Duration::from_micros),
            limited_by_window: eight(176).map(Duration::from_micros),
            delivered: four(192),
            bytes_sent: eight(200),
            bytes_retransmitted: eight(208),
            send_window: four(228),
            receive_window: four(232),
        })
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::AsFd;

    use super::TcpInfo;
    use crate::system::socket::{ioctl_number, option_bytes};

    /// Asks the kernel about a TCP socket.
    pub fn tcp_info(socket: &impl AsFd) -> io::Result<TcpInfo> {
        // Larger than any kernel's: 6.18 has 280 bytes.
        let mut buffer = [0; 512];
        let length = option_bytes(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut buffer)?;
        TcpInfo::read(&buffer[..length]).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Bytes that were written to a TCP socket and not yet acknowledged by the other side
    /// (`SIOCOUTQ`).
    pub fn unacknowledged_bytes(socket: &impl AsFd) -> io::Result<u64> {
        ioctl_number(socket.as_fd(), libc::TIOCOUTQ).map(|bytes| bytes.unsigned_abs().into())
    }

    #[cfg(test)]
    mod tests {
        use std::io::{Read, Write};
        use std::net::{TcpListener, TcpStream};

        use super::*;

        #[test]
        fn the_kernel_counts_what_was_said() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(&[7; 1000]).unwrap();
            server.read_exact(&mut [0; 1000]).unwrap();
            server.write_all(b"answer").unwrap();
            client.read_exact(&mut [0; 6]).unwrap();
            let (ours, theirs) = (tcp_info(&client).unwrap(), tcp_info(&server).unwrap());
            assert_eq!((ours.state, theirs.state), (1, 1));
            // The kernel counts the SYN as a byte that was acknowledged.
            assert_eq!((ours.bytes_acknowledged, ours.bytes_received), (Some(1001), Some(6)));
            assert_eq!(
                (theirs.bytes_received, theirs.data_segments_in, ours.bytes_sent),
                (Some(1000), Some(1), Some(1000))
            );
            assert_eq!(
                (ours.bytes_retransmitted, ours.total_retransmissions, ours.not_sent_bytes),
                (Some(0), 0, Some(0))
            );
            assert!(
                ours.round_trip > std::time::Duration::ZERO
                    && ours.send_mss > 500
                    && ours.congestion_window > 0
            );
            assert_eq!(unacknowledged_bytes(&client).unwrap(), 0);
        }

        #[test]
        fn what_is_no_tcp_socket_has_none() {
            let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            assert!(tcp_info(&udp).is_err());
        }
    }
}

#[cfg(target_os = "linux")]
pub use linux::{tcp_info, unacknowledged_bytes};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_kernels_say_less() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(TcpInfo::read(&bytes[..100]), None);
        let old = TcpInfo::read(&bytes[..104]).unwrap();
        assert_eq!((old.state, old.bytes_acknowledged, old.delivered), (0, None, None));
        let newer = TcpInfo::read(&bytes[..160]).unwrap();
        assert_eq!(
            (
                newer.bytes_received.is_some(),
                newer.minimal_round_trip.is_some(),
                newer.delivery_rate
            ),
            (true, true, None)
        );
        let new = TcpInfo::read(&bytes).unwrap();
        assert_eq!(new.receive_window, Some(u32::from_ne_bytes([232, 233, 234, 235])));
    }
}
