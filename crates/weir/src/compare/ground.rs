//! Where the measurement takes place: a network of our own with two hosts, loopback, or wherever a server is.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engine::keys::MemoryKeys;
use engine::tasks::Tasks;
use lab::client::Trust;
use lab::compare::claims::Bilingual;
use lab::compare::run::{Bench, Door};
use lab::compare::stamps::Stamps;
use lens::capture::{Config, Recorder};
use lens::namespace::{End, Network};
use server::Tls;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::address::Address;
use crate::assemble::{Blueprint, Weir};
use crate::certificate;
use crate::config::Settings;
use crate::shutdown;

/// The threads of the server, whose processor time is its own.
const THREADS: &str = "weir-server";

/// Packets that wait to be looked at, in bytes: more than the longest cell has.
const PACKETS: usize = 256 << 20;

/// The place, and what is known of it.
pub(crate) struct Ground {
    /// For the client.
    pub(crate) bench: Bench,
    /// Two hosts and a cable, if there are.
    pub(crate) network: Option<Arc<Network>>,
    /// Where the packets are captured; `None` where they are not.
    pub(crate) interface: Option<&'static str>,
    /// What is missing, and why.
    pub(crate) notes: Vec<String>,
    place: Place,
    own: Option<Own>,
}

/// What client and server stand on.
enum Place {
    Network,
    Loopback,
    Elsewhere(String),
}

/// The servers in this process.
struct Own {
    runtime: Runtime,
    stops: Vec<oneshot::Sender<()>>,
}

