//! Two namespaces and a veth pair (veth(4)), by route netlink.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use super::message::Message;
use super::{End, MTU, Path, Unable};
use crate::system::{netlink, packet, process};

/// Two hosts and a cable. The near one is where the process is; threads may go to the far one for a moment.
#[derive(Debug)]
pub struct Network {
    near: File,
    far: File,
}

// Of an interface (rtnetlink(7), linux/if_link.h, linux/veth.h).
const NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const NAMESPACE: u16 = 28;
const PEER: u16 = 1;
// Of an address (linux/if_addr.h). It is used at once, instead of asking first whether another has it.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const NO_DETECTION: u8 = 0x02;
// Of a queue (linux/rtnetlink.h, linux/pkt_sched.h).
const QUEUE_KIND: u16 = 1;
const QUEUE_OPTIONS: u16 = 2;
const ROOT: u32 = 0xFFFF_FFFF;
const NETEM_RATE: u16 = 6;
const NETEM_DELAY: u16 = 10;
const TBF_PARAMETERS: u16 = 1;
const TBF_BURST: u16 = 6;

/// Sums of packets by hand, and packets as long as the cable takes: ETHTOOL_SRXCSUM, STXCSUM, STSO, SGSO, SGRO (linux/ethtool.h).
const OFFLOADS: [u32; 5] = [0x15, 0x17, 0x1F, 0x24, 0x2C];

/// How many packets wait at most where there is a delay or a narrower path.
const QUEUE_PACKETS: u32 = 1000;

impl Network {
    /// Leaves the network of the system for two hosts of our own. For good, and before any thread is started: call it first
    /// in `main`. Files remain as they were, and so do the rights on them.
    pub fn enter() -> Result<Self, Unable> {
        let (user, group) = process::user_and_group();
        process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => Unable::Threads,
            _ => Unable::new("user and network namespaces", error),
        })?;
        // A group may be mapped only by who can no longer give groups up (user_namespaces(7)).
        let write = |file: &'static str, text: String| fs::write(file, text).map_err(|error| Unable::new("a user in a namespace", error));
        write("/proc/self/setgroups", "deny".to_owned())?;
        write("/proc/self/uid_map", format!("0 {user} 1"))?;
        write("/proc/self/gid_map", format!("0 {group} 1"))?;
        let near = here()?;
        process::unshare(libc::CLONE_NEWNET).map_err(|error| Unable::new("a second network namespace", error))?;
        let network = Self { far: here()?, near };
        switch_on("lo")?;
        process::enter_network(network.near.as_fd()).map_err(|error| Unable::new("going back to a namespace", error))?;
        switch_on("lo")?;
        network.connect()?;
        Ok(network)
    }

    /// Does something with this thread at an end: what it opens there stays there, as a socket does, and so does a thread that
    /// it starts there. Other threads do not notice. It must not be left in the middle, as `await` would.
    pub fn at<T>(&self, end: End, work: impl FnOnce() -> T) -> Result<T, Unable> {
        let before = here()?;
        let failed = |error| Unable::new("going to a namespace", error);
        process::enter_network(self.namespace(end).as_fd()).map_err(failed)?;
        let _return = Return(before);
        Ok(work())
    }

    /// Makes a program begin at an end, when it is started. The network has to live until then.
    pub fn start_at(&self, end: End, command: &mut Command) {
        process::start_in_network(command, self.namespace(end).as_fd());
    }

    /// Gives what leaves an end a delay, or a narrower path. Once for each end.
    pub fn shape(&self, end: End, path: Path) -> Result<(), Unable> {
        self.at(end, || {
            let index = packet::interface_index(end.interface()).map_err(|error| Unable::new("the interface", error))?;
            match path {
                Path { delay, bytes_per_second: None } if delay.is_zero() => Ok(()),
                Path { delay, bytes_per_second: Some(rate) } if delay.is_zero() => token_bucket(index, rate),
                Path { .. } => delay_line(index, path),
            }
        })?
    }

    fn namespace(&self, end: End) -> &File {
        match end {
            End::Near => &self.near,
            End::Far => &self.far,
        }
    }

    fn connect(&self) -> Result<(), Unable> {
        let far = u32::try_from(self.far.as_raw_fd()).unwrap_or_default();
        let cable = Message::create(libc::RTM_NEWLINK, &interface(0, 0)).text(NAME, End::Near.interface()).number(LINK_MTU, MTU).nested(
            LINK_INFO,
            &[],
            |info| {
                info.text(INFO_KIND, "veth").nested(INFO_DATA, &[], |data| {
                    data.nested(PEER, &interface(0, 0), |peer| {
                        peer.text(NAME, End::Far.interface()).number(LINK_MTU, MTU).number(NAMESPACE, far)
                    })
                })
            },
        );
        cable.send().map_err(|error| Unable::new("virtual Ethernet (veth)", error))?;
        for end in [End::Near, End::Far] {
            self.at(end, || set_up(end))??;
        }
        Ok(())
    }
}

