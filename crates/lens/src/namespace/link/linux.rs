//! How an emulated link is built, changed and removed, on Linux.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::counts::FrameCounts;
use super::relay::FrameRelay;
use super::settings::{LinkSettings, LossTarget, LostFrame};
use crate::namespace::end::NetworkEnd;
use crate::namespace::error::NamespaceError;
use crate::namespace::interface::{self, VethEnd};
use crate::namespace::visit;

/// An emulated link that is there until it is dropped; what is under way then is lost.
#[derive(Debug)]
pub struct EmulatedLink {
    relay: Arc<FrameRelay>,
    thread: Option<JoinHandle<io::Result<()>>>,
    // The last, so that the interfaces go when nobody uses them any more.
    _middle: Middle,
}

/// A segment that is to be lost, or has been.
#[must_use = "it reports whether the segment was lost"]
#[derive(Debug)]
pub struct PendingLoss(Receiver<LostFrame>);

impl EmulatedLink {
    /// Builds an emulated link between two namespaces.
    pub(in crate::namespace) fn build(
        near: &File,
        far: &File,
        settings: LinkSettings,
    ) -> Result<Self, NamespaceError> {
        let namespace = |end: NetworkEnd| match end {
            NetworkEnd::Near => near,
            NetworkEnd::Far => far,
        };
        let middle = Middle(visit::create("a third network namespace")?);
        for end in NetworkEnd::BOTH {
            visit::inside(namespace(end), || {
                interface::connect(plug(end), middle_plug(end), &middle.0)
            })??;
            // In this order: the middle must not send anything to the end.
            visit::inside(&middle.0, || set_up(middle_plug(end).name))??;
            visit::inside(namespace(end), || {
                set_up(end.link_interface()).and_then(|()| give_addresses(end))
            })??;
        }
        let names = NetworkEnd::BOTH.map(|end| middle_plug(end).name);
        let relay = Arc::new(visit::inside(&middle.0, || FrameRelay::new(names, settings))??);
        let shared = Arc::clone(&relay);
        let thread = Builder::new().name("link".to_owned()).spawn(move || shared.run());
        let thread =
            thread.map_err(|source| NamespaceError::Failed { what: "a thread", source })?;
        Ok(Self { relay, thread: Some(thread), _middle: middle })
    }

    /// Changes the settings for what leaves an end: of frames that have not come to the bottleneck yet.
    pub fn set(&self, from: NetworkEnd, settings: LinkSettings) {
        self.relay.direction(from).set(settings);
    }

    /// Loses the next segment from an end that fits, before it comes to the bottleneck. It happens
    /// once, or never; each segment is lost for one loss only, the first that waits for it.
    pub fn lose_next(&self, from: NetworkEnd, target: LossTarget) -> PendingLoss {
        let (notify, receiver) = sync_channel(1);
        self.relay.direction(from).lose(target, notify);
        PendingLoss(receiver)
    }

    /// What became of the frames that left an end by now.
    pub fn counts(&self, from: NetworkEnd) -> io::Result<FrameCounts> {
        self.relay.counts(from)
    }

    /// Removes it, and returns the error with which it failed, if it did.
    pub fn end(mut self) -> io::Result<()> {
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        self.relay.stop();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the link's thread panicked")))
    }
}

impl Drop for EmulatedLink {
    fn drop(&mut self) {
        // Nothing can be done about an error in `drop`.
        let _ = self.join();
    }
}

impl PendingLoss {
    /// Waits until the segment has been lost. Reports it once; `None` if it has not been
    /// lost in time.
    pub fn wait(&self, at_most: Duration) -> Option<LostFrame> {
        self.0.recv_timeout(at_most).ok()
    }
}

/// The namespace in the middle. The kernel would remove its interfaces with it, but some time
/// later; then there would be no room for the next link's.
#[derive(Debug)]
struct Middle(File);

impl Drop for Middle {
    fn drop(&mut self) {
        // One that cannot be removed is not there, or goes with the namespace.
        let _ = visit::inside(&self.0, || {
            NetworkEnd::BOTH.map(|end| interface::remove(middle_plug(end).name))
        });
    }
}

/// An end's own. The address is of those that are kept for examples (RFC 9542, section 2.1.4).
fn plug(end: NetworkEnd) -> VethEnd {
    VethEnd {
        name: end.link_interface(),
        hardware_address: Some([0x00, 0x00, 0x5E, 0x00, 0x53, end.number()]),
    }
}

fn middle_plug(end: NetworkEnd) -> VethEnd {
    let name = match end {
        NetworkEnd::Near => "to-near",
        NetworkEnd::Far => "to-far",
    };
    VethEnd { name, hardware_address: None }
}

fn set_up(name: &str) -> Result<(), NamespaceError> {
    interface::switch_offloads_off(name)?;
    interface::silence(name)?;
    interface::switch_on(name)
}

fn give_addresses(end: NetworkEnd) -> Result<(), NamespaceError> {
    let (name, other) = (end.link_interface(), end.other());
    [end.link_ipv6(), end.link_ipv4()]
        .into_iter()
        .try_for_each(|address| interface::add_address(name, address))?;
    // A host with a router would not have to resolve addresses over the link either.
    let Some(hardware_address) = plug(other).hardware_address else { return Ok(()) };
    let mut neighbours = [other.link_ipv6(), other.link_ipv4()].into_iter();
    neighbours.try_for_each(|address| interface::add_neighbour(name, address, hardware_address))
}
