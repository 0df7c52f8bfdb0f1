//! How thoughts that only the upstream can read are kept between two turns: whose they are, the upstream's own id of the item,
//! and its encrypted content. OpenAI verifies that the two belong together, so the id has to come back with it.

use super::super::family::Family;

/// What it begins with. What one of them has encrypted, another cannot read, and refuses.
fn owner(family: Family) -> &'static str {
    match family {
        Family::OpenAi => "openai.",
        Family::Azure => "azure.",
        Family::Compatible => "responses.",
    }
}

/// Puts id and content into one text: `openai.<length of the id>.<id><content>`, since an id may hold any character.
pub(super) fn seal(family: Family, id: &str, encrypted_content: &str) -> String {
    format!("{}{}.{id}{encrypted_content}", owner(family), id.len())
}

/// The id and the content; `None` for what this family has not sealed.
pub(super) fn open(family: Family, sealed: &str) -> Option<(&str, &str)> {
    let (length, rest) = sealed.strip_prefix(owner(family))?.split_once('.')?;
    rest.split_at_checked(length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_can_be_opened_by_its_family_only() {
        let sealed = seal(Family::OpenAi, "rs_1", "gAAA.a=");
        assert_eq!(sealed, "openai.4.rs_1gAAA.a=");
        assert_eq!(open(Family::OpenAi, &sealed), Some(("rs_1", "gAAA.a=")));
        assert_eq!(open(Family::Compatible, &sealed), None);
        let odd = seal(Family::Compatible, "r.é", "x");
        assert_eq!(open(Family::Compatible, &odd), Some(("r.é", "x")));
        for foreign in ["", "gAAAA", "anthropic.sig", "openai.", "openai.9.rs", "openai.x.rs", "openai.1.é"] {
            assert_eq!(open(Family::OpenAi, foreign), None, "{foreign}");
        }
    }
}
