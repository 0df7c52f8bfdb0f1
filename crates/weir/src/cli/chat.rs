//! The arguments of `weir chat`.

use std::fmt;

use clap::Args;

use crate::chat::transport::ChatTransport;

pub(super) const EXAMPLES: &str = "\
Examples:
  weir chat                                      chat with the server on this machine, or start one
  weir chat --server https://chat.example        chat with another; its key is in WEIR_API_KEY
  weir chat --model gpt-5 --system 'Be brief.'   another model, and instructions
  weir chat --transport websocket                the same over a WebSocket
  weir chat --resume resp_0123…                  continue from a response, or watch one that is running
  git diff | weir chat --system 'Review this.'   in a pipe: only the response on standard output
  echo hi | weir chat --json                     each event as a line of JSON

Ctrl-C stops a running response. /help shows the commands. In a pipe the exit status is 0 for a complete response,
1 for one that failed, 2 for a question that cannot be asked, and 130 after Ctrl-C.";

/// What `weir chat` takes.
#[derive(Clone, PartialEq, Eq, Args)]
pub(crate) struct ChatArguments {
    /// The transport of the response
    #[arg(long, value_name = "NAME", default_value = "sse")]
    pub(crate) transport: ChatTransport,
    /// The model to use [default: the first that the server lists]
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// The server to connect to [default: the one at --listen; if there is none, one is started]
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The API key; prefer WEIR_API_KEY, which the process list does not show
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Instructions for the model
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Continue from this response, which is shown first; a running one is watched
    #[arg(long, value_name = "ID")]
    pub(crate) resume: Option<String>,
    /// Print each event as a line of JSON; the question is read from standard input
    #[arg(long)]
    pub(crate) json: bool,
    /// Trust the server whose certificate has this SHA-256, as printed by weir --tls self-signed
    #[arg(long, value_name = "SHA-256")]
    pub(crate) fingerprint: Option<String>,
}

/// Without the key.
impl fmt::Debug for ChatArguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChatArguments")
            .field("server", &self.server)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}
