//! Virtual Ethernet (veth(4)) and its addresses, by route netlink (rtnetlink(7)), in the namespace
//! of the thread that calls.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use super::end::MTU;
use super::error::NamespaceError;
use super::message::NetlinkMessage;
use crate::system::{netlink, packet};

// Of an interface (linux/if_link.h, linux/veth.h).
const HARDWARE_ADDRESS: u16 = 1;
const NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_INFO: u16 = 18;
const OF_FAMILIES: u16 = 26;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const NAMESPACE: u16 = 28;
const PEER: u16 = 1;
const GENERATION_OF_ADDRESSES: u16 = 8;
const NONE: u8 = 1;
// Of an address (linux/if_addr.h). It is used at once, instead of asking first whether another has
// it.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const NO_DETECTION: u8 = 0x02;
// Of a neighbour (linux/neighbour.h).
const NEIGHBOUR: u16 = 1;
const NEIGHBOUR_HARDWARE_ADDRESS: u16 = 2;
const PERMANENT: u16 = 0x80;
// Of families, as Linux numbers them.
const INET: u8 = 2;
const INET6: u8 = 10;

/// Sums of packets by hand, and packets as long as the cable takes: ETHTOOL_SRXCSUM, STXCSUM, STSO,
/// SGSO, SGRO (linux/ethtool.h).
const OFFLOADS: [u32; 5] = [0x15, 0x17, 0x1F, 0x24, 0x2C];

/// One end of a cable that does not exist yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct VethEnd {
    /// The name of the interface.
    pub(super) name: &'static str,
    /// Its address on Ethernet; `None` for one by chance.
    pub(super) hardware_address: Option<[u8; 6]>,
}

/// Makes a cable from here to another namespace.
pub(super) fn connect(
    here: VethEnd,
    there: VethEnd,
    namespace: &File,
) -> Result<(), NamespaceError> {
    let namespace = u32::try_from(namespace.as_raw_fd()).unwrap_or_default();
    let cable = with_plug(NetlinkMessage::create(libc::RTM_NEWLINK, &interface(0, 0)), here);
    let cable = cable.nested(LINK_INFO, &[], |info| {
        info.text(INFO_KIND, "veth").nested(INFO_DATA, &[], |data| {
            data.nested(PEER, &interface(0, 0), |peer| {
                with_plug(peer, there).number(NAMESPACE, namespace)
            })
        })
    });
    cable.send().map_err(|error| NamespaceError::new("virtual Ethernet (veth)", error))
}

fn with_plug(message: NetlinkMessage, plug: VethEnd) -> NetlinkMessage {
    let message = message.text(NAME, plug.name).number(LINK_MTU, MTU);
    match plug.hardware_address {
        None => message,
        Some(address) => message.attribute(HARDWARE_ADDRESS, &address),
    }
}

/// Removes an interface, and with it the other end of its cable, wherever that is.
pub(super) fn remove(name: &str) -> Result<(), NamespaceError> {
    NetlinkMessage::change(libc::RTM_DELLINK, &interface(index_of(name)?, 0))
        .send()
        .map_err(|error| NamespaceError::new("removing an interface", error))
}

/// Makes it send what it is given: with its sum, and no longer than the cable takes.
pub(super) fn switch_offloads_off(name: &str) -> Result<(), NamespaceError> {
    OFFLOADS.iter().try_for_each(|offload| {
        netlink::set_feature(name, *offload, 0)
            .map_err(|error| NamespaceError::new("switching offloads off", error))
    })
}

/// Lets it have no address of IPv6 but those it is given, so that it does not ask for routers and
/// neighbours on its own (RFC 4861, section 6.3.7). It has to be asked before the interface is on.
pub(super) fn silence(name: &str) -> Result<(), NamespaceError> {
    let message = NetlinkMessage::change(libc::RTM_NEWLINK, &interface(index_of(name)?, 0));
    let message = message.nested(OF_FAMILIES, &[], |families| {
        families.nested(u16::from(INET6), &[], |inet6| {
            inet6.attribute(GENERATION_OF_ADDRESSES, &[NONE])
        })
    });
    unless_without_ipv6(message.send())
        .map_err(|error| NamespaceError::new("an interface without an address", error))
}

/// Switches it on.
pub(super) fn switch_on(name: &str) -> Result<(), NamespaceError> {
    let message = NetlinkMessage::change(
        libc::RTM_NEWLINK,
        &interface(index_of(name)?, libc::IFF_UP.cast_unsigned()),
    );
    message.send().map_err(|error| NamespaceError::new("switching an interface on", error))
}

/// Gives it an address, and the network around that.
pub(super) fn add_address(name: &str, address: IpAddr) -> Result<(), NamespaceError> {
    let (family, octets) = family_and_octets(address);
    let (prefix, flags) = if address.is_ipv6() { (64, NO_DETECTION) } else { (24, 0) };
    let [a, b, c, d] = index_of(name)?.to_ne_bytes();
    let body = [family, prefix, flags, 0, a, b, c, d]; // `struct ifaddrmsg`
    let sent = NetlinkMessage::create(libc::RTM_NEWADDR, &body)
        .attribute(LOCAL, &octets)
        .attribute(ADDRESS, &octets)
        .send();
    if address.is_ipv6() { unless_without_ipv6(sent) } else { sent }
        .map_err(|error| NamespaceError::new("an address", error))
}

/// Adds a permanent neighbour entry, so that no ARP (RFC 826) or neighbour discovery (RFC 4861) is
/// needed.
pub(super) fn add_neighbour(
    name: &str,
    address: IpAddr,
    hardware_address: [u8; 6],
) -> Result<(), NamespaceError> {
    let (family, octets) = family_and_octets(address);
    let mut body = [0; 12]; // `struct ndmsg`
    body[0] = family;
    body[4..8].copy_from_slice(&index_of(name)?.to_ne_bytes());
    body[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
    let message = NetlinkMessage::create(libc::RTM_NEWNEIGH, &body);
    let sent = message
        .attribute(NEIGHBOUR, &octets)
        .attribute(NEIGHBOUR_HARDWARE_ADDRESS, &hardware_address)
        .send();
    if address.is_ipv6() { unless_without_ipv6(sent) } else { sent }
        .map_err(|error| NamespaceError::new("a neighbour", error))
}

/// A kernel without IPv6 is good enough.
fn unless_without_ipv6(sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EACCES)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn index_of(name: &str) -> Result<u32, NamespaceError> {
    packet::interface_index(name).map_err(|error| NamespaceError::new("the interface", error))
}

fn family_and_octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (INET, address.octets().to_vec()),
        IpAddr::V6(address) => (INET6, address.octets().to_vec()),
    }
}

/// `struct ifinfomsg`
fn interface(index: u32, flags: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&flags.to_ne_bytes()); // which flags change
    body
}
