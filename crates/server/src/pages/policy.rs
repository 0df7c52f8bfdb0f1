//! The content security policy of one classic page, from what the page itself refers to.
//!
//! The pages put messages and responses into HTML as they come. The policy therefore lists the
//! scripts that the page has: those in it by their hashes, those beside it by their addresses. A
//! frame, a form to elsewhere, a remote image and a connection to another server are refused. A
//! page that leads itself away (`<meta http-equiv="refresh">`, a link that is followed) cannot be
//! prevented by a policy (CSP level 3 has no directive for navigation).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::tags::{Tag, tags};
use crate::http::host::{is_loopback, without_port};

/// The policy of a page.
///
/// `base` is the URL at which the browser has the page, without its scheme:
/// `localhost:8000/1.html`. `nonce` is that of scripts beside the page: below a path of a proxy
/// that does not announce it, their addresses are not known here.
pub(super) fn policy(page: &[u8], base: &str, nonce: Option<&str>) -> String {
    // As the HTML standard does before anything else (§13.2.3.5): the browser hashes the text after
    // that.
    let page = String::from_utf8_lossy(page).replace("\r\n", "\n").replace('\r', "\n");
    let (mut scripts, mut styles, mut fonts) = (Vec::new(), Vec::new(), Vec::new());
    for tag in tags(&page) {
        match (tag.name.as_str(), tag.attribute("src"), tag.attribute("href")) {
            ("script", Some(src), _) => scripts.extend(source(src, base)),
            ("script", None, _) => {
                scripts.push(format!("'sha256-{}'", STANDARD.encode(Sha256::digest(tag.text))));
            }
            ("link", _, Some(href)) if is_stylesheet(&tag) => {
                let style = source(href, base);
                fonts.extend(style.as_deref().map(host_of));
                styles.extend(style);
            }
            _ => {}
        }
    }
    scripts.extend(nonce.map(|nonce| format!("'nonce-{nonce}'")));
    let own = base.split('/').next().unwrap_or_default();
    let connections = connections(own);
    let [scripts, styles, fonts] = [scripts, styles, fonts].map(listed);
    let scripts = if scripts.is_empty() { " 'none'" } else { &scripts };
    format!(
        "default-src 'self' data:; script-src{scripts}; style-src 'self' 'unsafe-inline'{styles}; font-src 'self' data:{fonts}; \
         img-src 'self' data:; connect-src 'self'{connections}; frame-src 'none'; form-action 'self'; object-src 'none'; \
         base-uri 'none'; frame-ancestors 'self'"
    )
}

/// The page with a nonce on each script whose address is relative to it, and the nonce; `None`
/// where there is no such script.
pub(super) fn with_nonce(page: &[u8]) -> Option<(String, String)> {
    let page = std::str::from_utf8(page).ok()?;
    let is_relative = |src: &str| !src.trim_start().starts_with(['/', '\\']) && !src.contains(':');
    let is_beside = |tag: &Tag<'_>| {
        tag.name == "script"
            && tag.attribute("src").is_some_and(is_relative)
            && tag.attribute("nonce").is_none()
    };
    let places: Vec<usize> =
        tags(page).iter().filter(|tag| is_beside(tag)).map(|tag| tag.attributes_at).collect();
    if places.is_empty() {
        return None;
    }
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).ok()?;
    let nonce = STANDARD.encode(random);
    let (mut marked, mut from) = (String::with_capacity(page.len() + 40 * places.len()), 0);
    for place in places {
        marked.push_str(&page[from..place]);
        marked.extend([" nonce=\"", nonce.as_str(), "\""]);
        from = place;
    }
    marked.push_str(&page[from..]);
    Some((marked, nonce))
}

/// This server, beside 'self', which did not include ws: and wss: in browsers of some years ago.
/// The demo's pages have `localhost:8000` written into them, from whichever loopback name they are
/// served.
fn connections(own: &str) -> String {
    let sockets = |name: &str| format!(" ws://{name} wss://{name}");
    let name = without_port(own);
    if !is_loopback(name) {
        return if is_host(own) { sockets(own) } else { String::new() };
    }
    let port = own.rsplit_once(':').map_or("", |(_, port)| port);
    let port = if !port.is_empty() && port.bytes().all(|letter| letter.is_ascii_digit()) {
        format!(":{port}")
    } else {
        String::new()
    };
    let names = ["localhost", "127.0.0.1"].map(|name| format!("{name}{port}"));
    names.map(|name| format!(" {name}{}", sockets(&name))).concat()
}

