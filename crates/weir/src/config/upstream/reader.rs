//! The state of reading upstreams, and the steps that every reader needs.

use std::io;
use std::path::Path;

use engine::provider::route::Timeouts;
use engine::secret::Secret;
use provider::config::UpstreamConfig;

use super::super::environment::{self, Environment};
use super::super::field::{Field, Table};
use super::super::problem::{Problem, ValueSource};
use super::super::settings::InForce;
use super::super::value::Raw;

/// The inputs and results of reading upstreams.
pub(in crate::config) struct UpstreamReader<'a> {
    pub(in crate::config) environment: &'a Environment,
    /// Reads a key file.
    pub(in crate::config) read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The directory that relative paths of key files start from.
    pub(in crate::config) base: &'a Path,
    /// The default timeouts.
    pub(in crate::config) timeouts: Timeouts,
    pub(in crate::config) configs: Vec<UpstreamConfig>,
    pub(in crate::config) in_force: &'a mut Vec<InForce>,
    pub(in crate::config) problems: &'a mut Vec<Problem>,
}

impl UpstreamReader<'_> {
    /// Reads a field if it is set; an invalid one is reported.
    pub(super) fn read<T>(
        &mut self,
        table: &Table,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        let field = table.fields.get(key)?;
        read(&field.raw).map_err(|message| self.problem(&field.source, key, &message)).ok()
    }

    pub(super) fn variable(&mut self, name: &str) -> Option<Field> {
        match environment::text(self.environment, name) {
            Ok(text) => text.map(|text| Field {
                source: ValueSource::Variable(name.to_owned()),
                raw: Raw::Typed(text.to_owned()),
            }),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    pub(super) fn secret(&mut self, text: &str, source: &ValueSource, key: &str) -> Option<Secret> {
        let text = text.trim();
        if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            self.problem(source, key, "not a key: a key is one word of letters, digits and signs");
            return None;
        }
        Some(Secret::new(text))
    }

    pub(super) fn problem(&mut self, source: &ValueSource, key: &str, message: &str) {
        self.problems.push(Problem::value(source, &format!("upstream.{key}"), message));
    }
}
