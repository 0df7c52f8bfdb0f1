//! `weir upstream list|test`: which upstreams there are, how each is, and what is wrong with one that does not work.

mod list;
mod test;
mod words;

use anyhow::Result;
use clap::{Args, Subcommand};
use provider::config::{KeyConfig, ProxyConfig, UpstreamConfig, WireKind};

use super::output::Printed;
use crate::config::settings::Settings;
use crate::config::without_password;

pub(super) const EXAMPLES: &str = "\
Examples:
  weir upstream list                       every upstream, its keys by name, and the routes; how each is, where a server runs
  weir upstream test                       ask each for its models, under each of its keys
  weir upstream test openai --model gpt-5-mini   also ask a tiny question, and say how soon the answer begins
  weir upstream test --json                the same for a script; the exit status is 0 only if all is well";

/// What to do with upstreams.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum UpstreamCommand {
    /// List the upstreams and the routes, and how each is where a server runs
    List(ListArguments),
    /// Ask each upstream under each of its keys, and say what is wrong
    Test(TestArguments),
}

/// What `weir upstream list` takes.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct ListArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `weir upstream test` takes.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct TestArguments {
    /// Which upstreams [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also ask this model a tiny question; it costs a few tokens
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it.
pub(crate) struct CheckOutcome {
    pub(crate) printed: Printed,
    /// Whether all is well, which the exit status says.
    pub(crate) is_well: bool,
}

/// Does it.
pub(crate) fn run(settings: &Settings, command: &UpstreamCommand) -> Result<CheckOutcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        UpstreamCommand::List(arguments) => {
            let printed = runtime.block_on(list::run(settings, arguments))?;
            Ok(CheckOutcome { printed, is_well: true })
        }
        UpstreamCommand::Test(arguments) => runtime.block_on(test::run(settings, arguments)),
    }
}

/// Where an upstream is, and through which proxy; never with a password.
fn address(config: &UpstreamConfig) -> String {
    match &config.connection.proxy {
        ProxyConfig::At(url) => {
            format!("{} through {}", config.base_url, without_password(url.reveal()))
        }
        ProxyConfig::Environment | ProxyConfig::Direct => config.base_url.clone(),
    }
}

fn wire(config: &UpstreamConfig) -> &'static str {
    WireKind::ALL.iter().find(|(_, wire)| *wire == config.wire).map_or("", |(word, _)| word)
}

/// What a key is called: never the key.
fn label(key: Option<&KeyConfig>) -> &str {
    key.map_or("no key", |key| &key.label)
}
