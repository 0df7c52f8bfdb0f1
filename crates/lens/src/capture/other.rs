//! Where packets cannot be captured.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use super::captured::{CaptureEvent, CaptureStatistics};
use super::config::{CaptureError, Config};

/// A capture, of which there is none on this system.
#[derive(Debug)]
pub struct PacketCapture(Infallible);

/// The end of a capture.
#[derive(Clone, Debug)]
pub struct CaptureStopper(Infallible);

impl PacketCapture {
    /// Always fails.
    pub fn open(_: &Config) -> Result<Self, CaptureError> {
        Err(CaptureError::NotLinux)
    }

    /// Whether packets have the time at which they came.
    pub fn is_stamped(&self) -> bool {
        match self.0 {}
    }

    /// The next packet.
    pub fn next(&mut self, _: Option<Duration>) -> io::Result<CaptureEvent> {
        match self.0 {}
    }

    /// A handle that ends it.
    pub fn stopper(&self) -> CaptureStopper {
        match self.0 {}
    }

    /// How many packets there were.
    pub fn statistics(&mut self) -> io::Result<CaptureStatistics> {
        match self.0 {}
    }
}

impl CaptureStopper {
    /// Ends it.
    pub fn stop(&self) {
        match self.0 {}
    }
}
