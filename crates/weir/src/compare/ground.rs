//! Where the measurement takes place: a network of our own with two hosts, loopback, or wherever a server is.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lab::client::Trust;
use lab::compare::claims::Bilingual;
use lab::compare::run::{Bench, Door, RoadDoor};
use lab::compare::stamps::Stamps;
use lens::capture::Recorder;
use lens::capture::config::Config;
use lens::namespace::Network;
use lens::namespace::end::End;
use lens::namespace::road::path::Path;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::own::{Own, Wanted, processor};
use crate::address::Address;
use crate::config::settings::Settings;

/// A server that says nothing for so long will not; the time that the model's own pace takes comes on top.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a connection may take to stand.
const REACHING: Duration = Duration::from_secs(10);

/// Packets that wait to be looked at, in bytes: more than the longest cell has.
const PACKETS: usize = 256 << 20;

/// The place, and what is known of it.
pub(crate) struct Ground {
    /// For the client.
    pub(crate) bench: Bench,
    /// Where the packets are captured; `None` where they are not.
    pub(crate) interface: Option<&'static str>,
    /// What is missing, and why.
    pub(crate) notes: Vec<Bilingual>,
    place: Place,
    own: Option<Own>,
}

/// What client and server stand on.
enum Place {
    /// Joined by a cable.
    Cable,
    /// Joined by a road, on which packets take their time.
    Road(Path),
    Loopback,
    Elsewhere(String),
}

/// How our own server is to be reached.
pub(crate) struct Way {
    /// Two hosts, or why there are none.
    pub(crate) network: Result<Network, Bilingual>,
    /// What packets suffer.
    pub(crate) path: Path,
    /// The pause between two tokens.
    pub(crate) pace: Duration,
}

impl Ground {
    /// Our own server with the demo model: in a network of our own where that is allowed, else on loopback.
    pub(crate) fn own(settings: &Settings, way: Way) -> Result<Self> {
        match way.network {
            Ok(network) => Self::in_network(settings, &Arc::new(network), way.path, way.pace),
            Err(why) => Self::on_loopback(settings, why, way.pace),
        }
    }

    fn in_network(settings: &Settings, network: &Arc<Network>, path: Path, pace: Duration) -> Result<Self> {
        let is_shaped = path != Path::default();
        let road = Arc::new(network.road(path)?);
        let (address, interface) =
            if is_shaped { (End::Far.road_ipv4(), End::Near.road_interface()) } else { (End::Far.ipv4(), End::Near.interface()) };
        let stamps = Stamps::default();
        let (listen, addresses) = (Ipv4Addr::UNSPECIFIED.into(), vec![End::Far.ipv4(), End::Far.road_ipv4()]);
        let wanted = Wanted { settings, pace, listen, addresses, stamps: stamps.clone() };
        let own = Own::start(&wanted, |bind| network.at(End::Far, bind)?)?;
        let mut notes = Vec::new();
        let recorder = recorder(&Config { interface: Some(interface.to_owned()), ..Config::default() }, &mut notes);
        let mut bench = bench(&own, address, stamps, recorder.clone());
        let hosts = Arc::clone(network);
        bench.sockets = Some(Arc::new(move || End::BOTH.map(|end| hosts.at(end, sockets).unwrap_or_default()).concat()));
        bench.road = Some(RoadDoor { road, path, door: door(SocketAddr::new(End::Far.road_ipv4(), own.ports[0])) });
        let place = if is_shaped { Place::Road(path) } else { Place::Cable };
        Ok(Self { bench, interface: recorder.map(|_| interface), notes, place, own: Some(own) })
    }

