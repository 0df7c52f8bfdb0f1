//! Where there are no network namespaces.

use std::convert::Infallible;
use std::process::Command;

use super::road::{Path, Road};
use super::{End, Unable};

/// The network, which there is none of on this system.
#[derive(Debug)]
pub struct Network(Infallible);

impl Network {
    /// Says why not.
    pub fn enter() -> Result<Self, Unable> {
        Err(Unable::NotLinux)
    }

    /// Does something with this thread at an end.
    pub fn at<T>(&self, _: End, _: impl FnOnce() -> T) -> Result<T, Unable> {
        match self.0 {}
    }

    /// Makes a program begin at an end.
    pub fn start_at(&self, _: End, _: &mut Command) {
        match self.0 {}
    }

    /// Builds a second, longer way between the ends.
    pub fn road(&self, _: Path) -> Result<Road, Unable> {
        match self.0 {}
    }
}
