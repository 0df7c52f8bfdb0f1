//! `weir probe`: its arguments.

use clap::{Args, ValueEnum};
use probe::threshold::Threshold;

pub(super) const EXAMPLES: &str = "\
Examples:
  weir probe https://chat.example                          a Weir, or a server with /v1/models
  weir probe https://api.example/v1/chat/completions --model M --key-env OPENAI_API_KEY
  weir probe https://chat.example --origin http://10.0.0.5:8000      which side holds it back
  weir probe http://127.0.0.1:8000/events                  any stream that a GET returns
  weir probe wss://chat.example/socket --body 'hello'      a WebSocket
  weir probe https://chat.example --idle 15,30,60,120      when silence is cut
  weir probe https://chat.example --json --fail-if 'gap.p99>250ms'   for CI

It asks the model once or twice for eighty numbers; a Weir's demo model costs nothing. The rest is measured with the
calibrated source of a Weir, if it is one.

The exit status is 0 if nothing holds the stream up, 1 if something does or a --fail-if is met, and 2 if the arguments
are wrong or nothing was reached.";

/// What `weir probe` takes.
#[derive(Clone, PartialEq, Args)]
pub(crate) struct ProbeArguments {
    /// The endpoint, or the base URL of a Weir or of a server with /v1/models
    pub(crate) url: String,
    /// The server itself, without the hops before it: the difference shows which side holds a stream back
    #[arg(long, value_name = "URL")]
    pub(crate) origin: Option<String>,
    /// The model to ask [default: demo if there is one, else the first that the server lists]
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// The environment variable that holds the API key
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) key_env: Option<String>,
    /// The request's body, or @FILE, in place of the probe's own; the first message of a WebSocket
    #[arg(long, value_name = "TEXT")]
    pub(crate) body: Option<String>,
    /// A header field of every request; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// On which transports a Weir's calibrated source is measured [default: all]
    #[arg(long = "transport", value_name = "NAME", value_delimiter = ',')]
    pub(crate) transports: Vec<TransportName>,
    /// What to check [default: all but idle]
    #[arg(long = "check", value_name = "NAME", value_delimiter = ',')]
    pub(crate) checks: Vec<CheckName>,
    /// Everything, idle included, which takes two minutes
    #[arg(long, conflicts_with = "checks")]
    pub(crate) deep: bool,
    /// How long connections are silent in the check idle, in seconds [default: 15,30,60,120]
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) idle: Vec<u64>,
    /// How often the endpoint is asked
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) runs: u16,
    /// The longest wait for the next byte, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=900))]
    pub(crate) timeout: u64,
    /// How long one stream is read at most, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=900))]
    pub(crate) longest: u64,
    /// The certificate of a server with HTTPS, by its SHA-256
    #[arg(long, value_name = "SHA-256")]
    pub(crate) fingerprint: Option<String>,
    /// The language of the report [default: that of the locale]
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) lang: Option<LanguageName>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Fail if this holds, such as 'gap.p99>250ms', 'first_text>2s' or 'verdict!=steady'; may be repeated
    #[arg(long = "fail-if", value_name = "CONDITION")]
    pub(crate) fail_if: Vec<Threshold>,
}

/// Without header fields and body, which may hold secrets.
impl std::fmt::Debug for ProbeArguments {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ProbeArguments").finish_non_exhaustive()
    }
}

/// A transport, as users type it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportName {
    /// All of them.
    Auto,
    /// Server-Sent Events.
    #[value(alias = "http")]
    Sse,
    /// NDJSON.
    Ndjson,
    /// WebSocket.
    Websocket,
}

/// A check, as users type it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckName {
    /// How events arrive.
    Buffering,
    /// Whether they are framed as their API says.
    Framing,
    /// Whether a stream that was cut goes on exactly.
    Resume,
    /// How long a stop takes.
    Stop,
    /// Whether a stream that breaks off looks different from one that has ended.
    Truncation,
    /// Whether seven streams are open at once.
    Connections,
    /// How long a connection may be silent.
    Idle,
}

/// A language, as users type it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LanguageName {
    /// English.
    En,
    /// Chinese.
    Zh,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'NAME: VALUE'")?;
    let (name, value) = (name.trim(), value.trim());
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{name:?} is no name of a header field"));
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err("the value has a control character".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_read() {
        assert_eq!(header("X-A:  b c "), Ok(("X-A".into(), "b c".into())));
        for wrong in ["X-A", ": b", "X A: b", "X-A: b\r\nX-B: c"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
