//! The arguments of `weir tap`.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(super) const EXAMPLES: &str = "\
Examples:
  weir tap resp_0123…                            a running response live, a finished one at its own pace
  weir tap resp_0123… --pace fast                a finished one at once
  weir tap resp_0123… --from 40                  from event 40 on
  weir tap resp_0123… --save run.har             also as HAR; or run.json, or run.pcapng for Wireshark
  weir tap resp_0123… --server https://chat.example      another server; its key is in WEIR_API_KEY

A tap only reads. Ctrl-C ends it and not the response, and what was saved until then is whole.

The exit status is 0 if the response has ended and its events were tapped, however it ended; 1 if the tap broke off
before or the file could not be written; 2 if nothing could be tapped: an unknown id, no server, wrong arguments; and
130 after Ctrl-C.";

/// What `weir tap` takes.
#[derive(Clone, PartialEq, Eq, Args)]
pub(crate) struct TapArguments {
    /// The id of the response, as in the header weir-response-id
    #[arg(value_name = "RESPONSE_ID")]
    pub(crate) id: String,
    /// The server that has it [default: the one at --listen]
    #[arg(long, visible_alias = "url", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The API key; prefer WEIR_API_KEY, which the process list does not show
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// The first event, by its sequence_number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) from: u64,
    /// The pace of a finished response; a running one is live
    #[arg(long, value_name = "NAME", default_value = "original")]
    pub(crate) pace: Pace,
    /// Save the events with their times, in the format of the file's ending: .json, .har or .pcapng
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// The format of the file, if its ending does not say
    #[arg(long, value_name = "NAME", requires = "save")]
    pub(crate) format: Option<SaveFormat>,
    /// Trust the server whose certificate has this SHA-256, as printed by weir --tls self-signed
    #[arg(long, value_name = "SHA-256")]
    pub(crate) fingerprint: Option<String>,
}

/// Without the key.
impl fmt::Debug for TapArguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TapArguments").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The pace of a finished response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pace {
    /// With the gaps that it had
    #[value(alias = "true")]
    Original,
    /// As fast as the server sends it
    Fast,
}

/// The format of a saved tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SaveFormat {
    /// Every event with its times
    Json,
    /// HAR 1.2, for the network panel of a browser
    Har,
    /// The packets of the connection, for Wireshark
    Pcapng,
}

impl SaveFormat {
    /// Its name, which is also the ending of its files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Har => "har",
            Self::Pcapng => "pcapng",
        }
    }
}
