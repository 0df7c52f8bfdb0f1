//! Two hosts in one process. It has a `main` of its own, since threads, which the test harness starts, would be too early.

#![cfg_attr(
    target_os = "linux",
    expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods, reason = "it is a test")
)]

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{Read, Write};
    use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
    use std::process::Command;
    use std::time::{Duration, Instant};

    use lens::capture::{Capture, Config, Direction, Next};
    use lens::flow::connection::Connection;
    use lens::flow::{Flows, Limits};
    use lens::namespace::{End, Network, Path, Unable};
    use lens::packet::checksum::Checksum;
    use lens::packet::decode;
    use lens::tcp_info::tcp_info;

    pub(super) fn main() {
        if std::env::args().any(|argument| argument == "--list") {
            return;
        }
        let network = match Network::enter() {
            Ok(network) => network,
            Err(unable @ (Unable::NotPermitted { .. } | Unable::Missing { .. })) => {
                // Another program says whether it is allowed here, not the code under test.
                let other = Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).status();
                assert!(!other.is_ok_and(|status| status.success()), "unshare may do it, and we were told: {unable}");
                println!("namespace: not tested: {unable}");
                return;
            }
            Err(other) => panic!("{other}"),
        };
        std::thread::spawn(|| match Network::enter() {
            Err(Unable::Threads) => {}
            other => panic!("a second time, with threads: {other:?}"),
        })
        .join()
        .unwrap();
        for address in [End::Far.ipv4(), End::Far.ipv6()] {
            segments_are_as_long_as_on_ethernet(&network, address);
        }
        a_program_begins_where_it_was_told_to(&network);
        a_narrow_path_takes_its_time(&network);
        a_delay_is_there_or_is_said_to_be_missing(&network);
        println!("namespace: done");
    }

    const ANSWER: usize = 100_000;

    /// Asks the far host for `ANSWER` bytes, and tells what passed the near end of the cable.
    fn exchange(network: &Network, address: IpAddr) -> (Connection, TcpStream, Duration) {
        let listener = network.at(End::Far, || TcpListener::bind(SocketAddr::new(address, 0)).unwrap()).unwrap();
        let to = listener.local_addr().unwrap();
        let config = Config { interface: Some(End::Near.interface().to_owned()), port: Some(to.port()), ..Config::default() };
        let mut capture = Capture::open(&config).unwrap();
        let server = std::thread::spawn(move || {
            let (mut server, _) = listener.accept().unwrap();
            server.read_exact(&mut [0; 3]).unwrap();
            server.write_all(&vec![7; ANSWER]).unwrap();
            server
        });
        let mut client = TcpStream::connect(to).unwrap();
        client.write_all(b"ask").unwrap();
        let began = Instant::now();
        client.read_exact(&mut vec![0; ANSWER]).unwrap();
        let took = began.elapsed();
        let kept = client.try_clone().unwrap();
        drop((server.join().unwrap(), client));
        let mut flows = Flows::new(Limits::default());
        kept.shutdown(std::net::Shutdown::Write).unwrap();
        while !flows.iter().any(|(_, connection)| connection.ending().is_over()) {
            let Next::Packet(packet) = capture.next(Some(Duration::from_secs(10))).unwrap() else { panic!("{flows:#?}") };
            assert!(packet.original_length <= 1514, "{packet:?}");
            let seen = flows.push(packet.at, packet.original_length as u64, &decode(packet.link, &packet.bytes).unwrap()).unwrap();
            let expected = if seen.segment.from == lens::flow::Side::Client { Direction::Outgoing } else { Direction::Incoming };
            assert_eq!((packet.direction, seen.segment.checksum), (expected, Checksum::Right), "{seen:?}");
        }
        assert_eq!(flows.total(), 1);
        (flows.iter().next().unwrap().1.clone(), kept, took)
    }

    fn segments_are_as_long_as_on_ethernet(network: &Network, address: IpAddr) {
        let (connection, client, _) = exchange(network, address);
        let (up, down) = (&connection.directions.client, &connection.directions.server);
        assert_eq!((up.stream.bytes(), down.stream.bytes()), (b"ask".as_slice(), vec![7; ANSWER].as_slice()));
        let mss = if address.is_ipv4() { 1460 } else { 1440 };
        assert_eq!((up.maximum_segment_size, down.maximum_segment_size), (Some(mss), Some(mss)));
        // Timestamps take 12 bytes of each segment.
        let most = u64::from(mss) - 12;
        assert!(connection.segments().iter().all(|segment| segment.payload_bytes <= most));
        assert!(down.counts.data_segments >= (ANSWER as u64).div_ceil(most));
        // The capture sees a segment a moment before TCP counts it.
        let (began, mut info) = (Instant::now(), tcp_info(&client).unwrap());
        while info.segments_in.map(u64::from) != Some(down.counts.segments) && began.elapsed() < Duration::from_secs(5) {
            std::thread::yield_now();
            info = tcp_info(&client).unwrap();
        }
        assert_eq!(info.segments_out.map(u64::from), Some(up.counts.segments));
        assert_eq!(info.segments_in.map(u64::from), Some(down.counts.segments));
    }

    fn a_program_begins_where_it_was_told_to(network: &Network) {
        let listener = TcpListener::bind((End::Near.ipv4(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("echo hello >/dev/tcp/192.0.2.1/{port}")]);
        network.start_at(End::Far, &mut command);
        let mut child = command.spawn().unwrap();
        let (mut stream, peer) = listener.accept().unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), peer.ip()), ("hello\n", End::Far.ipv4()));
        assert!(child.wait().unwrap().success());
    }

    fn a_narrow_path_takes_its_time(network: &Network) {
        let path = Path { bytes_per_second: Some(500_000), ..Path::default() };
        match network.shape(End::Far, path) {
            Ok(()) => {}
            Err(unable @ Unable::Missing { .. }) => return println!("namespace: not tested: {unable}"),
            Err(other) => panic!("{other}"),
        }
        let (_, _, took) = exchange(network, End::Far.ipv4());
        assert!(took > Duration::from_millis(150), "{took:?}");
    }

    fn a_delay_is_there_or_is_said_to_be_missing(network: &Network) {
        let path = Path { delay: Duration::from_millis(20), bytes_per_second: None };
        match network.shape(End::Near, path) {
            Ok(()) => {}
            Err(unable @ Unable::Missing { .. }) => return println!("namespace: not tested: {unable}"),
            Err(other) => panic!("{other}"),
        }
        let (connection, ..) = exchange(network, End::Far.ipv4());
        assert!(connection.handshake.round_trip().unwrap() >= Duration::from_millis(20));
    }
}
