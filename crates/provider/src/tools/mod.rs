//! The caller's tools on their way to a model and back.
//!
//! Most upstreams have functions only. A tool of another kind (a custom tool that takes free text, a tool in a namespace, a
//! client's tool search) is *lowered* to a function when it is offered, and a call of it is *lifted* back to what the caller
//! declared.

mod input;
mod lift;
mod offer;
mod turns;

pub(crate) use lift::Lifter;
pub use lift::UnknownTools;
pub(crate) use offer::{Offer, Offered};
pub(crate) use turns::{Call, Output, Turn, is_abandoned, is_understood, turns};

/// What becomes of tools that Weir does not interpret, such as `web_search`, where the upstream does not run them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostedTools {
    /// They are left out, and the caller is told so: clients send them by default.
    #[default]
    Omit,
    /// The request is refused.
    Refuse,
    /// They are passed on as they came.
    Pass,
}

impl HostedTools {
    /// Each with its word in the settings.
    pub const ALL: &'static [(&'static str, Self)] = &[("omit", Self::Omit), ("refuse", Self::Refuse), ("pass", Self::Pass)];
}

impl UnknownTools {
    /// Each with its word in the settings.
    pub const ALL: &'static [(&'static str, Self)] = &[("pass", Self::Pass), ("refuse", Self::Refuse)];
}