impl Ground {
    /// Our own server with the demo model: in a network of our own where that is allowed, else on loopback.
    pub(crate) fn own(settings: &Settings, pace: Duration, network: Result<Network, String>) -> Result<Self> {
        let mut notes = Vec::new();
        let (network, address) = match network {
            Ok(network) => (Some(Arc::new(network)), End::Far.ipv4()),
            Err(why) => {
                notes.push(why);
                (None, IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
        };
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(THREADS).enable_all().build()?;
        let bind = || {
            let _context = runtime.enter();
            server::bind(SocketAddr::new(address, 0)).with_context(|| format!("cannot listen on {address}"))
        };
        let bind = || match &network {
            Some(network) => network.at(End::Far, bind)?,
            None => bind(),
        };
        let (stamps, names) = (Stamps::default(), [address.to_string()]);
        let (clear, encrypted) = (bind()?, bind()?);
        let tls = Arc::new(certificate::for_names(&names)?);
        let trust = Trust::Fingerprint(tls.fingerprint());
        let doors = [&clear, &encrypted].map(|listener| listener.local_addr().map(door));
        let [clear_door, encrypted_door] = doors;
        let mut own = Own { runtime, stops: Vec::new() };
        own.serve(settings, pace, clear, None, &stamps)?;
        own.serve(settings, pace, encrypted, Some(tls), &stamps)?;
        let interface = if network.is_some() { End::Near.interface() } else { "lo" };
        let recorder = match Recorder::start(&Config { interface: Some(interface.to_owned()), ..Config::default() }, PACKETS) {
            Ok(recorder) => Some(Arc::new(recorder)),
            Err(unable) => {
                notes.push(format!("Packets are not captured: {unable}."));
                None
            }
        };
        let bench = Bench {
            clear: Some(clear_door?),
            encrypted: Some((encrypted_door?, address.to_string(), trust)),
            key: None,
            stamps: Some(stamps),
            processor: Some(Arc::new(processor)),
            recorder: recorder.clone(),
            sockets: Some(sockets(network.clone())),
        };
        let place = if network.is_some() { Place::Network } else { Place::Loopback };
        Ok(Self { bench, network, interface: recorder.map(|_| interface), notes, place, own: Some(own) })
    }

    /// A server elsewhere, in clear or through TLS as its address says.
    pub(crate) fn elsewhere(place: &Address, trust: Trust, key: Option<String>, addresses: &[SocketAddr]) -> Result<Self> {
        let address = *addresses.first().with_context(|| format!("{place} has no address"))?;
        let mut notes = vec![
            "The model is elsewhere: when it said a token is not known, and neither is the server's processor time.".to_owned(),
            "The packets are those of this machine's end: a network card may join and split them (offloads), and a proxy may be in between.".to_owned(),
        ];
        let config = Config { port: Some(address.port()), ..Config::default() };
        let recorder = match Recorder::start(&config, PACKETS) {
            Ok(recorder) => Some(Arc::new(recorder)),
            Err(unable) => {
                notes[1] = format!("Packets are not captured: {unable}.");
                None
            }
        };
        let door = Door { address, authority: place.authority(), prefix: place.prefix.clone() };
        let (clear, encrypted) = if place.is_encrypted { (None, Some((door, place.host.clone(), trust))) } else { (Some(door), None) };
        let bench = Bench { clear, encrypted, key, stamps: None, processor: None, recorder: recorder.clone(), sockets: None };
        Ok(Self { bench, network: None, interface: recorder.map(|_| "any"), notes, place: Place::Elsewhere(place.to_string()), own: None })
    }

    /// What client and server stand on, for people.
    pub(crate) fn place(&self) -> Bilingual {
        match &self.place {
            Place::Network => Bilingual::new(
                "Client and server are two hosts in a network of their own (Linux namespaces), joined by a cable with Ethernet's MTU of 1500 and without offloads: \
                 nothing else is on the wire, and every packet was captured at the client's end.",
                "客户端与服务器是独立网络（Linux 命名空间）中的两台主机，以 MTU 1500、关闭卸载功能的虚拟以太网线相连：线上没有其他流量，所有数据包都在客户端一侧捕获。",
            ),
            Place::Elsewhere(url) => Bilingual::new(format!("The server is {url}."), format!("服务器是 {url}。")),
            Place::Loopback => {
                Bilingual::new("Client and server are on one machine, on loopback.", "客户端与服务器在同一台机器上，经由回环接口。")
            }
        }
    }

    /// Ends what was started.
    pub(crate) fn close(self) {
        if let Some(Own { runtime, stops }) = self.own {
            drop(stops);
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

fn door(address: SocketAddr) -> Door {
    Door { address, authority: address.to_string(), prefix: String::new() }
}

impl Own {
    fn serve(&mut self, settings: &Settings, pace: Duration, listener: TcpListener, tls: Option<Arc<Tls>>, stamps: &Stamps) -> Result<()> {
        let mut server = settings.server.clone();
        server.listen = listener.local_addr()?;
        server.hosts.push(server.listen.ip().to_string());
        let demo = provider::config::DemoConfig { enabled: true, tokens_per_second: 1.0 / pace.as_secs_f64() };
        let provider = provider::Config { demo, ..provider::Config::default() };
        let keys = Arc::new(MemoryKeys::default());
        let mut blueprint = Blueprint::in_memory(server, settings.engine.clone(), provider, keys);
        blueprint.shutdown = shutdown::Config { delay: Duration::ZERO, spread: Duration::ZERO, grace: Duration::ZERO };
        (blueprint.tls, blueprint.listener, blueprint.stamps) = (tls, Some(listener), Some(stamps.clone()));
        let weir = self.runtime.block_on(Weir::assemble(blueprint))?;
        let (stop, stopped) = oneshot::channel::<()>();
        self.stops.push(stop);
        let tasks = Tasks::new();
        let _context = self.runtime.enter();
        tasks.spawn("compared", async {
            // What does not end in time ends with the process.
            let _left = weir.serve(async { drop(stopped.await) }).await;
        });
        Ok(())
    }
}

/// How long the server's threads have run: the first field of `/proc/…/schedstat` (proc(5)), in nanoseconds.
fn processor() -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread that ends meanwhile has no files any more.
        let read = |file: &str| fs::read_to_string(thread.path().join(file)).ok();
        let Some(name) = read("comm").filter(|name| name.starts_with(THREADS)) else { continue };
        let time = read("schedstat").and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        nanoseconds += time.with_context(|| name).ok()?;
    }
    Some(Duration::from_nanos(nanoseconds)).filter(|time| !time.is_zero())
}

/// The kernel's tables of sockets, of both hosts where there are two.
fn sockets(network: Option<Arc<Network>>) -> Arc<dyn Fn() -> String + Send + Sync> {
    let table = || fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
    Arc::new(move || match &network {
        Some(network) => [End::Near, End::Far].map(|end| network.at(end, table).unwrap_or_default()).concat(),
        None => table(),
    })
}
