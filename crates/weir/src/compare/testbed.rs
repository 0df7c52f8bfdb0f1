//! Where the measurement runs: a private network with two hosts, loopback, or a server elsewhere.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use client::Trust;
use lab::bilingual::Bilingual;
use lab::run::{Harness, ServerAddress, ShapedRoute};
use lab::stamps::Stamps;
use lens::capture::PacketRecorder;
use lens::capture::config::Config;
use lens::namespace::NamespaceNetwork;
use lens::namespace::end::NetworkEnd;
use lens::namespace::link::settings::LinkSettings;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::local_server::{LocalServerOptions, LocalServers, processor};
use crate::address::Address;
use crate::config::settings::Settings;

/// The longest wait for a server; the time of the model's own pace is added.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The capture buffer in bytes: larger than the packets of the longest cell.
const CAPTURE_BUFFER: usize = 256 << 20;

/// The servers under test, and how they are observed.
pub(crate) struct TestBed {
    /// For the client.
    pub(crate) harness: Harness,
    /// The interface of the capture; `None` without one.
    pub(crate) interface: Option<&'static str>,
    /// What is missing, and why.
    pub(crate) notes: Vec<Bilingual>,
    location: Location,
    own: Option<LocalServers>,
}

/// What connects client and server.
enum Location {
    /// A virtual cable.
    Cable,
    /// A virtual path with a delay and a bandwidth.
    Road(LinkSettings),
    Loopback,
    Elsewhere(String),
}

/// How the local servers are reached.
pub(crate) struct LocalOptions {
    /// The private network, or why there is none.
    pub(crate) network: Result<NamespaceNetwork, Bilingual>,
    /// The delay and bandwidth between the hosts.
    pub(crate) path: LinkSettings,
    /// The pause between two tokens.
    pub(crate) pace: Duration,
}

impl TestBed {
    /// Local servers with the demo model: in a private network if that is permitted, otherwise on
    /// loopback.
    pub(crate) fn own(settings: &Settings, options: LocalOptions) -> Result<Self> {
        match options.network {
            Ok(network) => {
                Self::in_network(settings, &Arc::new(network), options.path, options.pace)
            }
            Err(why) => Self::on_loopback(settings, why, options.pace),
        }
    }

    fn in_network(
        settings: &Settings,
        network: &Arc<NamespaceNetwork>,
        path: LinkSettings,
        pace: Duration,
    ) -> Result<Self> {
        let is_shaped = path != LinkSettings::default();
        let road = Arc::new(network.emulated_link(path)?);
        let (address, interface) = if is_shaped {
            (NetworkEnd::Far.link_ipv4(), NetworkEnd::Near.link_interface())
        } else {
            (NetworkEnd::Far.ipv4(), NetworkEnd::Near.interface())
        };
        let stamps = Stamps::default();
        let (listen, addresses) = (
            Ipv4Addr::UNSPECIFIED.into(),
            vec![NetworkEnd::Far.ipv4(), NetworkEnd::Far.link_ipv4()],
        );
        let options =
            LocalServerOptions { settings, pace, listen, addresses, stamps: stamps.clone() };
        let own = LocalServers::start(&options, |bind| network.at(NetworkEnd::Far, bind)?)?;
        let mut notes = Vec::new();
        let recorder = recorder(
            &Config { interface: Some(interface.to_owned()), ..Config::default() },
            &mut notes,
        );
        let mut harness = harness(&own, address, stamps, recorder.clone());
        let hosts = Arc::clone(network);
        harness.sockets = Some(Arc::new(move || {
            NetworkEnd::BOTH.map(|end| hosts.at(end, sockets).unwrap_or_default()).concat()
        }));
        // The losses happen on the emulated link, wherever the cells run.
        let link_config = Config {
            interface: Some(NetworkEnd::Near.link_interface().to_owned()),
            ..Config::default()
        };
        let link_recorder = match &recorder {
            Some(_) if !is_shaped => self::recorder(&link_config, &mut notes),
            _ => None,
        };
        harness.road = Some(ShapedRoute {
            road,
            path,
            recorder: link_recorder,
            server: server_address(SocketAddr::new(NetworkEnd::Far.link_ipv4(), own.ports[0])),
        });
        let location = if is_shaped { Location::Road(path) } else { Location::Cable };
        Ok(Self {
            harness,
            interface: recorder.map(|_| interface),
            notes,
            location,
            own: Some(own),
        })
    }

