//! What the tests of several rooms share: packets built from scratch.

pub(crate) mod build;

mod wireshark;
