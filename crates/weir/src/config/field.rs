//! Values of the file, each with its location.

use std::collections::BTreeMap;

use super::problem::ValueSource;
use super::value::Raw;

/// A value and its location.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) source: ValueSource,
    pub(super) raw: Raw,
}

/// One `[[upstream]]`, `[[route]]` or `[[limit]]`, with known keys and unparsed values.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) source: ValueSource,
    pub(super) fields: BTreeMap<&'static str, Field>,
}
