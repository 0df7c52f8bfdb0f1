//! A server with two listeners, one in clear text and one with TLS, on one engine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use client::Connection;
use client::soon;
use client::websocket::{self, Handshake};
use engine::memory::keys::MemoryKeys;
use engine::tasks::Tasks;
use server::{App, AppParts, Connections, Drain, LiveServer, TlsServer};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::version::TLS13;

use crate::test_server::TestServer;
use crate::tls::{CertificatePair, connect, connector};
use client::http2::Client;

pub(crate) struct Doors {
    pub(crate) test_server: TestServer,
    /// One connection in clear text and one with TLS, for all streams.
    pub(crate) clear: Client,
    pub(crate) encrypted: Client,
    second: SecondDoor,
}

impl Doors {
    pub(crate) async fn open() -> Self {
        let test_server = TestServer::open().await;
        let second = SecondDoor::open(&test_server);
        let clear =
            Client::over(TcpStream::connect(test_server.address).await.unwrap()).await.unwrap();
        let stream = connect(&second.http2, second.address).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self { clear, encrypted: Client::over(stream).await.unwrap(), test_server, second }
    }

    /// An HTTP/1 connection through TLS.
    pub(crate) async fn tls(&self) -> Connection {
        soon(Connection::open_encrypted(self.second.address, "localhost", &self.second.http1))
            .await
            .unwrap()
            .unwrap()
    }

    /// A WebSocket over HTTP/1.1 on a new connection.
    pub(crate) async fn socket(&self, is_encrypted: bool) -> websocket::Socket {
        let connection = if is_encrypted {
            self.tls().await
        } else {
            Connection::open(self.test_server.address).await.unwrap()
        };
        match soon(websocket::shake_hands(connection, "/v1/responses", &[])).await.unwrap().unwrap()
        {
            Handshake::Open(connected) => connected.socket,
            Handshake::Refused(response) => panic!("refused: {}", response.status),
        }
    }

    /// Closes both; anything left over fails the test.
    pub(crate) async fn close(self) {
        let Self { test_server, clear, encrypted, second } = self;
        drop((clear, encrypted));
        test_server.quiet().await;
        second.close().await;
        test_server.close().await;
    }
}

struct SecondDoor {
    address: SocketAddr,
    http1: TlsConnector,
    http2: TlsConnector,
    connections: Arc<Connections>,
    tasks: Tasks,
    drain: Drain,
    serving: JoinHandle<()>,
    _pair: CertificatePair,
}

impl SecondDoor {
    fn open(test_server: &TestServer) -> Self {
        let pair = CertificatePair::new();
        let mut config = server::Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..server::Config::default()
        };
        let listener = server::bind(config.listen).unwrap();
        config.listen = listener.local_addr().unwrap();
        let (address, config) = (config.listen, Arc::new(config));
        let (tasks, connections, drain) =
            (Tasks::new(), Arc::new(Connections::default()), Drain::default());
        let app = App::new(AppParts {
            classic: Arc::default(),
            engine: test_server.engine.clone(),
            keys: Arc::new(MemoryKeys::default()),
            config,
            connections: Arc::clone(&connections),
            is_encrypted: true,
            grants: Arc::default(),
            tickets: Arc::default(),
            capture: Arc::default(),
            metrics: Arc::default(),
            tasks: tasks.clone(),
            drain: drain.clone(),
            rates: Arc::default(),
            sources: Arc::default(),
        });
        let tls = Arc::new(TlsServer::from_files(&pair.certificate(), &pair.key()).unwrap());
        let serving = tokio::spawn(server::serve(listener, LiveServer::new(app), Some(tls)));
        let trusting = |alpn: &[&[u8]]| connector(Path::new(&pair.certificate()), alpn, &[&TLS13]);
        Self {
            address,
            http1: trusting(&[]),
            http2: trusting(&[b"h2"]),
            connections,
            tasks,
            drain,
            serving,
            _pair: pair,
        }
    }

    async fn close(self) {
        self.drain.drain(std::time::Duration::ZERO);
        soon(self.serving).await.unwrap().unwrap();
        assert_eq!(
            self.tasks.shutdown(std::time::Duration::from_secs(2)).await,
            0,
            "tasks were left behind"
        );
        assert_eq!(self.connections.open(), 0, "connections were left behind");
    }
}
