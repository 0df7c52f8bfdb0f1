//! Where there are no network namespaces.

use std::convert::Infallible;
use std::process::Command;

use super::end::NetworkEnd;
use super::error::NamespaceError;
use super::link::EmulatedLink;
use crate::namespace::link::settings::LinkSettings;

/// The network, which there is none of on this system.
#[derive(Debug)]
pub struct NamespaceNetwork(Infallible);

impl NamespaceNetwork {
    /// Always fails.
    pub fn enter() -> Result<Self, NamespaceError> {
        Err(NamespaceError::NotLinux)
    }

    /// Does something with this thread at an end.
    pub fn at<T>(&self, _: NetworkEnd, _: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        match self.0 {}
    }

    /// Makes a program start in the namespace of an end.
    pub fn start_at(&self, _: NetworkEnd, _: &mut Command) {
        match self.0 {}
    }

    /// Builds a second, longer way between the ends.
    pub fn emulated_link(&self, _: LinkSettings) -> Result<EmulatedLink, NamespaceError> {
        match self.0 {}
    }
}
