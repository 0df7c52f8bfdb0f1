//! Two namespaces and a cable between them, on Linux.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::Command;

use super::end::NetworkEnd;
use super::error::NamespaceError;
use super::interface::{self, VethEnd};
use super::link::EmulatedLink;
use super::visit;
use crate::namespace::link::settings::LinkSettings;
use crate::system::process;

/// Two hosts and a cable. The near one is where the process is; threads may go to the far one for a
/// moment.
#[derive(Debug)]
pub struct NamespaceNetwork {
    near: File,
    far: File,
}

impl NamespaceNetwork {
    /// Leaves the network of the system for two hosts of our own. For good, and before any thread
    /// is started: call it first in `main`. Files remain as they were, and so do the rights on
    /// them.
    pub fn enter() -> Result<Self, NamespaceError> {
        let (user, group) = process::user_and_group();
        process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET).map_err(|error| match error
            .raw_os_error()
        {
            Some(libc::EINVAL) => NamespaceError::Threads,
            _ => NamespaceError::new("user and network namespaces", error),
        })?;
        // A group may be mapped only by who can no longer give groups up (user_namespaces(7)).
        let write = |file: &'static str, text: String| {
            fs::write(file, text)
                .map_err(|error| NamespaceError::new("a user in a namespace", error))
        };
        write("/proc/self/setgroups", "deny".to_owned())?;
        write("/proc/self/uid_map", format!("0 {user} 1"))?;
        write("/proc/self/gid_map", format!("0 {group} 1"))?;
        let network =
            Self { near: visit::here()?, far: visit::create("a second network namespace")? };
        let [near, far] =
            NetworkEnd::BOTH.map(|end| VethEnd { name: end.interface(), hardware_address: None });
        interface::connect(near, far, &network.far)?;
        for end in NetworkEnd::BOTH {
            network.at(end, || set_up(end))??;
        }
        Ok(network)
    }

    /// Does something with this thread at an end: what it opens there stays there, as a socket
    /// does, and so does a thread that it starts there. Other threads do not notice. It must not be
    /// left in the middle, as `await` would.
    pub fn at<T>(&self, end: NetworkEnd, work: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        visit::inside(self.namespace(end), work)
    }

    /// Makes a program start in the namespace of an end. The network has to live until then.
    pub fn start_at(&self, end: NetworkEnd, command: &mut Command) {
        process::start_in_network(command, self.namespace(end).as_fd());
    }

    /// Builds a second, longer way between the ends, at any time. There can be one at a time.
    pub fn emulated_link(&self, settings: LinkSettings) -> Result<EmulatedLink, NamespaceError> {
        EmulatedLink::build(&self.near, &self.far, settings)
    }

    fn namespace(&self, end: NetworkEnd) -> &File {
        match end {
            NetworkEnd::Near => &self.near,
            NetworkEnd::Far => &self.far,
        }
    }
}

fn set_up(end: NetworkEnd) -> Result<(), NamespaceError> {
    interface::switch_on("lo")?;
    interface::switch_offloads_off(end.interface())?;
    interface::switch_on(end.interface())?;
    [end.ipv6(), end.ipv4()]
        .into_iter()
        .try_for_each(|address| interface::add_address(end.interface(), address))
}
