//! The item that replaces a conversation by a summary, and the encoding of that summary.
//!
//! Nothing here is secret. Open Responses calls the field `encrypted_content` because clients must
//! not look into it; its holder took part in the conversation, so Weir only encodes it. Nor is it
//! signed: changing it affects only the holder's own conversation, whose input the holder chooses
//! anyway.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::id::ItemId;

/// The version of the encoding. A new encoding gets a new number, and this one stays readable.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Content {
    v: u32,
    summary: String,
}

/// The model's summary of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// The item's id, `cmp_…`.
    pub id: ItemId,
    /// The summary.
    #[serde(rename = "encrypted_content", with = "content")]
    pub summary: String,
}

impl Compaction {
    /// The message that gives a model the summary.
    pub fn summary_message(&self) -> String {
        format!("Summary of the conversation so far:\n\n{}", self.summary)
    }
}

/// The `encrypted_content` of a summary: base64url (RFC 4648 §5, unpadded) of
/// `{"v":1,"summary":…}`.
pub fn encode(summary: &str) -> String {
    let content = serde_json::json!({ "v": VERSION, "summary": summary });
    URL_SAFE_NO_PAD.encode(content.to_string())
}

/// The summary in an `encrypted_content`; `None` if Weir did not make it.
pub fn decode(encrypted_content: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(encrypted_content).ok()?;
    let content: Content = serde_json::from_slice(&bytes).ok()?;
    (content.v == VERSION).then_some(content.summary)
}

/// Serialises a summary as `encrypted_content`.
mod content {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        summary: &str,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(summary))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<String, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::decode(&text)
            .ok_or_else(|| de::Error::custom("this encrypted_content was not made by Weir"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_survives_its_encoding() {
        for summary in ["", "Ada asked for \"four\" things.\n", "你好，世界 🌊"] {
            assert_eq!(decode(&encode(summary)).as_deref(), Some(summary));
        }
        assert_eq!(encode("s"), "eyJ2IjoxLCJzdW1tYXJ5IjoicyJ9");
    }

    #[test]
    fn content_that_weir_did_not_make_is_refused() {
        let other = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for wrong in [
            "",
            "gAAAAABpM0Yj-...=",
            &other("{}"),
            &other("not JSON"),
            &other(r#"{"v":2,"summary":"s"}"#),
        ] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
