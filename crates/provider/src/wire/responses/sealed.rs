//! How thoughts that only the upstream can read are kept between two turns: whose they are, the upstream's own id of the item,
//! and its encrypted content. OpenAI verifies that the two belong together, so the id has to come back with it.

/// Puts whose it is, the id and the content into one text: `responses.<upstream>:<length of the id>.<id><content>`. Another
/// upstream, though it were of the same vendor, cannot read it, and would refuse it. An id may hold any character.
pub(super) fn seal(upstream: &str, id: &str, encrypted_content: &str) -> String {
    format!("responses.{upstream}:{}.{id}{encrypted_content}", id.len())
}

/// The id and the content; `None` for what this upstream has not sealed.
pub(super) fn open<'a>(upstream: &str, sealed: &'a str) -> Option<(&'a str, &'a str)> {
    let rest = sealed.strip_prefix("responses.")?.strip_prefix(upstream)?.strip_prefix(':')?;
    let (length, rest) = rest.split_once('.')?;
    rest.split_at_checked(length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_can_be_opened_by_its_upstream_only() {
        let sealed = seal("north", "rs_1", "gAAA.a=");
        assert_eq!(sealed, "responses.north:4.rs_1gAAA.a=");
        assert_eq!(open("north", &sealed), Some(("rs_1", "gAAA.a=")));
        assert_eq!(open("nor", &sealed), None);
        assert_eq!(open("south", &sealed), None);
        let odd = seal("north", "r.\u{e9}", "x");
        assert_eq!(open("north", &odd), Some(("r.\u{e9}", "x")));
        for foreign in
            ["", "gAAAA", "anthropic.sig", "responses.north:", "responses.north:9.rs", "responses.north:x.rs", "responses.north:1.\u{e9}"]
        {
            assert_eq!(open("north", foreign), None, "{foreign}");
        }
    }
}
