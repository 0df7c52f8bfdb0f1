//! How a resumed stream compares with the whole.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::finding::Finding;
use crate::text::{Text, text};

/// How a resumed stream compares with the whole, from best to worst.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resumed {
    /// The same bytes.
    Exact,
    /// The same events, written differently.
    SameEvents,
    /// It starts over.
    StartsOver,
    /// Events were repeated.
    Repeated,
    /// Events are missing.
    Missing(usize),
    /// Other events.
    Differs,
    /// It was refused.
    Refused(String),
}

impl Resumed {
    pub(super) fn document(&self) -> Value {
        json!(match self {
            Self::Exact => "exact",
            Self::SameEvents => "same_events",
            Self::StartsOver => "starts_over",
            Self::Repeated => "repeated",
            Self::Missing(_) => "missing",
            Self::Differs => "differs",
            Self::Refused(_) => "refused",
        })
    }

    pub(super) fn finding(&self, way: &str) -> Option<Finding> {
        let what: Text = match self {
            Self::Exact => return None,
            Self::SameEvents => {
                return Some(Finding::note(
                    "resume_other_bytes",
                    text!(
                        "{way}: the same events, but written differently from the first time.",
                        "{way}：事件相同，但字节写法与第一次不同。"
                    ),
                ));
            }
            Self::StartsOver => text!(
                "{way}: starts over from the first event, so the client shows everything twice.",
                "{way}：从第一个事件重新开始，客户端会重复显示全部内容。"
            ),
            Self::Repeated => text!(
                "{way}: repeats events that were received before the cut.",
                "{way}：重复了断开前已经收到的事件。"
            ),
            Self::Missing(count) => text!(
                "{way}: {count} events are missing after the cut.",
                "{way}：断开之后缺少 {count} 个事件。"
            ),
            Self::Differs => {
                text!("{way}: other events than the first time.", "{way}：事件与第一次不同。")
            }
            Self::Refused(why) => {
                text!("{way}: resuming was refused ({why}).", "{way}：续传被拒绝（{why}）。")
            }
        };
        Some(Finding::problem("resume_not_exact", what))
    }
}

/// The hash of data, each followed by a line feed.
pub(super) fn hash<'a>(data: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for data in data {
        hasher.update(data);
        hasher.update(b"\n");
    }
    hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
