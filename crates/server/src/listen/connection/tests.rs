//! The signals of a client, on real sockets.

use std::net::Ipv4Addr;

use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::super::connections::Connections;
use super::super::io::Io;
use super::*;

#[test]
fn the_given_share_of_connections_is_sampled_evenly() {
    for (share, expected) in [(0.0, 0), (0.01, 10), (0.25, 250), (0.5, 500), (1.0, 1000)] {
        let sampled = (0..1000).filter(|id| is_sampled(*id, share)).count();
        assert_eq!(sampled, expected, "{share}");
    }
    assert_eq!(
        (0..4).map(|id| is_sampled(id, 0.5)).collect::<Vec<_>>(),
        [false, true, false, true]
    );
}

#[tokio::test]
async fn signals_are_of_http1_only() -> io::Result<()> {
    for protocol in [HttpVersion::Http1, HttpVersion::Http2] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (stream, peer) = listener.accept().await?;
        let open = Arc::new(Connections::default()).admit(peer.ip(), &Config::default());
        let Ok((open, id)) = open else { panic!("there is no place for a first connection") };
        let connection = Io::new(id, stream, peer, &Config::default(), open).connection();
        connection.set_protocol(protocol);
        client.write_all(b"more").await?;
        client.shutdown().await?;
        // The FIN is there when all that can be read was read.
        connection.0.stream.ready(Interest::READABLE).await?;
        match protocol {
            HttpVersion::Http1 => assert_eq!(connection.signal().await, Signal::Fin),
            HttpVersion::Http2 => assert_eq!(connection.signal().now_or_never(), None),
        }
        assert_eq!(
            connection.has_unread_bytes(),
            protocol == HttpVersion::Http1,
            "what belongs to a codec must stay in the socket"
        );
    }
    Ok(())
}