    fn on_loopback(settings: &Settings, why: Bilingual, pace: Duration) -> Result<Self> {
        let (stamps, address) = (Stamps::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let wanted = Wanted { settings, pace, listen: address, addresses: vec![address], stamps: stamps.clone() };
        let own = Own::start(&wanted, |bind| bind())?;
        let mut notes = vec![why];
        let recorder = recorder(&Config { interface: Some("lo".to_owned()), ..Config::default() }, &mut notes);
        let mut bench = bench(&own, address, stamps, recorder.clone());
        bench.sockets = Some(Arc::new(sockets));
        Ok(Self { bench, interface: recorder.map(|_| "lo"), notes, place: Place::Loopback, own: Some(own) })
    }

    /// A server elsewhere, in clear or through TLS as its address says.
    pub(crate) async fn elsewhere(place: &Address, trust: Trust, key: Option<String>) -> Result<Self> {
        let address = reach(place).await?;
        let mut notes = vec![Bilingual::new(
            "The model is elsewhere: when it said a token is not known, and neither is the server's processor time. What came in pieces counts as tokens.",
            "模型在别处：它何时给出 token、服务器的处理器时间均不可知；收到的每一段计为一个 token。",
        )];
        let recorder = recorder(&Config { port: Some(address.port()), ..Config::default() }, &mut notes);
        if recorder.is_some() {
            notes.push(Bilingual::new(
                "The packets are those of this machine's end: a network card may join and split them (offloads), and a proxy may be in between.",
                "数据包取自本机一端：网卡可能合并或拆分它们（卸载功能），中间也可能有代理。",
            ));
        }
        if key.is_some() {
            notes.push(Bilingual::new(
                "A key is shown: of the client's packets only the heads are in capture.pcapng, and no keys of TLS.",
                "请求中带有密钥：capture.pcapng 只保留客户端数据包的头部，且不含 TLS 密钥。",
            ));
        }
        let door = Door { address, authority: place.authority(), prefix: place.prefix.clone() };
        let (clear, encrypted) = if place.is_encrypted { (None, Some((door, place.host.clone(), trust))) } else { (Some(door), None) };
        let bench = Bench {
            clear,
            encrypted,
            key,
            patience: PATIENCE,
            stamps: None,
            processor: None,
            recorder: recorder.clone(),
            sockets: None,
            road: None,
        };
        Ok(Self { bench, interface: recorder.map(|_| "any"), notes, place: Place::Elsewhere(place.to_string()), own: None })
    }

    /// What client and server stand on, for people.
    pub(crate) fn place(&self) -> Bilingual {
        let hosts = Bilingual::new(
            "Client and server are two hosts in a network of their own (Linux namespaces), with Ethernet's MTU of 1500 and without offloads: nothing else is on \
             the wire, and every packet was captured at the client's end.",
            "客户端与服务器是独立网络（Linux 命名空间）中的两台主机，MTU 1500，关闭卸载功能：线上没有其他流量，所有数据包都在客户端一侧捕获。",
        );
        match &self.place {
            Place::Cable => hosts,
            Place::Road(path) => {
                let delay = path.delay.as_millis();
                let (rate_en, rate_zh) = match path.bytes_per_second {
                    Some(rate) => {
                        (format!(", and {} KB pass each second", rate.get() / 1000), format!("，每秒通过 {} KB", rate.get() / 1000))
                    }
                    None => (String::new(), String::new()),
                };
                Bilingual::new(
                    format!("{} Between them a packet takes {delay} ms in each direction{rate_en}.", hosts.en),
                    format!("{}两者之间每个方向的数据包需要 {delay} 毫秒{rate_zh}。", hosts.zh),
                )
            }
            Place::Elsewhere(url) => Bilingual::new(format!("The server is {url}."), format!("服务器是 {url}。")),
            Place::Loopback => {
                Bilingual::new("Client and server are on one machine, on loopback.", "客户端与服务器在同一台机器上，经由回环接口。")
            }
        }
    }

    /// Ends what was started.
    pub(crate) fn close(self) {
        if let Some(own) = self.own {
            own.stop();
        }
    }
}

fn bench(own: &Own, address: IpAddr, stamps: Stamps, recorder: Option<Arc<Recorder>>) -> Bench {
    let [clear, encrypted] = own.ports.map(|port| door(SocketAddr::new(address, port)));
    let trust = Trust::Fingerprint(own.fingerprint.clone());
    Bench {
        clear: Some(clear),
        encrypted: Some((encrypted, address.to_string(), trust)),
        key: None,
        patience: PATIENCE,
        stamps: Some(stamps),
        processor: Some(Arc::new(processor)),
        recorder,
        sockets: None,
        road: None,
    }
}

fn door(address: SocketAddr) -> Door {
    Door { address, authority: address.to_string(), prefix: String::new() }
}

/// The first of a server's addresses that takes a connection.
async fn reach(place: &Address) -> Result<SocketAddr> {
    let addresses = lookup_host((place.host.as_str(), place.port)).await.with_context(|| format!("{place} is not found"))?;
    let mut refused = anyhow!("{place} has no address");
    for address in addresses {
        match timeout(REACHING, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(address),
            Ok(Err(error)) => refused = anyhow!("cannot reach {place} at {address}: {error}"),
            Err(_) => refused = anyhow!("cannot reach {place} at {address}: it did not answer in time"),
        }
    }
    Err(refused)
}

/// The packets, or a note why there are none.
fn recorder(config: &Config, notes: &mut Vec<Bilingual>) -> Option<Arc<Recorder>> {
    match Recorder::start(config, PACKETS) {
        Ok(recorder) => Some(Arc::new(recorder)),
        Err(unable) => {
            notes.push(Bilingual::new(format!("Packets are not captured: {unable}."), format!("未抓包：{unable}。")));
            None
        }
    }
}

/// The kernel's table of the sockets where this thread is.
fn sockets() -> String {
    fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default()
}