/// The way back, also when the work panics: a thread may not remain elsewhere.
struct Return(File);

impl Drop for Return {
    fn drop(&mut self) {
        // It was there a moment ago, so there is no reason to fail.
        let _ = process::enter_network(self.0.as_fd());
    }
}

/// The network namespace of this thread.
fn here() -> Result<File, Unable> {
    File::open("/proc/thread-self/ns/net").map_err(|source| Unable::Failed { what: "looking at the namespace", source })
}

/// `struct ifinfomsg`
fn interface(index: u32, flags: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&flags.to_ne_bytes()); // which flags change
    body
}

fn switch_on(name: &str) -> Result<(), Unable> {
    let failed = |error| Unable::new("switching an interface on", error);
    let index = packet::interface_index(name).map_err(failed)?;
    Message::change(libc::RTM_NEWLINK, &interface(index, libc::IFF_UP.cast_unsigned())).send().map_err(failed)
}

fn set_up(end: End) -> Result<(), Unable> {
    let name = end.interface();
    for offload in OFFLOADS {
        netlink::set_feature(name, offload, 0).map_err(|error| Unable::new("switching offloads off", error))?;
    }
    switch_on(name)?;
    let index = packet::interface_index(name).map_err(|error| Unable::new("the interface", error))?;
    match add_address(index, end.ipv6(), 64) {
        // A kernel without IPv6 is good enough.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EACCES)) => {}
        other => other.map_err(|error| Unable::new("an address of IPv6", error))?,
    }
    add_address(index, end.ipv4(), 24).map_err(|error| Unable::new("an address of IPv4", error))
}

fn add_address(index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    // AF_INET and AF_INET6.
    let (family, octets) = match address {
        IpAddr::V4(address) => (2_u8, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    };
    let flags = if address.is_ipv6() { NO_DETECTION } else { 0 };
    let [a, b, c, d] = index.to_ne_bytes();
    let body = [family, prefix, flags, 0, a, b, c, d]; // `struct ifaddrmsg`
    Message::create(libc::RTM_NEWADDR, &body).attribute(LOCAL, &octets).attribute(ADDRESS, &octets).send()
}

/// `struct tcmsg`, for the queue of an interface.
fn queue(index: u32) -> [u8; 20] {
    let mut body = [0; 20];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[12..16].copy_from_slice(&ROOT.to_ne_bytes());
    body
}

/// netem (tc-netem(8)): a delay, and the rate with it.
fn delay_line(index: u32, path: Path) -> Result<(), Unable> {
    let mut options = [0; 24]; // `struct tc_netem_qopt`
    options[4..8].copy_from_slice(&QUEUE_PACKETS.to_ne_bytes());
    let nanoseconds = i64::try_from(path.delay.as_nanos()).unwrap_or(i64::MAX);
    let rate = [path.bytes_per_second.unwrap_or(0), 0, 0, 0].map(u32::to_ne_bytes).concat(); // `struct tc_netem_rate`
    let message = Message::create(libc::RTM_NEWQDISC, &queue(index)).text(QUEUE_KIND, "netem");
    let message = message.nested(QUEUE_OPTIONS, &options, |options| {
        let delayed = options.attribute(NETEM_DELAY, &nanoseconds.to_ne_bytes());
        if path.bytes_per_second.is_some() { delayed.attribute(NETEM_RATE, &rate) } else { delayed }
    });
    message.send().map_err(|error| Unable::new("artificial delay (sch_netem)", error))
}

/// tbf (tc-tbf(8)): a rate alone, for kernels that have no netem.
fn token_bucket(index: u32, bytes_per_second: u32) -> Result<(), Unable> {
    // A hundredth of a second, but two packets at least, may pass at once.
    let burst = (bytes_per_second / 100).max(2 * (MTU + 14));
    let mut parameters = [0; 36]; // `struct tc_tbf_qopt`
    parameters[1] = 1; // TC_LINKLAYER_ETHERNET, so that no table of sizes is needed
    parameters[8..12].copy_from_slice(&bytes_per_second.to_ne_bytes());
    parameters[24..28].copy_from_slice(&(QUEUE_PACKETS * MTU).to_ne_bytes());
    let message = Message::create(libc::RTM_NEWQDISC, &queue(index)).text(QUEUE_KIND, "tbf");
    let message = message.nested(QUEUE_OPTIONS, &[], |options| options.attribute(TBF_PARAMETERS, &parameters).number(TBF_BURST, burst));
    message.send().map_err(|error| Unable::new("artificial bandwidth (sch_tbf)", error))
}
