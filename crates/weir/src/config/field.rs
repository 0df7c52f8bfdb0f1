//! Values of the file, each with the place where it stands.

use std::collections::BTreeMap;

use super::problem::ValueSource;
use super::value::Raw;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) place: ValueSource,
    pub(super) raw: Raw,
}

/// One `[[upstream]]`, `[[route]]` or `[[limit]]`, its keys known, its values not yet looked at.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) place: ValueSource,
    pub(super) fields: BTreeMap<&'static str, Field>,
}
