//! A network of two hosts inside one process, without root: two network namespaces, a cable and a
//! link between them.
//!
//! On loopback segments are 64 KiB long and nothing is lost or late. On the cable they are what
//! they would be on Ethernet, and nothing else is on the wire. On the [`link`] they take their time
//! too, and some are lost. It needs Linux that lets users have namespaces (user_namespaces(7)),
//! with virtual Ethernet (veth(4)) and packet sockets (packet(7)), and nothing else.

pub mod end;
pub mod error;
#[cfg(target_os = "linux")]
mod interface;
pub mod link;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod message;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(target_os = "linux")]
mod visit;

#[cfg(target_os = "linux")]
pub use linux::NamespaceNetwork;
#[cfg(not(target_os = "linux"))]
pub use other::NamespaceNetwork;
