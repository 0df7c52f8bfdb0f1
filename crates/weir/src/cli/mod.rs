//! The command line, as clap parses it.

pub(crate) mod chat;
pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod health;
pub(crate) mod key;
pub(crate) mod manual;
pub(crate) mod output;
pub(crate) mod probe;
pub(crate) mod store;
pub(crate) mod tap;
pub(crate) mod upstream;

use clap::{Args, Parser, Subcommand};

use crate::config::settings::FlagValues;

const EXAMPLES: &str = "\
Examples:
  weir                                     serve on http://127.0.0.1:8000 with the demo model
  OPENAI_API_KEY=sk-… weir                 serve OpenAI's models
  weir --listen 127.0.0.1:9000             serve elsewhere
  weir --tls self-signed                   serve on https://127.0.0.1:8000, for a trial
  weir chat                                chat with a model in the terminal
  weir compare --quick                     see what HTTP, SSE and WebSocket really do
  weir probe https://chat.example          find out what holds a stream up, and the line that repairs it
  weir tap resp_0123…                      watch the events of a response, with their times
  weir config                              show every setting in force and where it comes from
  weir config --example > weir.toml        start a settings file
  weir key create --name laptop            make an API key
  weir upstream test                       check every upstream and its keys
  weir store backup copy.db                back up what is stored, while a server runs";

/// A streaming chat server for language models. Without a command it serves.
#[derive(Clone, Debug, Parser)]
#[command(name = "weir", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    options: Options,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub(crate) enum CliCommand {
    /// Serve (the default)
    Serve,
    /// Chat with a model in the terminal
    #[command(after_help = chat::EXAMPLES)]
    Chat(chat::ChatArguments),
    /// Measure a conversation on every transport, with real packets, and check common claims
    #[command(after_help = compare::EXAMPLES)]
    Compare(Box<compare::CompareArguments>),
    /// Show every setting in force and where it comes from
    Config(config::ConfigArguments),
    /// Check that a server is up
    Health(health::HealthArguments),
    /// Find out what holds a stream up, on any endpoint, and the line that repairs it
    #[command(after_help = probe::EXAMPLES)]
    Probe(Box<probe::ProbeArguments>),
    /// Watch the events of a response with their times, live or as they were, and save them
    #[command(after_help = tap::EXAMPLES)]
    Tap(tap::TapArguments),
    /// Make, list and revoke API keys
    #[command(subcommand, after_help = key::EXAMPLES)]
    Key(key::KeyCommand),
    /// Check, back up, export, import and compact what is stored
    #[command(subcommand, after_help = store::EXAMPLES)]
    Store(store::StoreCommand),
    /// List the upstreams, and test them
    #[command(subcommand, after_help = upstream::EXAMPLES)]
    Upstream(upstream::UpstreamCommand),
    /// Print a completion script for a shell
    #[command(after_help = manual::COMPLETIONS)]
    Completions(manual::CompletionsArguments),
    /// Print the manual page
    #[command(after_help = manual::MANUAL)]
    Man(manual::ManualArguments),
}

/// Settings that have a flag. They are texts here, because `config` reads all values and reports
/// all problems together.
#[derive(Clone, Debug, Args)]
struct Options {
    /// The address to listen on [default: 127.0.0.1:8000]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Whether to serve HTTPS: auto, off or self-signed [default: auto: on if --tls-cert and
    /// --tls-key are given]
    #[arg(long, global = true, value_name = "WORD")]
    tls: Option<String>,
    /// The certificate for HTTPS, in PEM; it is read again when it changes
    #[arg(long, global = true, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Its private key, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<String>,
    /// Where data is kept; :memory: keeps nothing [default: the platform's directory for data]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data: Option<String>,
    /// The settings file [default: weir.toml, here or in the user's configuration]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<String>,
    /// The format of the log: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged: off, error, warn, info, debug or trace, or levels by module [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Cli {
    /// What to do.
    pub(crate) fn chosen(&self) -> CliCommand {
        self.command.clone().unwrap_or(CliCommand::Serve)
    }

    /// The flags that are settings.
    pub(crate) fn flags(&self) -> FlagValues {
        let Options { listen, tls, tls_cert, tls_key, data, config, log_format, log_level } =
            self.options.clone();
        let flags = [
            ("listen", listen),
            ("tls", tls),
            ("tls-cert", tls_cert),
            ("tls-key", tls_key),
            ("data", data),
            ("config", config),
            ("log-format", log_format),
            ("log-level", log_level),
        ];
        flags.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["weir"].iter().chain(arguments))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn weir_alone_serves() -> Result<(), clap::Error> {
        assert_eq!(parse(&[])?.chosen(), CliCommand::Serve);
        assert_eq!(parse(&["serve"])?.chosen(), CliCommand::Serve);
        assert_eq!(
            parse(&["--listen", "[::]:80"])?.flags().get("listen").map(String::as_str),
            Some("[::]:80")
        );
        Ok(())
    }

    #[test]
    fn flags_may_be_anywhere() -> Result<(), clap::Error> {
        let create = parse(&["key", "create", "--name", "laptop", "--admin", "--data", "/data"])?;
        assert_eq!(
            create.chosen(),
            CliCommand::Key(key::KeyCommand::Create { name: "laptop".to_owned(), admin: true })
        );
        assert_eq!(create.flags().get("data").map(String::as_str), Some("/data"));
        assert!(parse(&["--data", "/data", "key", "list"])?.flags().contains_key("data"));
        assert!(parse(&["key"]).is_err());
        assert!(parse(&["sevre"]).is_err());
        Ok(())
    }

    #[test]
    fn flags_here_and_in_the_settings_are_the_same() {
        let mut here: Vec<String> = Cli::command()
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .collect();
        here.sort();
        let mut there: Vec<&str> = crate::config::flag_names().chain(["config"]).collect();
        there.sort_unstable();
        assert_eq!(here, there);
    }
}
