//! `weir completions` and `weir man`, generated from the definition of the command line.

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;
use super::output::Printed;

pub(super) const COMPLETIONS: &str = "\
Examples:
  weir completions bash > ~/.local/share/bash-completion/completions/weir
  weir completions zsh > ~/.zfunc/_weir        with ~/.zfunc in fpath
  weir completions fish > ~/.config/fish/completions/weir.fish";

pub(super) const MANUAL: &str = "\
Examples:
  weir man | man -l -                                         read it
  weir man > ~/.local/share/man/man1/weir.1                   install it
  weir man chat > ~/.local/share/man/man1/weir-chat.1         the page of a command";

/// What `weir completions` takes.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// What `weir man` takes.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct ManualArguments {
    /// The page of this command instead of weir's own
    command: Option<String>,
}

/// The completion script of a shell.
pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<Printed> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "weir", &mut script);
    Ok(Printed { out: String::from_utf8(script)?, hints: String::new() })
}

/// The manual page, as `man` reads it.
pub(crate) fn manual(arguments: &ManualArguments) -> Result<Printed> {
    let mut command = Cli::command();
    command.build();
    if let Some(name) = &arguments.command {
        command = command
            .find_subcommand(name)
            .with_context(|| format!("there is no command {name}"))?
            .clone();
    }
    let mut page = Vec::new();
    Man::new(command).source(concat!("weir ", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    Ok(Printed { out: String::from_utf8(page)?, hints: String::new() })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_every_command() -> Result<()> {
        for shell in Shell::value_variants() {
            let script = completions(&CompletionsArguments { shell: *shell })?.out;
            assert!(
                ["chat", "transport", "key"].iter().all(|word| script.contains(word)),
                "{shell}: {script}"
            );
        }
        Ok(())
    }

    #[test]
    fn each_command_has_a_page() -> Result<()> {
        let page = |command: Option<&str>| {
            manual(&ManualArguments { command: command.map(str::to_owned) })
        };
        assert!(page(None)?.out.contains(".TH weir 1"));
        let chat = page(Some("chat"))?.out;
        assert!(
            chat.contains(".TH weir-chat 1")
                && chat.contains("fingerprint")
                && chat.contains("echo hi"),
            "{chat}"
        );
        assert!(page(Some("chatter")).is_err());
        Ok(())
    }
}
