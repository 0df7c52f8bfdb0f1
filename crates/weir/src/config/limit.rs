//! Limits of single API keys: one for each `[[limit]]` of the file. Missing values are those of
//! `[limits]`.

use engine::shares::{CallerLimits, Shares};

use super::field::Table;
use super::problem::Problem;
use super::settings::InForce;
use super::value::{self, Raw};

/// The keys of a `[[limit]]`, each with its line of the example.
pub(super) const KEYS: &[(&str, &str)] = &[
    (
        "key",
        r#""key_3f2a"                      # the id of the API key, as `weir key list` shows it"#,
    ),
    ("running", "10                             # responses that run or wait at once"),
    ("requests_per_second", "5                  # on average; twice as many may come at once"),
    ("memory_bytes", r#""32MiB"                 # of engine.memory_bytes"#),
    ("stored_bytes", r#""1GiB"                  # of store.bytes"#),
    ("connections", "20                         # open at once"),
];

/// The inputs and results of reading limits.
pub(super) struct LimitReader<'a> {
    pub(super) shares: &'a mut Shares,
    pub(super) in_force: &'a mut Vec<InForce>,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl LimitReader<'_> {
    /// Reads one `[[limit]]`.
    pub(super) fn add(&mut self, table: &Table) {
        let defaults = self.shares.default_limits;
        let count = |raw: &Raw| value::count(raw, 1);
        let bytes = |raw: &Raw| value::bytes(raw, 1);
        let share = CallerLimits {
            running: self.read(table, "running", count).unwrap_or(defaults.running),
            requests_per_second: self.read(table, "requests_per_second", count).map_or(
                defaults.requests_per_second,
                |count| {
                    // A larger number means no limit.
                    u32::try_from(count).unwrap_or(u32::MAX)
                },
            ),
            memory_bytes: self.read(table, "memory_bytes", bytes).unwrap_or(defaults.memory_bytes),
            stored_bytes: self.read(table, "stored_bytes", bytes).unwrap_or(defaults.stored_bytes),
            connections: self.read(table, "connections", count).unwrap_or(defaults.connections),
        };
        if !table.fields.contains_key("key") {
            return self.problem(table, "key", "missing");
        }
        let Some(key) = self.read(table, "key", |raw| value::text(raw).map(str::to_owned)) else {
            return;
        };
        if !key.starts_with("key_") {
            return self.problem(
                table,
                "key",
                "expected the id of a key, such as key_3f2a; `weir key list` shows them",
            );
        }
        if self.shares.keys.insert(key.clone(), share).is_some() {
            return self.problem(table, "key", &format!("there is already a limit for {key:?}"));
        }
        for (name, _) in KEYS.iter().filter(|(name, _)| *name != "key") {
            if let Some(field) = table.fields.get(name) {
                let (path, value) = (format!("limit.{key}.{name}"), field.raw.to_string());
                self.in_force.push(InForce { path, value, source: field.source.clone() });
            }
        }
    }

    fn read<T>(
        &mut self,
        table: &Table,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        let field = table.fields.get(key)?;
        read(&field.raw).map_err(|message| self.problem(table, key, &message)).ok()
    }

    fn problem(&mut self, table: &Table, key: &str, message: &str) {
        let source = table.fields.get(key).map_or(&table.source, |field| &field.source);
        self.problems.push(Problem::value(source, &format!("limit.{key}"), message));
    }
}
