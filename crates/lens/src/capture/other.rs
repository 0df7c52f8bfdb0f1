//! Where packets cannot be captured.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use super::captured::{Next, Statistics};
use super::config::{Config, Unable};

/// A capture, of which there is none on this system.
#[derive(Debug)]
pub struct Capture(Infallible);

/// The end of a capture.
#[derive(Clone, Debug)]
pub struct Stopper(Infallible);

impl Capture {
    /// Always fails.
    pub fn open(_: &Config) -> Result<Self, Unable> {
        Err(Unable::NotLinux)
    }

    /// Whether packets have the time at which they came.
    pub fn is_stamped(&self) -> bool {
        match self.0 {}
    }

    /// The next packet.
    pub fn next(&mut self, _: Option<Duration>) -> io::Result<Next> {
        match self.0 {}
    }

    /// A handle that ends it.
    pub fn stopper(&self) -> Stopper {
        match self.0 {}
    }

    /// How many packets there were.
    pub fn statistics(&mut self) -> io::Result<Statistics> {
        match self.0 {}
    }
}

impl Stopper {
    /// Ends it.
    pub fn stop(&self) {
        match self.0 {}
    }
}
