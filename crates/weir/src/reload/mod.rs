//! Reloads the settings on SIGHUP and when one of their files changes, and applies those that can
//! change while responses run.

mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engine::tasks::Tasks;
use tokio::time::sleep;

use crate::assemble::Controls;
use crate::config::problem::ValueSource;
use crate::config::settings::{FlagValues, InForce, Settings};
use crate::config::{self, FileVersion, Loaded};
use crate::descriptors;
use crate::log::SetLevel;
use crate::notify::Notifier;
use crate::signals::Reloads;
use watch::FileWatch;

/// How often the files are checked. A change counts after two equal checks, so that a file is not
/// read while it is being written.
const LOOK: Duration = Duration::from_millis(500);

/// The state of reloading.
pub(crate) struct Reloader {
    /// The flags of the process.
    pub(crate) flags: FlagValues,
    /// The settings in force.
    pub(crate) settings: Settings,
    /// The files they were read from.
    pub(crate) sources: Vec<FileVersion>,
    pub(crate) set_level: SetLevel,
    pub(crate) controls: Controls,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) tasks: Tasks,
}

/// The reason for a reload.
#[derive(Clone, Copy, Debug)]
enum ReloadCause {
    Signal,
    Change,
}

impl ReloadCause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Change => "change",
        }
    }
}

impl Reloader {
    /// Runs until the process stops.
    pub(crate) async fn run(mut self, mut reloads: Reloads) {
        let mut watch = FileWatch::new(std::mem::take(&mut self.sources));
        let tasks = self.tasks.clone();
        loop {
            let why = tokio::select! {
                () = tasks.stopping() => return,
                () = reloads.next() => ReloadCause::Signal,
                () = sleep(LOOK) => {
                    if !watch.has_changed() {
                        continue;
                    }
                    ReloadCause::Change
                }
            };
            self.notifier.reloading();
            if let Some(sources) = self.read(why).await {
                watch = FileWatch::new(sources);
            }
            self.notifier.ready();
        }
    }

    /// Returns the files that were read, if any.
    async fn read(&mut self, why: ReloadCause) -> Option<Vec<FileVersion>> {
        let flags = self.flags.clone();
        let (loaded, sources) = match self.tasks.blocking(move || config::load(&flags)).await {
            Some(Loaded { settings: Ok(settings), sources }) => {
                (self.apply(settings), Some(sources))
            }
            Some(Loaded { settings: Err(problems), sources }) => {
                (Err(problems.to_string()), Some(sources))
            }
            None => (Err("reading them failed".to_owned()), None),
        };
        let why = why.as_str();
        match loaded {
            Ok(Changes { applied, waiting }) if waiting.is_empty() => {
                tracing::info!(why, applied = applied.join(", "), "reloaded the settings");
            }
            Ok(Changes { applied, waiting }) => {
                let (applied, needs_restart) = (applied.join(", "), waiting.join(", "));
                tracing::warn!(
                    why,
                    applied,
                    needs_restart,
                    "reloaded the settings; some changes wait for a restart"
                );
            }
            Err(problems) => {
                tracing::error!(
                    why,
                    problems,
                    "the new settings are invalid; keeping the old ones"
                );
            }
        }
        sources
    }

    /// Applies all settings or none.
    fn apply(&mut self, mut new: Settings) -> Result<Changes, String> {
        if let (Some(old), None) = (&self.settings.file, &new.file) {
            return Err(format!("{} has vanished", old.display()));
        }
        new.keep_as_much_as(&self.settings);
        let changes = Changes::between(&self.settings, &new);
        let mut server = new.server.clone();
        server.connections = if server.connections == self.settings.server.connections {
            self.controls.connections()
        } else {
            descriptors::fit(server.connections)
        };
        self.controls
            .apply(server, new.engine.clone(), &new.provider, new.shutdown)
            .map_err(|error| error.to_string())?;
        if let Err(error) = (self.set_level)(&new.log.level) {
            tracing::warn!(%error, "cannot change the level of the log");
        }
        for note in new.notes.iter().filter(|note| !self.settings.notes.contains(note)) {
            tracing::warn!("{note}");
        }
        self.settings = new.with_restart_settings_of(&self.settings);
        Ok(changes)
    }
}

/// The names of the settings that changed: values may be secrets.
#[derive(Debug, PartialEq, Eq)]
struct Changes {
    applied: Vec<String>,
    /// Those that take effect after the next start.
    waiting: Vec<String>,
}

