//! Heads of HTTP/1 (RFC 9112, sections 3 to 5), as far as the framing of what follows depends on
//! them.
//!
//! This is not `httparse`: the servers that are measured parse with it, through hyper, and a
//! measurement that shared their parser would share its faults. It also refuses a whole head for
//! one invalid field, where a reader of captured bytes has to go on.

/// Values of these fields are secrets: they are never kept.
const SECRET: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "sec-websocket-protocol", // where browsers have to put a key, since they cannot set a field
];

/// A head may not be longer: what has no end by then is no head.
const LONGEST: usize = 1 << 20;

/// The fields of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderFields(Vec<(String, String)>);

impl HeaderFields {
    /// All of them, in their order: the names in lower case, the values trimmed, secret values left
    /// out.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first of this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether a list has this member, which is in lower case (RFC 9110, section 5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let of_name = self.iter().filter(|(other, _)| *other == name);
        of_name
            .flat_map(|(_, value)| value.split(','))
            .any(|member| member.trim().eq_ignore_ascii_case(token))
    }

    /// How long the body is, if this says it. Contradictions and what is no number say nothing.
    fn content_length(&self) -> Option<u64> {
        let mut lengths =
            self.iter().filter(|(name, _)| *name == "content-length").map(|(_, value)| value);
        let first = lengths.next()?;
        lengths.all(|other| other == first).then(|| first.parse().ok()).flatten()
    }

    /// Whether `chunked` is the last coding (RFC 9112, section 6.3).
    fn is_chunked(&self) -> Option<bool> {
        let last = self.iter().filter(|(name, _)| *name == "transfer-encoding").last()?.1;
        Some(
            last.rsplit(',')
                .next()
                .is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked")),
        )
    }
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// `GET`, `POST`…
    pub method: String,
    /// The path, mostly; what follows a `?` is left out, since secrets get there.
    pub target: String,
    /// 0 or 1, of `HTTP/1.`
    pub minor_version: u8,
    /// Its fields.
    pub fields: HeaderFields,
    /// Where its body ends.
    pub body: BodyFraming,
}

impl RequestHead {
    /// Whether the connection may speak something else after the answer.
    pub(super) fn may_switch(&self) -> bool {
        self.method == "CONNECT"
            || (self.fields.get("upgrade").is_some()
                && self.fields.has_token("connection", "upgrade"))
    }

    /// Whether the client wants the connection to last (RFC 9112, section 9.3).
    pub fn keeps_alive(&self) -> bool {
        keeps_alive(self.minor_version, &self.fields)
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Three digits.
    pub status: u16,
    /// 0 or 1, of `HTTP/1.`
    pub minor_version: u8,
    /// Its fields.
    pub fields: HeaderFields,
    /// Where its body ends.
    pub body: BodyFraming,
}

impl ResponseHead {
    /// Whether the server lets the connection last (RFC 9112, section 9.3).
    pub fn keeps_alive(&self) -> bool {
        self.body != BodyFraming::UntilClose && keeps_alive(self.minor_version, &self.fields)
    }
}

fn keeps_alive(minor_version: u8, fields: &HeaderFields) -> bool {
    if fields.has_token("connection", "close") {
        return false;
    }
    minor_version >= 1 || fields.has_token("connection", "keep-alive")
}

/// What begins here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadExtent {
    /// The length in bytes of a head or of trailers, including the empty line.
    Whole(usize),
    /// More bytes are needed.
    Unfinished,
    /// No head.
    TooLong,
}

/// The length of the head, which ends with an empty line. A lone LF is a line end (RFC 9112,
/// section 2.2).
pub(super) fn extent(bytes: &[u8]) -> HeadExtent {
    let mut line = 0;
    for (at, _) in bytes.iter().enumerate().take(LONGEST).filter(|(_, byte)| **byte == b'\n') {
        if matches!(&bytes[line..at], b"" | b"\r") {
            return HeadExtent::Whole(at + 1);
        }
        line = at + 1;
    }
    if bytes.len() >= LONGEST { HeadExtent::TooLong } else { HeadExtent::Unfinished }
}

/// Whether this could be HTTP/1: the client begins with a method, or, where nothing of it was seen,
/// the server with a version.
pub(super) fn begins(client: &[u8], server: &[u8]) -> bool {
    let trimmed = client.trim_ascii_start();
    let method =
        trimmed.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    match trimmed.get(method) {
        Some(behind) => *behind == b' ' && method > 0,
        None if trimmed.is_empty() => server.starts_with(b"HTTP/1."),
        None => method <= 20,
    }
}

pub(super) fn request(head: &[u8]) -> Option<RequestHead> {
    let (start, fields) = split(head)?;
    let mut words = start.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if method.is_empty() || words.next().is_some() {
        return None;
    }
    let minor_version = minor(version)?;
    let body = match (fields.is_chunked(), fields.content_length()) {
        (Some(true), _) => BodyFraming::Chunked,
        (None, Some(0) | None) | (Some(false), _) => BodyFraming::None,
        (None, Some(length)) => BodyFraming::Length(length),
    };
    let target = target.split_once('?').map_or(target.to_owned(), |(path, _)| format!("{path}?…"));
    Some(RequestHead { method: method.to_owned(), target, minor_version, fields, body })
}

/// The head of the answer to a request with this method.
pub(super) fn response(head: &[u8], method: Option<&str>) -> Option<ResponseHead> {
    let (start, fields) = split(head)?;
    let (version, rest) = start.split_once(' ')?;
    let minor_version = minor(version)?;
    let digits = rest.split(' ').next().filter(|digits| digits.len() == 3)?;
    let status: u16 = digits.parse().ok()?;
    let body = match (status, method, fields.is_chunked(), fields.content_length()) {
        (100..=199 | 204 | 304, ..)
        | (_, Some("HEAD"), ..)
        | (200..=299, Some("CONNECT"), ..)
        | (_, _, None, Some(0)) => BodyFraming::None,
        (_, _, Some(true), _) => BodyFraming::Chunked,
        (_, _, Some(false), _) | (_, _, None, None) => BodyFraming::UntilClose,
        (_, _, None, Some(length)) => BodyFraming::Length(length),
    };
    Some(ResponseHead { status, minor_version, fields, body })
}

fn minor(version: &str) -> Option<u8> {
    version.strip_prefix("HTTP/1.")?.parse().ok()
}

fn split(head: &[u8]) -> Option<(String, HeaderFields)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let start = lines.next()?.to_owned();
    let fields = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let value = if SECRET.contains(&name.as_str()) {
            "…".to_owned()
        } else {
            value.trim().to_owned()
        };
        (name, value)
    });
    Some((start, HeaderFields(fields.collect())))
}
