//! Test doubles: scripted model servers of every vendor, and a proxy that breaks connections. Tests
//! and benchmarks only: the program does not depend on this crate.

mod proxy;
mod upstream;

pub use proxy::{Cut, FaultProxy};
pub use upstream::encode::passthrough::vector;
pub use upstream::event::{ScriptEvent, Usage};
pub use upstream::scenario::{SCENARIOS, scenario};
pub use upstream::script::{Marks, Script, Step};
pub use upstream::server::Upstream;
pub use upstream::state::RecordedRequest;
pub use upstream::vendor::Vendor;
pub use upstream::vendor_error::VendorError;

#[cfg(test)]
mod tests;
