//! Translates the caller's tools for a model, and the model's calls back.
//!
//! Most upstreams support functions only. Other tools (a custom tool with free text input, a tool
//! in a namespace, a client's tool search) are *lowered* to functions when they are offered, and
//! calls of them are *lifted* back to what the caller declared.

mod input;
mod lift;
mod offer;
mod turns;

pub(crate) use lift::Lifter;
pub use lift::UnknownTools;
pub(crate) use offer::{OfferedTool, OfferedTools};
pub(crate) use turns::{
    ConversationStep, FunctionCallStep, FunctionResultStep, is_abandoned, is_understood, turns,
};

/// How tools that Weir does not interpret, such as `web_search`, are handled if the upstream does
/// not run them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostedTools {
    /// They are left out with a warning to the caller: clients send them by default.
    #[default]
    Omit,
    /// The request is refused.
    Refuse,
    /// They are passed on unchanged.
    Pass,
}

impl HostedTools {
    /// Every variant with its name in the settings.
    pub const ALL: &'static [(&'static str, Self)] =
        &[("omit", Self::Omit), ("refuse", Self::Refuse), ("pass", Self::Pass)];
}

impl UnknownTools {
    /// Every variant with its name in the settings.
    pub const ALL: &'static [(&'static str, Self)] =
        &[("pass", Self::Pass), ("refuse", Self::Refuse)];
}
