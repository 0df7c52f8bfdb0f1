//! Where there are no roads, since there are no networks.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use super::counts::Counts;
use super::path::{Lost, Path, Target};
use crate::namespace::end::End;

/// A road, of which there is none on this system.
#[derive(Debug)]
pub struct Road(Infallible);

/// A segment that is to be lost.
#[derive(Debug)]
pub struct Loss(Infallible);

impl Road {
    /// Changes the path of what leaves an end.
    pub fn set(&self, _: End, _: Path) {
        match self.0 {}
    }

    /// Loses the next segment from an end that fits.
    pub fn lose_next(&self, _: End, _: Target) -> Loss {
        match self.0 {}
    }

    /// What became of the frames that left an end by now.
    pub fn counts(&self, _: End) -> io::Result<Counts> {
        match self.0 {}
    }

    /// Removes it.
    pub fn end(self) -> io::Result<()> {
        match self.0 {}
    }
}

impl Loss {
    /// Waits until the segment has been lost.
    pub fn wait(&self, _: Duration) -> Option<Lost> {
        match self.0 {}
    }
}
