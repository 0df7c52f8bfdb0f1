//! The environment: variables that are settings, those that only look like it, and the platform's
//! directories.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::problem::{Problem, ValueSource, did_you_mean};
use super::table::{Definition, SETTINGS};

/// Variables by name.
pub(crate) type Environment = BTreeMap<String, OsString>;

/// `WEIR_` variables that are not settings: the path of the file, and the key that `weir chat`
/// sends.
const NO_SETTINGS: [&str; 2] = ["WEIR_CONFIG", API_KEY];

/// The variable with the key that `weir chat` sends.
pub(crate) const API_KEY: &str = "WEIR_API_KEY";

/// The environment of this process. Names that are not Unicode are ignored.
pub(super) fn of_process() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect()
}

/// The text of a variable; `None` if it is unset or empty, as Compose files may leave it.
pub(super) fn text<'a>(
    environment: &'a Environment,
    name: &str,
) -> Result<Option<&'a str>, Problem> {
    match environment.get(name).map(|value| value.to_str()) {
        Some(None) => {
            Err(Problem::new(ValueSource::Variable(name.to_owned()), "expected Unicode text"))
        }
        Some(Some(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        None => Ok(None),
    }
}

/// The settings in the environment, each with its variable and text.
pub(super) fn settings(
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Vec<(&'static Definition, String, String)> {
    let mut found: Vec<(&Definition, String, String)> = Vec::new();
    for name in environment.keys().filter(|name| {
        name.starts_with("WEIR_") && !NO_SETTINGS.contains(&name.as_str()) && !is_foreign(name)
    }) {
        let Some(definition) =
            SETTINGS.iter().find(|definition| definition.all_variables().contains(name))
        else {
            problems.push(unknown(name));
            continue;
        };
        match text(environment, name) {
            Ok(Some(_)) if found.iter().any(|(other, ..)| other.path == definition.path) => {
                let message = format!(
                    "the same setting as {}; set one of them",
                    definition.all_variables().join(" and ")
                );
                problems.push(Problem::new(ValueSource::Variable(name.clone()), message));
            }
            Ok(Some(text)) => found.push((definition, name.clone(), text.to_owned())),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    found
}

fn unknown(name: &str) -> Problem {
    let known: Vec<String> = SETTINGS
        .iter()
        .flat_map(Definition::variables)
        .chain(NO_SETTINGS.map(str::to_owned))
        .collect();
    let near = did_you_mean(name, '_', &known.iter().map(String::as_str).collect::<Vec<_>>());
    Problem::new(ValueSource::Variable(name.to_owned()), format!("unknown setting{near}"))
}

/// Whether Kubernetes or Docker sets it for a service called `weir`: `WEIR_SERVICE_HOST`,
/// `WEIR_SERVICE_PORT_HTTP`, `WEIR_PORT`, `WEIR_PORT_8000_TCP_ADDR`.
fn is_foreign(name: &str) -> bool {
    let rest = name.strip_prefix("WEIR_").unwrap_or(name);
    rest == "SERVICE_HOST"
        || rest == "PORT"
        || rest.starts_with("SERVICE_PORT")
        || rest.starts_with("PORT_")
}

/// The platform's directory for the user's data; `None` without a home directory.
pub(super) fn data_directory(environment: &Environment) -> Option<PathBuf> {
    let base = if cfg!(target_os = "macos") {
        home(environment)?.join("Library/Application Support")
    } else if cfg!(windows) {
        directory(environment, "LOCALAPPDATA")?
    } else {
        directory(environment, "XDG_DATA_HOME")
            .or_else(|| Some(home(environment)?.join(".local/share")))?
    };
    Some(base.join("weir"))
}

/// The platform's directory for the user's settings.
pub(super) fn config_directory(environment: &Environment) -> Option<PathBuf> {
    let base = if cfg!(target_os = "macos") {
        home(environment)?.join("Library/Application Support")
    } else if cfg!(windows) {
        directory(environment, "APPDATA")?
    } else {
        directory(environment, "XDG_CONFIG_HOME")
            .or_else(|| Some(home(environment)?.join(".config")))?
    };
    Some(base.join("weir"))
}

fn home(environment: &Environment) -> Option<PathBuf> {
    directory(environment, "HOME")
}

fn directory(environment: &Environment, name: &str) -> Option<PathBuf> {
    // The XDG specification says to ignore relative paths; that suits the other platforms, too.
    environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Whether a text has the form of a variable's name (POSIX.1-2024, XBD 8.1), unlike a key.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && text
            .bytes()
            .all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_kubernetes_are_not_settings() {
        for name in [
            "WEIR_SERVICE_HOST",
            "WEIR_SERVICE_PORT",
            "WEIR_SERVICE_PORT_HTTP",
            "WEIR_PORT",
            "WEIR_PORT_8000_TCP_ADDR",
        ] {
            assert!(is_foreign(name), "{name}");
        }
        let ours: Vec<String> = SETTINGS
            .iter()
            .flat_map(Definition::variables)
            .filter(|name| is_foreign(name))
            .collect();
        assert_eq!(ours, Vec::<String>::new());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_directories_of_each_platform() {
        let environment = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect()
        };
        let home: Environment =
            environment(&[("HOME", "/home/ada"), ("XDG_CONFIG_HOME", "relative")]);
        assert_eq!(data_directory(&home), Some("/home/ada/.local/share/weir".into()));
        assert_eq!(config_directory(&home), Some("/home/ada/.config/weir".into()));
        assert_eq!(
            data_directory(&environment(&[("XDG_DATA_HOME", "/data")])),
            Some("/data/weir".into())
        );
        assert_eq!(data_directory(&Environment::new()), None);
    }
}
