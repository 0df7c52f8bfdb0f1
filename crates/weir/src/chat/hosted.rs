//! The server in itself: where nobody listens, `weir chat` brings its own, in memory and for itself alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use engine::memory::keys::MemoryKeys;
use engine::tasks::Tasks;
use server::ProxyProtocol;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::assemble::{Blueprint, Weir};
use crate::config::settings::Settings;
use crate::shutdown;

/// A server on this machine says within this time whether it is there.
const LOOKING: Duration = Duration::from_secs(1);

/// A server that ends when this is dropped.
pub(crate) struct Hosted {
    pub(crate) address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Hosted {
    /// Starts it on a free port of the loopback address, with the settings' upstreams and limits.
    pub(crate) async fn start(settings: Settings, tasks: &Tasks) -> anyhow::Result<Self> {
        let mut server = settings.server;
        server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // It is for this terminal alone: nobody comes to it by another name or through a proxy, and it has no keys.
        (server.hosts, server.trusted_proxies, server.proxy_protocol) =
            (Vec::new(), Vec::new(), ProxyProtocol::Off);
        let mut blueprint = Blueprint::in_memory(
            server,
            settings.engine,
            settings.provider,
            Arc::new(MemoryKeys::default()),
        );
        blueprint.shutdown = shutdown::Config {
            delay: Duration::ZERO,
            spread: Duration::ZERO,
            grace: Duration::ZERO,
        };
        let weir = Weir::assemble(blueprint).await?;
        let address = weir.address();
        let (stop, stopped) = oneshot::channel::<()>();
        tasks.spawn("hosted", async {
            // What does not end in time ends with the process.
            let _left = weir.serve(async { drop(stopped.await) }).await;
        });
        Ok(Self { address, _stop: stop })
    }
}

/// Where one reaches a server that listens on `listen`.
pub(crate) fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Whether somebody listens there.
pub(crate) async fn is_there(address: SocketAddr) -> bool {
    matches!(timeout(LOOKING, TcpStream::connect(address)).await, Ok(Ok(_)))
}
