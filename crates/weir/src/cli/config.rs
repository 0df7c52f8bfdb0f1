//! `weir config`: every setting in force and where it comes from, secrets hidden.

use clap::Args;

use super::output::{Printed, columns};
use crate::config::example::example;
use crate::config::is_advanced;
use crate::config::settings::Settings;

/// What `weir config` takes.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct ConfigArguments {
    /// Print a settings file with all defaults instead, as a start for weir.toml
    #[arg(long)]
    example: bool,
}

/// The heading of the advanced settings.
const ADVANCED: &str = "\n# Advanced: the defaults are right for nearly every server.";

/// The settings in force, or the example.
pub(crate) fn run(settings: &Settings, arguments: &ConfigArguments) -> Printed {
    if arguments.example {
        return Printed { out: example(), hints: String::new() };
    }
    let shown = |value: &str| if value.is_empty() { "(none)".to_owned() } else { value.to_owned() };
    let (advanced, usual): (Vec<_>, Vec<_>) =
        settings.in_force.iter().partition(|row| is_advanced(&row.path));
    let rows: Vec<[String; 3]> = usual
        .iter()
        .chain(&advanced)
        .map(|row| [row.path.clone(), shown(&row.value), row.source.to_string()])
        .collect();
    let mut lines: Vec<String> = columns(&rows).lines().map(str::to_owned).collect();
    // Both parts are laid out together, so that their columns align.
    lines.insert(usual.len(), ADVANCED.to_owned());
    let out = lines.join("\n") + "\n";
    let file = match &settings.file {
        Some(file) => format!("Settings were read from {}.\n", file.display()),
        None => {
            "There is no weir.toml; to create one: weir config --example > weir.toml\n".to_owned()
        }
    };
    let notes = settings.notes.iter().map(|note| format!("Note: {note}.\n"));
    Printed { out, hints: std::iter::once(file).chain(notes).collect() }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{TestResult, environment, file, settings};

    use super::*;

    #[test]
    fn every_setting_shows_its_source_and_no_secret() -> TestResult {
        let file = file(
            "[server]\nheartbeat = \"20s\"\nhosts = [\"a.example\", \"b.example\"]\n\n[[upstream]]\nname = \"local\"\nbase_url = \"http://localhost:1/v1\"\napi_key = \"hunter2\"\n",
        );
        let environment = environment(&[
            ("WEIR_LISTEN", "127.0.0.1:9000"),
            ("OPENAI_API_KEY", "sk-hunter3"),
            ("WEIR_UPSTREAM_IDLE_TIMEOUT", "30s"),
        ]);
        let printed = run(
            &settings(&[("data", ":memory:")], &environment, Some(&file))?,
            &ConfigArguments { example: false },
        );
        for (path, expected) in [
            ("data", "data :memory: --data"),
            ("server.listen", "server.listen 127.0.0.1:9000 WEIR_LISTEN"),
            ("server.origins", "server.origins (none) default"),
            ("server.heartbeat", "server.heartbeat 20s weir.toml:2"),
            ("server.hosts", "server.hosts a.example, b.example weir.toml:3"),
            ("engine.running", "engine.running 10000 default"),
            ("upstream.local.api_key", "upstream.local.api_key (hidden) weir.toml:8"),
            (
                "upstream.local.idle_timeout",
                "upstream.local.idle_timeout 30s WEIR_UPSTREAM_IDLE_TIMEOUT",
            ),
            (
                "upstream.openai.base_url",
                "upstream.openai.base_url https://api.openai.com/v1 default",
            ),
            ("upstream.openai.api_key", "upstream.openai.api_key (hidden) OPENAI_API_KEY"),
        ] {
            let line = printed
                .out
                .lines()
                .find(|line| line.split_whitespace().next() == Some(path))
                .unwrap_or_default();
            assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), expected);
        }
        assert!(!format!("{printed:?}").contains("hunter"), "{}", printed.out);
        Ok(())
    }

    #[test]
    fn advanced_settings_come_last() -> TestResult {
        let printed = run(
            &settings(&[("data", ":memory:")], &environment(&[]), None)?,
            &ConfigArguments { example: false },
        );
        let (usual, advanced) = printed.out.split_once(ADVANCED).ok_or("nothing is advanced")?;
        assert!(usual.contains("server.listen ") && !usual.contains("lens.sampling"), "{usual}");
        assert!(
            advanced.contains("lens.sampling ") && !advanced.contains("server.listen"),
            "{advanced}"
        );
        Ok(())
    }

    #[test]
    fn the_example_can_be_printed() -> TestResult {
        let settings = settings(&[("data", ":memory:")], &environment(&[]), None)?;
        assert_eq!(run(&settings, &ConfigArguments { example: true }).out, example());
        Ok(())
    }
}