impl Changes {
    fn between(old: &Settings, new: &Settings) -> Self {
        let rows = |settings: &Settings| -> BTreeSet<(String, String)> {
            settings.in_force.iter().map(|row| (row.path.clone(), row.value.clone())).collect()
        };
        let mut changed: BTreeSet<String> =
            rows(old).symmetric_difference(&rows(new)).map(|(path, _)| path.clone()).collect();
        for upstream in &new.provider.upstreams {
            let before = old.provider.upstreams.iter().find(|before| before.name == upstream.name);
            // The rows do not contain API keys.
            if before.is_some_and(|before| before.keys != upstream.keys) {
                changed.insert(format!("upstream.{}.api_key", upstream.name));
            }
        }
        if changed.is_empty() && old.provider != new.provider {
            changed.insert("upstream (their order)".to_owned());
        }
        let (waiting, applied) = changed.into_iter().partition(|path| config::needs_restart(path));
        Self { applied, waiting }
    }
}

impl Settings {
    /// The data directory changes only with the next start. Until then the default of `store.bytes`
    /// stays as it was.
    fn keep_as_much_as(&mut self, old: &Self) {
        let is_elsewhere = self.data != old.data;
        self.data.clone_from(&old.data);
        let is_default =
            |row: &&InForce| row.path == "store.bytes" && row.source == ValueSource::Default;
        let before = old.in_force.iter().find(is_default);
        let now = self.in_force.iter_mut().find(|row| is_default(&&**row));
        if let (true, Some(before), Some(now)) = (is_elsewhere, before, now) {
            now.clone_from(before);
            self.engine.kept_bytes = old.engine.kept_bytes;
        }
    }

    /// The settings now in force: those that need a restart keep their old value, so that every
    /// reload reports them again.
    fn with_restart_settings_of(mut self, old: &Self) -> Self {
        for row in self.in_force.iter_mut().filter(|row| config::needs_restart(&row.path)) {
            if let Some(before) = old.in_force.iter().find(|before| before.path == row.path) {
                row.clone_from(before);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{TestResult, environment, file, settings};

    use super::*;

    fn of(text: &str) -> Result<Settings, config::problem::Problems> {
        settings(&[("data", ":memory:")], &environment(&[]), Some(&file(text)))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn changed_settings_are_named_and_keys_are_not_shown() -> TestResult {
        let upstream = |key: &str| {
            format!(
                "[[upstream]]\nname = \"local\"\nbase_url = \"http://localhost:9/v1\"\napi_key = \"{key}\"\n"
            )
        };
        let old = of(&upstream("sk-old"))?;
        let new = of(&format!(
            "[server]\nheartbeat = \"20s\"\nlisten = \"127.0.0.1:1\"\n[demo]\nenabled = false\n{}",
            upstream("sk-new")
        ))?;
        let changes = Changes::between(&old, &new);
        assert_eq!(
            changes.applied,
            names(&["demo.enabled", "server.heartbeat", "upstream.local.api_key"])
        );
        assert_eq!(changes.waiting, names(&["server.listen"]));
        assert!(!format!("{changes:?}").contains("sk-"));
        Ok(())
    }

    #[test]
    fn changes_that_need_a_restart_are_reported_until_then() -> TestResult {
        let (old, new) = (of("")?, of("[log]\nformat = \"json\"\nlevel = \"debug\"\n")?);
        let now = new.clone().with_restart_settings_of(&old);
        let again = Changes::between(&now, &new);
        assert_eq!((again.applied, again.waiting), (Vec::new(), names(&["log.format"])));
        Ok(())
    }

    #[test]
    fn changing_the_data_directory_does_not_shrink_the_store() -> TestResult {
        let at = |data: &str| {
            settings(&[], &environment(&[]), Some(&file(&format!("data = \"{data}\"\n"))))
        };
        let (old, mut new) = (at("/var/lib/weir")?, at(":memory:")?);
        assert!(new.engine.kept_bytes < old.engine.kept_bytes);
        new.keep_as_much_as(&old);
        assert_eq!((&new.engine, &new.data), (&old.engine, &old.data));
        let changes = Changes::between(&old, &new);
        assert_eq!((changes.applied, changes.waiting), (names(&[]), names(&["data"])));
        Ok(())
    }

    #[test]
    fn adding_or_removing_an_upstream_is_a_change() -> TestResult {
        let new = of("[[upstream]]\nname = \"local\"\nbase_url = \"http://localhost:9/v1\"\n")?;
        let applied = Changes::between(&of("")?, &new).applied;
        assert!(applied.contains(&"upstream.local.base_url".to_owned()), "{applied:?}");
        assert_eq!(Changes::between(&new, &new).applied, names(&[]));
        Ok(())
    }
}
