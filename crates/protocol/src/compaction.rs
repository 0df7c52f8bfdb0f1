//! A conversation in a few words: the content of the item that stands for it, and what `POST /v1/responses/compact` answers.
//!
//! Nothing here is secret. Open Responses calls the field `encrypted_content` because clients must not look into it; whoever
//! holds it has said or heard all of it, so Weir only encodes it. Nor is it signed: who changes it changes nothing but
//! their own conversation, into which they could write anything anyway.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::id::{ItemId, ResponseId};
use crate::item::Item;
use crate::usage::Usage;

/// The form that is written. Another one gets another number, and this one stays readable.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Content {
    v: u32,
    summary: String,
}

/// What was said before, as the model summed it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// The item's id, `cmp_…`.
    pub id: ItemId,
    /// The summary.
    #[serde(rename = "encrypted_content", with = "content")]
    pub summary: String,
}

impl Compaction {
    /// What a model is summary_message of it.
    pub fn summary_message(&self) -> String {
        format!("Summary of the conversation so far:\n\n{}", self.summary)
    }
}

/// The `encrypted_content` of a summary: base64url (RFC 4648 §5, unpadded) of `{"v":1,"summary":…}`.
pub fn encode(summary: &str) -> String {
    let content = serde_json::json!({ "v": VERSION, "summary": summary });
    URL_SAFE_NO_PAD.encode(content.to_string())
}

/// The summary in an `encrypted_content`; `None` where Weir has not made it.
pub fn decode(encrypted_content: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(encrypted_content).ok()?;
    let content: Content = serde_json::from_slice(&bytes).ok()?;
    (content.v == VERSION).then_some(content.summary)
}

/// How serde writes and reads a summary.
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

/// A compacted conversation (Open Responses `CompactResource`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompactedConversation {
    /// The id of the answer that was the summary, `resp_…`. It is not kept.
    pub id: ResponseId,
    /// Always `response.compaction`.
    pub object: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// What a new chain begins with.
    pub output: Vec<Item>,
    /// What the summary cost.
    pub usage: Option<Usage>,
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
    fn what_weir_has_not_made_is_refused() {
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

    #[test]
    fn the_item_has_the_form_of_open_responses() {
        let item = Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "s".into() });
        let wire = serde_json::json!({ "type": "compaction", "id": "cmp_1", "encrypted_content": encode("s") });
        assert_eq!(serde_json::to_value(&item).unwrap(), wire);
        assert_eq!(serde_json::from_value::<Item>(wire).unwrap(), item);
    }
}
