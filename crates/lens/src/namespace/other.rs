//! Where there are no network namespaces.

use std::convert::Infallible;
use std::process::Command;

use super::end::End;
use super::road::Road;
use super::unable::Unable;
use crate::namespace::road::path::Path;

/// The network, which there is none of on this system.
#[derive(Debug)]
pub struct Network(Infallible);

impl Network {
    /// Always fails.
    pub fn enter() -> Result<Self, Unable> {
        Err(Unable::NotLinux)
    }

    /// Does something with this thread at an end.
    pub fn at<T>(&self, _: End, _: impl FnOnce() -> T) -> Result<T, Unable> {
        match self.0 {}
    }

    /// Makes a program start in the namespace of an end.
    pub fn start_at(&self, _: End, _: &mut Command) {
        match self.0 {}
    }

    /// Builds a second, longer way between the ends.
    pub fn road(&self, _: Path) -> Result<Road, Unable> {
        match self.0 {}
    }
}
