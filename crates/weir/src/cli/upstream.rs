//! `weir upstream list|test`: the upstreams, the state of each, and explanations of failures.

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
  weir upstream list                       every upstream, its keys by name, and the routes; with their state if a server is running
  weir upstream test                       list the models of each, with each of its keys
  weir upstream test openai --model gpt-5-mini   also send a short prompt, and measure the time to the first token
  weir upstream test --json                the same for a script; the exit status is 0 only if everything works";

/// What to do with upstreams.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum UpstreamCommand {
    /// List the upstreams and routes, with their state if a server is running
    List(ListArguments),
    /// Test each upstream with each of its keys, and report what is wrong
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
    /// The upstreams to test [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also send this model a short prompt; it costs a few tokens
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The result of a command on upstreams.
pub(crate) struct CheckOutcome {
    pub(crate) printed: Printed,
    /// Whether all upstreams work, which determines the exit status.
    pub(crate) is_well: bool,
}

/// Runs the command.
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

/// The address of an upstream, and its proxy, without passwords.
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

/// The label of a key, never the key itself.
fn label(key: Option<&KeyConfig>) -> &str {
    key.map_or("no key", |key| &key.label)
}
