//! The start tags of an HTML page, as far as a policy needs them. Comments and the text of scripts
//! and styles have none.

/// A start tag.
pub(super) struct Tag<'a> {
    /// In lower case.
    pub(super) name: String,
    /// Where its attributes start in the page.
    pub(super) attributes_at: usize,
    /// The text up to the end tag, for an element whose text is not markup. Empty for all
    /// others.
    pub(super) text: &'a str,
    attributes: Vec<(String, &'a str)>,
}

impl Tag<'_> {
    /// The value of an attribute, empty where it has none. Of two with one name, the first counts.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| *value)
    }
}

/// Elements that contain no other (HTML §13.2.6.2).
const RAW: [&str; 8] =
    ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"];

/// All start tags of a page, in their order.
pub(super) fn tags(page: &str) -> Vec<Tag<'_>> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
        } else if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let (mut tag, after) = tag(rest);
            tag.attributes_at = page.len() - rest.len() + tag.name.len();
            rest = after;
            if RAW.contains(&tag.name.as_str()) {
                let end = end_of(rest, &tag.name);
                (tag.text, rest) = rest.split_at(end);
            }
            found.push(tag);
        }
    }
    found
}

fn tag(text: &str) -> (Tag<'_>, &str) {
    let end =
        text.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>').unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() || rest.starts_with('>') {
            break;
        }
        // A name may start with `=` (HTML §13.2.5.32).
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '=');
        let end = rest[first..].find(is_end).map_or(rest.len(), |end| end + first);
        let (name, after) = rest.split_at(end);
        let spaced = after.trim_start();
        let (value, after) =
            spaced.strip_prefix('=').map_or(("", after), |after| value(after.trim_start()));
        attributes.push((name.to_ascii_lowercase(), value));
        rest = after;
    }
    let rest = rest.strip_prefix('>').unwrap_or(rest);
    (Tag { name: name.to_ascii_lowercase(), attributes_at: 0, text: "", attributes }, rest)
}

fn value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inside) = text.strip_prefix(quote) {
            return inside.split_once(quote).unwrap_or((inside, ""));
        }
    }
    text.split_at(text.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(text.len()))
}

/// Where the end tag of an element starts.
fn end_of(text: &str, name: &str) -> usize {
    text.match_indices("</")
        .map(|(at, _)| at)
        .find(|at| {
            let after = &text.as_bytes()[at + 2..];
            let is_named = after
                .get(..name.len())
                .is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()));
            is_named
                && after
                    .get(name.len())
                    .is_none_or(|next| next.is_ascii_whitespace() || matches!(next, b'/' | b'>'))
        })
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expected: &[(&str, Option<&str>, &str)]) {
        let found = tags(page);
        let found: Vec<_> =
            found.iter().map(|tag| (tag.name.as_str(), tag.attribute("src"), tag.text)).collect();
        assert_eq!(found, expected, "{page}");
    }

    #[test]
    fn tags_are_found_however_they_are_written() {
        check("<script src=a.js></script>", &[("script", Some("a.js"), "")]);
        check("<SCRIPT defer\n SRC = 'a.js' ></SCRIPT >", &[("script", Some("a.js"), "")]);
        check("<script data-src=\"b.js\">x</script>", &[("script", None, "x")]);
        check(
            "<script src=\"a>b.js\"/>x</script><p>",
            &[("script", Some("a>b.js"), "x"), ("p", None, "")],
        );
        check("<script>'<script src=a>'</script>", &[("script", None, "'<script src=a>'")]);
        check("<script>a</scripts>b</script>", &[("script", None, "a</scripts>b")]);
        check("<!-- <script src=a></script> --><br>", &[("br", None, "")]);
        check(
            "<title><script src=a></script></title>",
            &[("title", None, "<script src=a></script>")],
        );
        check("<script", &[("script", None, "")]);
        check("< script>a<", &[]);
        check("<script src", &[("script", Some(""), "")]);
    }
}
