//! Two hosts in one process. It has a `main` of its own, since threads, which the test harness
//! starts, would be too early.

#![cfg_attr(
    target_os = "linux",
    expect(
        clippy::unwrap_used,
        clippy::panic,
        clippy::print_stdout,
        clippy::disallowed_methods,
        reason = "it is a test"
    )
)]

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io::{self, Read, Write};
    use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::num::NonZero;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use lens::capture::PacketCapture;
    use lens::capture::captured::{CaptureEvent, PacketDirection};
    use lens::capture::config::Config;
    use lens::flow::FlowTable;
    use lens::flow::connection::TcpConnection;
    use lens::flow::limits::FlowLimits;
    use lens::flow::mark::SegmentMark;
    use lens::flow::side::Side;
    use lens::namespace::NamespaceNetwork;
    use lens::namespace::end::NetworkEnd;
    use lens::namespace::error::NamespaceError;
    use lens::namespace::link::EmulatedLink;
    use lens::namespace::link::settings::{LinkSettings, LossTarget, QUEUE_FRAMES};
    use lens::packet::checksum::Checksum;
    use lens::packet::link::LinkType;
    use lens::packet::{TransportPayload, decode};
    use lens::tcp_info::tcp_info;

    pub(super) fn main() {
        if std::env::args().any(|argument| argument == "--list") {
            return;
        }
        let network = match NamespaceNetwork::enter() {
            Ok(network) => network,
            Err(error @ (NamespaceError::NotPermitted { .. } | NamespaceError::Missing { .. })) => {
                // Another program says whether it is allowed here, not the code under test.
                let other = Command::new("unshare")
                    .args(["--user", "--map-root-user", "--net", "true"])
                    .status();
                assert!(
                    !other.is_ok_and(|status| status.success()),
                    "unshare may do it, and we were told: {error}"
                );
                println!("namespace: not tested: {error}");
                return;
            }
            Err(other) => panic!("{other}"),
        };
        std::thread::spawn(|| match NamespaceNetwork::enter() {
            Err(NamespaceError::Threads) => {}
            other => panic!("a second time, with threads: {other:?}"),
        })
        .join()
        .unwrap();
        for address in [NetworkEnd::Far.ipv4(), NetworkEnd::Far.ipv6()] {
            segments_are_as_long_as_on_ethernet(&network, address);
        }
        a_program_begins_where_it_was_told_to(&network);
        a_delay_is_there_in_each_direction(&network);
        a_narrow_path_takes_its_time(&network);
        for from in NetworkEnd::BOTH {
            a_lost_segment_is_sent_again_once(&network, from);
        }
        a_queue_has_a_bound(&network);
        there_is_one_link_at_a_time_and_nothing_is_left_of_it(&network);
        println!("namespace: done");
    }

    const ANSWER: usize = 100_000;

    /// What an exchange left.
    struct Exchange {
        /// What passed the client's interface, and the server's.
        client: TcpConnection,
        server: TcpConnection,
        /// How long the answer took.
        took: Duration,
        socket: TcpStream,
    }

    /// Asks the other host for `ANSWER` bytes, from an end. Before there is a connection, something
    /// may be done with its port.
    fn exchange(
        network: &NamespaceNetwork,
        client: NetworkEnd,
        address: IpAddr,
        before: impl FnOnce(u16),
    ) -> Exchange {
        let listener = network
            .at(client.other(), || TcpListener::bind(SocketAddr::new(address, 0)).unwrap())
            .unwrap();
        let to = listener.local_addr().unwrap();
        let [mut at_client, mut at_server] = [client, client.other()].map(|end| {
            let is_on_link = NetworkEnd::BOTH
                .iter()
                .any(|end| [end.link_ipv4(), end.link_ipv6()].contains(&address));
            let interface =
                if is_on_link { end.link_interface() } else { end.interface() }.to_owned();
            let config =
                Config { interface: Some(interface), port: Some(to.port()), ..Config::default() };
            network.at(end, || PacketCapture::open(&config).unwrap()).unwrap()
        });
        before(to.port());
        let server = std::thread::spawn(move || {
            let (mut server, _) = listener.accept().unwrap();
            server.read_exact(&mut [0; 3]).unwrap();
            server.write_all(&vec![7; ANSWER]).unwrap();
            server
        });
        let mut client = network.at(client, || TcpStream::connect(to).unwrap()).unwrap();
        let began = Instant::now();
        client.write_all(b"ask").unwrap();
        client.read_exact(&mut vec![0; ANSWER]).unwrap();
        let took = began.elapsed();
        drop(server.join().unwrap());
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let (at_client, at_server) =
            (captured(&mut at_client, Side::Client), captured(&mut at_server, Side::Server));
        let all = at_client.directions.server.stream.bytes();
        assert!(
            all == vec![7; ANSWER] && at_client.directions.client.stream.bytes() == b"ask",
            "{}",
            all.len()
        );
        Exchange { client: at_client, server: at_server, took, socket: client }
    }

    /// The one connection that a capture sees at the interface of one side, with whole frames of
    /// the right length.
    fn captured(capture: &mut PacketCapture, side: Side) -> TcpConnection {
        let mut flows = FlowTable::new(FlowLimits::default());
        while !flows.iter().any(|(_, connection)| connection.ending().is_over()) {
            let CaptureEvent::Packet(packet) = capture.next(Some(Duration::from_secs(10))).unwrap()
            else {
                panic!("{flows:#?}")
            };
            assert!(packet.original_length <= 1514, "{packet:?}");
            let seen = flows
                .push(
                    packet.at,
                    packet.original_length as u64,
                    &decode(packet.link, &packet.bytes).unwrap(),
                )
                .unwrap();
            let expected = if seen.segment.from == side {
                PacketDirection::Outgoing
            } else {
                PacketDirection::Incoming
            };
            assert_eq!(
                (packet.direction, seen.segment.checksum),
                (expected, Checksum::Right),
                "{seen:?}"
            );
        }
        assert_eq!(flows.total(), 1);
        flows.iter().next().unwrap().1.clone()
    }

    fn delay(milliseconds: u64) -> LinkSettings {
        LinkSettings { delay: Duration::from_millis(milliseconds), bytes_per_second: None }
    }

    fn segments_are_as_long_as_on_ethernet(network: &NamespaceNetwork, address: IpAddr) {
        let Exchange { client: connection, socket, .. } =
            exchange(network, NetworkEnd::Near, address, |_| {});
        let (up, down) = (&connection.directions.client, &connection.directions.server);
        let mss = if address.is_ipv4() { 1460 } else { 1440 };
        assert_eq!((up.maximum_segment_size, down.maximum_segment_size), (Some(mss), Some(mss)));
        // Timestamps take 12 bytes of each segment.
        let most = u64::from(mss) - 12;
        assert!(connection.segments().iter().all(|segment| segment.payload_bytes <= most));
        assert!(down.counts.data_segments >= (ANSWER as u64).div_ceil(most));
        // The capture sees a segment a moment before TCP counts it.
        let (began, mut info) = (Instant::now(), tcp_info(&socket).unwrap());
        while info.segments_in.map(u64::from) != Some(down.counts.segments)
            && began.elapsed() < Duration::from_secs(5)
        {
            std::thread::yield_now();
            info = tcp_info(&socket).unwrap();
        }
        assert_eq!(info.segments_out.map(u64::from), Some(up.counts.segments));
        assert_eq!(info.segments_in.map(u64::from), Some(down.counts.segments));
    }

    fn a_program_begins_where_it_was_told_to(network: &NamespaceNetwork) {
        let listener = TcpListener::bind((NetworkEnd::Near.ipv4(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("echo hello >/dev/tcp/192.0.2.1/{port}")]);
        network.start_at(NetworkEnd::Far, &mut command);
        let mut child = command.spawn().unwrap();
        let (mut stream, peer) = listener.accept().unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), peer.ip()), ("hello\n", NetworkEnd::Far.ipv4()));
        assert!(child.wait().unwrap().success());
    }

    fn a_delay_is_there_in_each_direction(network: &NamespaceNetwork) {
        let link = network.emulated_link(delay(20)).unwrap();
        let exact = |least: u64, connection: &TcpConnection| {
            let (least, took) =
                (Duration::from_millis(least), connection.handshake.round_trip().unwrap());
            // How late a thread is on a machine that has much else to do cannot be said; on one
            // that has not it is 0.1 ms.
            assert!(took >= least && took < least + Duration::from_secs(1), "{took:?}");
        };
        for client in NetworkEnd::BOTH {
            for address in [client.other().link_ipv4(), client.other().link_ipv6()] {
                let exchange = exchange(network, client, address, |_| {});
                exact(40, &exchange.client);
                exact(40, &exchange.server);
                let sums = |connection: &TcpConnection| {
                    Side::ALL
                        .map(|side| connection.directions.of(side).counts)
                        .map(|counts| (counts.segments, counts.wire_bytes))
                };
                assert_eq!(
                    sums(&exchange.client),
                    sums(&exchange.server),
                    "nothing is lost or changed"
                );
            }
        }
        link.set(NetworkEnd::Far, delay(5));
        exact(25, &exchange(network, NetworkEnd::Near, NetworkEnd::Far.link_ipv4(), |_| {}).client);
        let counts = NetworkEnd::BOTH.map(|end| link.counts(end).unwrap());
        for counts in counts {
            assert_eq!((counts.lost, counts.overflowed, counts.missed), (0, 0, 0), "{counts:?}");
            assert!(counts.arrived > 70 && counts.latest >= counts.late_on_average(), "{counts:?}");
        }
        let [on_average, latest] =
            [counts.map(|counts| counts.late_on_average()), counts.map(|counts| counts.latest)];
        println!("namespace: frames were {on_average:?} late on average, and {latest:?} at most");
        link.end().unwrap();
    }

    fn a_narrow_path_takes_its_time(network: &NamespaceNetwork) {
        let link = network.emulated_link(delay(1)).unwrap();
        link.set(
            NetworkEnd::Far,
            LinkSettings { bytes_per_second: NonZero::new(500_000), ..delay(1) },
        );
        let exchange = exchange(network, NetworkEnd::Near, NetworkEnd::Far.link_ipv4(), |_| {});
        // All that follows the first frame has to wait for it, and all bytes of all headers count.
        assert!(exchange.took > Duration::from_millis(200), "{:?}", exchange.took);
        let down = &exchange.client.directions.server.counts;
        let (first, last) = (exchange.client.handshake.syn_ack.unwrap().1, exchange.client.last);
        let least = Duration::from_micros((down.wire_bytes - 74) * 2);
        assert!(last.since(first) >= least, "{:?}", last.since(first));
        link.end().unwrap();
    }

    fn a_lost_segment_is_sent_again_once(network: &NamespaceNetwork, from: NetworkEnd) {
        // The sender asks whether its last segment has come when it has heard nothing for two round
        // trips (RFC 8985, section 7.2), and the receiver may wait for 40 ms with its
        // acknowledgment. With a shorter round trip that would be a second time.
        let link = network.emulated_link(delay(50)).unwrap();
        let mut loss = None;
        let exchange = exchange(network, from.other(), from.link_ipv4(), |port| {
            loss = Some(link.lose_next(from, LossTarget { port, payload_bytes: 1000 }));
        });
        let lost = loss.as_ref().unwrap().wait(Duration::ZERO).unwrap();
        assert_eq!(loss.unwrap().wait(Duration::ZERO), None, "it is told once");
        let TransportPayload::Tcp(segment) =
            decode(LinkType::Ethernet, &lost.bytes).unwrap().transport
        else {
            panic!("{lost:?}")
        };
        let bytes = segment.payload_length as u64;
        // The sender sends it twice, and the receiver sees it after others.
        let sent: Vec<_> = exchange
            .server
            .segments()
            .iter()
            .filter(|sent| sent.marks.contains(&SegmentMark::Retransmission { bytes }))
            .collect();
        assert_eq!(sent.iter().map(|sent| sent.sequence).collect::<Vec<_>>(), [segment.sequence]);
        assert!(
            sent[0].at.since(lost.at) >= Duration::from_millis(100),
            "not before the receiver can have said so"
        );
        let (sent, received) =
            (exchange.server.directions.server.counts, exchange.client.directions.server.counts);
        assert_eq!((sent.retransmitted_segments, received.retransmitted_segments), (1, 0));
        assert_eq!((sent.segments, sent.out_of_order), (received.segments + 1, 0));
        assert!(received.out_of_order == 1 && sent.duplicate_acks == 0);
        let first = exchange
            .server
            .segments()
            .iter()
            .find(|sent| sent.sequence == segment.sequence && sent.payload_bytes > 0)
            .unwrap();
        assert!(lost.at >= first.at, "{lost:?}");
        assert_eq!(link.counts(from).unwrap().lost, 1);
        link.end().unwrap();
    }

    fn a_queue_has_a_bound(network: &NamespaceNetwork) {
        let slow = LinkSettings { delay: Duration::ZERO, bytes_per_second: NonZero::new(1000) };
        let link = network.emulated_link(slow).unwrap();
        let receiver = network
            .at(NetworkEnd::Far, || UdpSocket::bind((NetworkEnd::Far.link_ipv4(), 0)).unwrap())
            .unwrap();
        let sender = UdpSocket::bind((NetworkEnd::Near.link_ipv4(), 0)).unwrap();
        let began = Instant::now();
        while link.counts(NetworkEnd::Near).unwrap().overflowed < 10 {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{:?}",
                link.counts(NetworkEnd::Near)
            );
            sender.send_to(&[7; 100], receiver.local_addr().unwrap()).unwrap();
        }
        let counts = link.counts(NetworkEnd::Near).unwrap();
        assert!(
            counts.in_flight >= QUEUE_FRAMES as u64 && counts.in_flight <= QUEUE_FRAMES as u64 + 1,
            "{counts:?}"
        );
        // What waits is let through when the path is wide again, as soon as the bottleneck is free.
        link.set(NetworkEnd::Near, LinkSettings::default());
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(receiver.recv(&mut [0; 200]).unwrap(), 100);
        link.end().unwrap();
    }

    fn there_is_one_link_at_a_time_and_nothing_is_left_of_it(network: &NamespaceNetwork) {
        // The kernel shows a thread for a moment after it was awaited, and without its name before
        // it runs.
        let has_threads = |expected: usize| {
            let began = Instant::now();
            let mut names = Vec::new();
            while began.elapsed() < Duration::from_secs(10) {
                let tasks = fs::read_dir("/proc/self/task").unwrap();
                names = tasks
                    .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
                    .collect();
                if names.len() == 1 + expected
                    && names.iter().filter(|name| *name == "link\n").count() == expected
                {
                    return;
                }
                std::thread::yield_now();
            }
            panic!("{names:?}");
        };
        let interfaces = || {
            NetworkEnd::BOTH.map(|end| {
                let read = || fs::read_to_string("/proc/thread-self/net/dev").unwrap();
                let all = network.at(end, read).unwrap();
                all.lines()
                    .skip(2)
                    .map(|line| line.split(':').next().unwrap().trim().to_owned())
                    .collect::<Vec<_>>()
            })
        };
        has_threads(0);
        let before = interfaces();
        for _ in 0..3 {
            // From another thread, which is elsewhere.
            let link = std::thread::scope(|scope| {
                scope
                    .spawn(|| {
                        network
                            .at(NetworkEnd::Far, || {
                                network.emulated_link(delay(3_600_000)).unwrap()
                            })
                            .unwrap()
                    })
                    .join()
                    .unwrap()
            });
            has_threads(1);
            let Err(NamespaceError::Failed { source, .. }) =
                network.emulated_link(LinkSettings::default())
            else {
                panic!("a second link")
            };
            assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
            // One is under way when it ends.
            UdpSocket::bind((NetworkEnd::Near.link_ipv4(), 0))
                .unwrap()
                .send_to(b"late", (NetworkEnd::Far.link_ipv4(), 9))
                .unwrap();
            drop::<EmulatedLink>(link);
            has_threads(0);
            assert_eq!(interfaces(), before);
        }
        assert!(UdpSocket::bind((NetworkEnd::Near.link_ipv4(), 0)).is_err());
    }
}
