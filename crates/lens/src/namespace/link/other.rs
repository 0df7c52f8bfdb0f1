//! Where there are no emulated links, since there are no namespaces.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use super::counts::FrameCounts;
use super::settings::{LinkSettings, LossTarget, LostFrame};
use crate::namespace::end::NetworkEnd;

/// An emulated link, of which there is none on this system.
#[derive(Debug)]
pub struct EmulatedLink(Infallible);

/// A segment that is to be lost.
#[derive(Debug)]
pub struct PendingLoss(Infallible);

impl EmulatedLink {
    /// Changes the settings for what leaves an end.
    pub fn set(&self, _: NetworkEnd, _: LinkSettings) {
        match self.0 {}
    }

    /// Loses the next segment from an end that fits.
    pub fn lose_next(&self, _: NetworkEnd, _: LossTarget) -> PendingLoss {
        match self.0 {}
    }

    /// What became of the frames that left an end by now.
    pub fn counts(&self, _: NetworkEnd) -> io::Result<FrameCounts> {
        match self.0 {}
    }

    /// Removes it.
    pub fn end(self) -> io::Result<()> {
        match self.0 {}
    }
}

impl PendingLoss {
    /// Waits until the segment has been lost.
    pub fn wait(&self, _: Duration) -> Option<LostFrame> {
        match self.0 {}
    }
}
