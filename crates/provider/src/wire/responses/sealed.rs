//! Stores encrypted reasoning between two turns: the upstream's name, its item id, and the
//! encrypted content. OpenAI verifies that id and content match, so the id must be sent back too.

/// Encodes them as `responses.<upstream>:<length of the id>.<id><content>`. Another upstream, even
/// of the same vendor, cannot decrypt the content and would reject it. The id may contain any
/// character.
pub(super) fn seal(upstream: &str, id: &str, encrypted_content: &str) -> String {
    format!("responses.{upstream}:{}.{id}{encrypted_content}", id.len())
}

/// The id and content; `None` if another upstream encrypted it.
pub(super) fn open<'a>(upstream: &str, sealed: &'a str) -> Option<(&'a str, &'a str)> {
    let rest = sealed.strip_prefix("responses.")?.strip_prefix(upstream)?.strip_prefix(':')?;
    let (length, rest) = rest.split_once('.')?;
    rest.split_at_checked(length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_upstream_gets_its_encrypted_reasoning() {
        let sealed = seal("north", "rs_1", "gAAA.a=");
        assert_eq!(sealed, "responses.north:4.rs_1gAAA.a=");
        assert_eq!(open("north", &sealed), Some(("rs_1", "gAAA.a=")));
        assert_eq!(open("nor", &sealed), None);
        assert_eq!(open("south", &sealed), None);
        let odd = seal("north", "r.\u{e9}", "x");
        assert_eq!(open("north", &odd), Some(("r.\u{e9}", "x")));
        for foreign in [
            "",
            "gAAAA",
            "anthropic.sig",
            "responses.north:",
            "responses.north:9.rs",
            "responses.north:x.rs",
            "responses.north:1.\u{e9}",
        ] {
            assert_eq!(open("north", foreign), None, "{foreign}");
        }
    }
}
