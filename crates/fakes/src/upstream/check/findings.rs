//! What the checks of a request are given, and what they find.

use client::http1::Headers;
use serde_json::Value;

use crate::upstream::vendor::Route;
use crate::upstream::vendor_error::VendorError;

/// A reason why the vendor refuses a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Complaint {
    /// The vendor's error.
    pub(crate) error: VendorError,
    /// The message, in the vendor's words where they are known.
    pub(crate) message: String,
    /// Whether a compatible server accepts it.
    pub(crate) only_strict: bool,
}

/// The parts of a request that are checked.
#[derive(Debug)]
pub(crate) struct CheckedRequest<'a> {
    pub(crate) route: &'a Route,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a Headers,
    pub(crate) body: &'a Value,
}

/// Collects complaints.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(super) Vec<Complaint>);

impl Findings {
    /// Adds a complaint that every server has.
    pub(super) fn invalid(&mut self, message: &str) {
        self.push(VendorError::Invalid, message, false);
    }

    /// Adds a complaint that only the vendor's own server has.
    pub(super) fn strict(&mut self, message: &str) {
        self.push(VendorError::Invalid, message, true);
    }

    fn push(&mut self, error: VendorError, message: &str, only_strict: bool) {
        self.0.push(Complaint { error, message: message.to_owned(), only_strict });
    }

    /// Adds a complaint for each field that is not in `known`; `message` is given its name.
    pub(super) fn unknown(
        &mut self,
        value: &Value,
        known: &[&str],
        message: impl Fn(&str) -> String,
    ) {
        for name in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
            if !known.contains(&name.as_str()) {
                self.strict(&message(name));
            }
        }
    }

    /// Adds a complaint unless a field is a non-empty text.
    pub(super) fn text(&mut self, body: &Value, name: &str, message: &str) {
        if body[name].as_str().is_none_or(str::is_empty) {
            self.invalid(message);
        }
    }
}

/// The elements of a list; none if the value is not a list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts at `name` in a list of objects.
pub(super) fn texts<'a>(list: &'a [Value], name: &str) -> Vec<&'a str> {
    list.iter().filter_map(|value| value[name].as_str()).collect()
}