fn is_stylesheet(tag: &Tag<'_>) -> bool {
    tag.attribute("rel").is_some_and(|rel| {
        rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("stylesheet"))
    })
}

fn listed(mut sources: Vec<String>) -> String {
    sources.sort();
    sources.dedup();
    sources.iter().fold(String::new(), |list, source| list + " " + source)
}

/// The source expression (CSP level 3, §2.3.1) of an address in the page. `None` for other
/// addresses, such as `data:`, from which no script of a page may be loaded.
fn source(address: &str, base: &str) -> Option<String> {
    let address: String = address.trim().chars().filter(|c| !matches!(c, '\t' | '\n')).collect();
    let address = address.replace("&amp;", "&").replace('\\', "/");
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match address.split_once(':') {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") =>
        {
            (
                format!("{}://", scheme.to_ascii_lowercase()),
                format!("//{}", rest.trim_start_matches('/')),
            )
        }
        Some((scheme, _)) if !scheme.contains('/') => return None,
        // A source without a scheme has that of its page, which only the browser has.
        Some(_) | None => (String::new(), address.to_owned()),
    };
    if rest.is_empty() {
        return None;
    }
    let (own, page) = base.split_once('/').unwrap_or((base, ""));
    let (host, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        None => (own, ""),
    };
    let path = match (rest.starts_with("//"), rest.strip_prefix('/')) {
        (true, _) => path.to_owned(),
        (false, Some(path)) => path.to_owned(),
        (false, None) => {
            format!("{}/{rest}", page.rsplit_once('/').map_or("", |(directory, _)| directory))
        }
    };
    if is_host(host) {
        return Some(format!("{scheme}{host}{}", normal(&path)));
    }
    // An IPv6 address cannot stand in a policy.
    (host == own).then(|| "'self'".to_owned())
}

/// What a policy can name: letters, digits, dots and hyphens, with a port.
fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_name = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'-');
    !name.is_empty()
        && name.bytes().all(is_name)
        && !port.is_empty()
        && port.bytes().all(|letter| letter.is_ascii_digit())
}

fn host_of(source: &str) -> String {
    let (scheme, rest) = source.find("://").map_or(("", source), |at| source.split_at(at + 3));
    format!("{scheme}{}", rest.split('/').next().unwrap_or_default())
}

