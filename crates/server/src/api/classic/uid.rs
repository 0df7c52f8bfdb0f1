//! Which uid a request names: by its header, by its query, by its cookie; or a new one, for a page
//! that can name none.

use http::{HeaderMap, header};
use protocol::fault::{Fault, FaultKind};

use super::asking;

/// The longest uid. The pages' own have 36 characters.
const LONGEST: usize = 128;

/// The uid in the header of that name.
///
/// # Errors
/// There is none, or one that cannot be used.
pub(super) fn of_header(headers: &HeaderMap) -> Result<String, Fault> {
    let Some(value) = headers.get("uid") else {
        return Err(Fault::invalid(
            "missing_required_parameter",
            "uid",
            "Missing required header: 'uid'.",
        ));
    };
    checked(value.to_str().unwrap_or_default())
}

/// The uid of a question in a query. A browser's `EventSource` cannot send headers; one without
/// a uid gets one in a cookie, so that its next question is in the same conversation.
///
/// # Errors
/// One that cannot be used; no randomness for a new one.
pub(super) fn of_query(
    headers: &HeaderMap,
    query: &str,
) -> Result<(String, Option<String>), Fault> {
    if headers.contains_key("uid") {
        return Ok((of_header(headers)?, None));
    }
    if let Some(uid) = asking::parameter(query, "uid") {
        return Ok((checked(&uid)?, None));
    }
    if let Some(uid) = of_cookie(headers).and_then(|uid| checked(uid).ok()) {
        return Ok((uid, None));
    }
    let uid = new()
        .ok_or_else(|| Fault::new(FaultKind::Server, "server_error", "cannot generate a uid"))?;
    // A session's cookie: it ends with the browser's session. Scripts and other sites do not need
    // it. Without a path it is for those beside /chat, wherever a proxy has put that (RFC 6265
    // §5.1.4).
    let cookie = format!("uid={uid}; HttpOnly; SameSite=Lax");
    Ok((uid, Some(cookie)))
}

/// A uid that is valid in a stream's lines and in a store's names.
///
/// # Errors
/// It is blank, too long, or has other characters than visible ASCII.
pub(super) fn checked(uid: &str) -> Result<String, Fault> {
    let uid = uid.trim();
    if uid.is_empty() || uid.len() > LONGEST || !uid.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message =
            format!("A uid must be 1 to {LONGEST} visible ASCII characters, such as a UUID.");
        return Err(Fault::invalid("invalid_value", "uid", message));
    }
    Ok(uid.to_owned())
}

fn of_cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    cookies
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == "uid")
        .map(|(_, value)| value)
}

fn new() -> Option<String> {
    let mut bits = [0_u8; 16];
    getrandom::fill(&mut bits).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            })
            .collect()
    }

    fn check(pairs: &[(&'static str, &'static str)], query: &str, expected: Result<&str, &str>) {
        let found = of_query(&headers(pairs), query);
        let found =
            found.as_ref().map(|(uid, _)| uid.as_str()).map_err(|fault| fault.code.as_str());
        assert_eq!(found, expected, "{pairs:?} {query}");
    }

    #[test]
    fn c11_a_uid_is_in_the_header_the_query_or_the_cookie() {
        check(&[("uid", "ada"), ("cookie", "uid=eve")], "message=a&uid=bob", Ok("ada"));
        check(&[("cookie", "uid=eve")], "message=a&uid=bob", Ok("bob"));
        check(&[("cookie", "a=b; uid=eve")], "message=a", Ok("eve"));
        check(&[("uid", " ")], "message=a&uid=bob", Err("invalid_value"));
        check(&[], "message=a&uid=b%0Ac", Err("invalid_value"));
    }

    #[test]
    fn c11_a_request_without_a_uid_gets_a_new_one() -> Result<(), Fault> {
        let (first, cookie) = of_query(&headers(&[]), "message=a")?;
        let (second, _) = of_query(&headers(&[]), "message=a")?;
        assert_ne!(first, second);
        assert_eq!(cookie, Some(format!("uid={first}; HttpOnly; SameSite=Lax")));
        Ok(())
    }
}