    fn on_loopback(settings: &Settings, why: Bilingual, pace: Duration) -> Result<Self> {
        let (stamps, address) = (Stamps::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let options = LocalServerOptions {
            settings,
            pace,
            listen: address,
            addresses: vec![address],
            stamps: stamps.clone(),
        };
        let own = LocalServers::start(&options, |bind| bind())?;
        let mut notes = vec![why];
        let recorder =
            recorder(&Config { interface: Some("lo".to_owned()), ..Config::default() }, &mut notes);
        let mut harness = harness(&own, address, stamps, recorder.clone());
        harness.sockets = Some(Arc::new(sockets));
        Ok(Self {
            harness,
            interface: recorder.map(|_| "lo"),
            notes,
            location: Location::Loopback,
            own: Some(own),
        })
    }

    /// A server elsewhere, with or without TLS as its address says.
    pub(crate) async fn elsewhere(
        place: &Address,
        trust: Trust,
        key: Option<String>,
    ) -> Result<Self> {
        let address = reach(place).await?;
        let mut notes = vec![Bilingual::new(
            "The model is elsewhere: when it said a token is not known, and neither is the server's processor time. What came in pieces counts as tokens.",
            "模型在别处：它何时给出 token、服务器的处理器时间均不可知；收到的每一段计为一个 token。",
        )];
        let recorder =
            recorder(&Config { port: Some(address.port()), ..Config::default() }, &mut notes);
        if recorder.is_some() {
            notes.push(Bilingual::new(
                "The packets are those of this machine's end: a network card may join and split them (offloads), and a proxy may be in between.",
                "数据包取自本机一端：网卡可能合并或拆分它们（offload），中间也可能有代理。",
            ));
        }
        if key.is_some() {
            notes.push(Bilingual::new(
                "A key is shown: of the client's packets only the heads are in capture.pcapng, and no keys of TLS.",
                "请求中带有密钥：capture.pcapng 只保留客户端数据包的头部，且不含 TLS 密钥。",
            ));
        }
        let server_address =
            ServerAddress { address, authority: place.authority(), prefix: place.prefix.clone() };
        let (clear, encrypted) = if place.is_encrypted {
            (None, Some((server_address, place.host.clone(), trust)))
        } else {
            (Some(server_address), None)
        };
        let harness = Harness {
            clear,
            encrypted,
            key,
            timeout: TIMEOUT,
            stamps: None,
            processor: None,
            recorder: recorder.clone(),
            sockets: None,
            road: None,
        };
        Ok(Self {
            harness,
            interface: recorder.map(|_| "any"),
            notes,
            location: Location::Elsewhere(place.to_string()),
            own: None,
        })
    }

    /// Describes what connects client and server.
    pub(crate) fn place(&self) -> Bilingual {
        let hosts = Bilingual::new(
            "Client and server are two hosts in a network of their own (Linux namespaces), with Ethernet's MTU of 1500 and without offloads: nothing else is on \
             the wire, and every packet was captured at the client's end.",
            "客户端与服务器是独立网络（Linux 命名空间）中的两台主机，MTU 1500，并关闭网卡的分段与合并（offload）：线上没有其他流量，所有数据包都在客户端一侧捕获。",
        );
        match &self.location {
            Location::Cable => hosts,
            Location::Road(path) => {
                let delay = path.delay.as_millis();
                let (rate_en, rate_zh) = match path.bytes_per_second {
                    Some(rate) => (
                        format!(", and {} KB pass each second", rate.get() / 1000),
                        format!("，每秒通过 {} KB", rate.get() / 1000),
                    ),
                    None => (String::new(), String::new()),
                };
                Bilingual::new(
                    format!(
                        "{} Between them a packet takes {delay} ms in each direction{rate_en}.",
                        hosts.en
                    ),
                    format!("{}两者之间每个方向的数据包需要 {delay} 毫秒{rate_zh}。", hosts.zh),
                )
            }
            Location::Elsewhere(url) => {
                Bilingual::new(format!("The server is {url}."), format!("服务器是 {url}。"))
            }
            Location::Loopback => Bilingual::new(
                "Client and server are on one machine, on loopback.",
                "客户端与服务器在同一台机器上，经由回环接口。",
            ),
        }
    }

    /// Stops the local servers.
    pub(crate) fn close(self) {
        if let Some(own) = self.own {
            own.stop();
        }
    }
}

fn harness(
    own: &LocalServers,
    address: IpAddr,
    stamps: Stamps,
    recorder: Option<Arc<PacketRecorder>>,
) -> Harness {
    let [clear, encrypted] = own.ports.map(|port| server_address(SocketAddr::new(address, port)));
    let trust = Trust::Fingerprint(own.fingerprint.clone());
    Harness {
        clear: Some(clear),
        encrypted: Some((encrypted, address.to_string(), trust)),
        key: None,
        timeout: TIMEOUT,
        stamps: Some(stamps),
        processor: Some(Arc::new(processor)),
        recorder,
        sockets: None,
        road: None,
    }
}

fn server_address(address: SocketAddr) -> ServerAddress {
    ServerAddress { address, authority: address.to_string(), prefix: String::new() }
}

/// The first of a server's addresses that accepts a connection.
async fn reach(place: &Address) -> Result<SocketAddr> {
    let addresses = lookup_host((place.host.as_str(), place.port))
        .await
        .with_context(|| format!("{place} is not found"))?;
    let mut refused = anyhow!("{place} has no address");
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(address),
            Ok(Err(error)) => refused = anyhow!("cannot reach {place} at {address}: {error}"),
            Err(_) => {
                refused = anyhow!("cannot reach {place} at {address}: it did not respond in time");
            }
        }
    }
    Err(refused)
}

/// The packet capture, or a note why there is none.
fn recorder(config: &Config, notes: &mut Vec<Bilingual>) -> Option<Arc<PacketRecorder>> {
    match PacketRecorder::start(config, CAPTURE_BUFFER) {
        Ok(recorder) => Some(Arc::new(recorder)),
        Err(error) => {
            notes.push(Bilingual::new(
                format!("Packets are not captured: {error}."),
                format!("未抓包：{error}。"),
            ));
            None
        }
    }
}

/// The kernel's table of sockets in the network namespace of this thread.
fn sockets() -> String {
    fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default()
}
