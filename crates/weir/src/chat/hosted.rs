//! The built-in server: where none is listening, `weir chat` starts one, in memory and for itself
//! only.

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

/// The timeout for connecting to a server on this machine.
const LOOKING: Duration = Duration::from_secs(1);

/// A server that stops when this is dropped.
pub(crate) struct Hosted {
    pub(crate) address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Hosted {
    /// Starts the server on a free loopback port, with the upstreams and limits of the settings.
    pub(crate) async fn start(settings: Settings, tasks: &Tasks) -> anyhow::Result<Self> {
        let mut server = settings.server;
        server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // It serves only this terminal: no other host name, no proxy, no keys.
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
            // Tasks that do not end in time end with the process.
            let _left = weir.serve(async { drop(stopped.await) }).await;
        });
        Ok(Self { address, _stop: stop })
    }
}

/// The address for reaching a server that listens on `listen`.
pub(crate) fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Whether a server accepts connections there.
pub(crate) async fn is_there(address: SocketAddr) -> bool {
    matches!(timeout(LOOKING, TcpStream::connect(address)).await, Ok(Ok(_)))
}
