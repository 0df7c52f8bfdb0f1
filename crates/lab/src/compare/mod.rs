//! The comparison: the same conversation on every transport, measured at both ends and on the wire.

pub mod plan;
pub mod session;
pub mod talk;

pub mod bytes;
pub mod numbers;
pub mod server_view;
pub mod stamps;
pub mod wire;

pub mod claims;
pub mod cut;
pub mod report;
pub mod run;
pub mod speech;