/// A path without `.` and `..` (RFC 3986 §5.2.4), as a policy can have it: `;`, `,` and what is not
/// ASCII are encoded.
fn normal(path: &str) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split('/') {
        match step {
            ".." => drop(steps.pop()),
            "." => {}
            step => steps.push(step),
        }
    }
    let mut normal = String::new();
    for step in steps.iter().skip_while(|step| step.is_empty()) {
        normal.push('/');
        for byte in step.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~%!$&()*+=:@".contains(&byte) {
                normal.push(char::from(byte));
            } else {
                normal.push('%');
                for digit in [byte >> 4, byte & 15] {
                    normal.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    if normal.is_empty() { "/".to_owned() } else { normal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_beside_the_page_have_a_nonce_and_no_others() {
        let page = "<!-- <script src=x.js></script> --><SCRIPT defer src='a.js'></SCRIPT><script src=/b.js></script><script>1</script>\r\n";
        let (marked, nonce) = with_nonce(page.as_bytes()).unwrap();
        assert_eq!(marked, page.replace("<SCRIPT", &format!("<SCRIPT nonce=\"{nonce}\"")));
        assert!(
            policy(marked.as_bytes(), "chat.example/1.html", Some(&nonce))
                .contains(&format!(" 'nonce-{nonce}'")),
            "{nonce}"
        );
        assert_ne!(with_nonce(page.as_bytes()).unwrap().1, nonce, "each answer has its own");
        for none in [
            "<script src='https://cdn.example/a.js'></script>",
            "<script src=//b/a.js></script>",
            "<p>",
            "<script>1</script>",
        ] {
            assert_eq!(with_nonce(none.as_bytes()), None, "{none}");
        }
    }

    fn check_source(address: &str, expected: Option<&str>) {
        assert_eq!(
            source(address, "chat.example:8000/below/1.html").as_deref(),
            expected,
            "{address}"
        );
    }

    #[test]
    fn the_address_of_a_script_is_listed_as_the_browser_requests_it() {
        check_source("js/a.min.js", Some("chat.example:8000/below/js/a.min.js"));
        check_source("./js/a.js", Some("chat.example:8000/below/js/a.js"));
        check_source("../static/js/a.js", Some("chat.example:8000/static/js/a.js"));
        check_source("../../../js/a.js", Some("chat.example:8000/js/a.js"));
        check_source("/js/a.js?v=1#x", Some("chat.example:8000/js/a.js"));
        check_source(
            " https://cdn.example/jquery@3.7/jquery.min.js ",
            Some("https://cdn.example/jquery@3.7/jquery.min.js"),
        );
        check_source("HTTPS://cdn.example:8443/a.js", Some("https://cdn.example:8443/a.js"));
        check_source("http://cdn.example/a.js", Some("http://cdn.example/a.js"));
        check_source("//cdn.example/a.js", Some("cdn.example/a.js"));
        check_source(
            "https://cdn.example/combine/a,b;c.js",
            Some("https://cdn.example/combine/a%2Cb%3Bc.js"),
        );
        check_source("脚本.js", Some("chat.example:8000/below/%E8%84%9A%E6%9C%AC.js"));
        check_source("https://cdn.example", Some("https://cdn.example/"));
        check_source("data:text/javascript,go()", None);
        check_source("javascript:go()", None);
        check_source("https://*/a.js", None);
        check_source("https://u:p@cdn.example/a.js", None);
        check_source("https://cdn.example' https:/a.js", None);
        check_source("", None);
    }

    #[test]
    fn a_policy_cannot_contain_an_ipv6_address() {
        assert_eq!(source("js/a.js", "[::1]:8000/1.html").as_deref(), Some("'self'"));
        let loopback = "connect-src 'self' localhost:8000 ws://localhost:8000 wss://localhost:8000 \
            127.0.0.1:8000 ws://127.0.0.1:8000 wss://127.0.0.1:8000;";
        assert!(policy(b"", "[::1]:8000/", None).contains(loopback));
        assert!(policy(b"", "[2001:db8::1]:8000/", None).contains("connect-src 'self';"));
    }

    #[test]
    fn b17_a_pages_own_scripts_run_and_no_other() {
        let page = b"<!-- <script src='https://no.example/x.js'></script> -->\
            <LINK rel=stylesheet href=https://cdn.example/css/a.css><script src=\"js/a.js\"></script>\
            <script SRC='https://cdn.example/jquery.js'></script><script>go()</script>";
        // echo -n 'go()' | openssl dgst -sha256 -binary | base64
        let expected = "default-src 'self' data:; script-src 'sha256-5KYv+PUboo5h+0+YAtGRPbwv5d/QxzHslP4YGnUaxRw=' \
            chat.example/js/a.js https://cdn.example/jquery.js; style-src 'self' 'unsafe-inline' https://cdn.example/css/a.css; \
            font-src 'self' data: https://cdn.example; img-src 'self' data:; \
            connect-src 'self' ws://chat.example wss://chat.example; frame-src 'none'; form-action 'self'; object-src 'none'; \
            base-uri 'none'; frame-ancestors 'self'";
        assert_eq!(policy(page, "chat.example/", None), expected);
    }

    #[test]
    fn a_page_without_scripts_runs_none() {
        assert!(policy(b"<p>hello", "localhost:8000/", None).contains("; script-src 'none';"));
    }

    #[test]
    fn a_script_is_hashed_as_the_browser_reads_it() {
        assert_eq!(
            policy(b"<script>\r\ngo()\r\n</script>", "h/", None),
            policy(b"<script>\ngo()\n</script>", "h/", None)
        );
    }
}
