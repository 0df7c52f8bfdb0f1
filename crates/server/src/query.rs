//! Reads query parameters; errors name the malformed parameter.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use protocol::fault::Fault;

/// The parameters of a query; of repeated ones the last.
pub(crate) type Query = HashMap<String, String>;

/// A whole number, if it is there.
pub(crate) fn integer(
    query: &Query,
    name: &str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, Fault> {
    query.get(name).map(|text| parse(name, text, range)).transpose()
}

/// Parses the value of the parameter `name` as a whole number.
pub(crate) fn parse(name: &str, text: &str, range: RangeInclusive<u64>) -> Result<u64, Fault> {
    match text.trim().parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ if *range.end() == u64::MAX => Err(Fault::invalid(
            "invalid_value",
            name,
            format!(
                "Invalid value for '{name}': expected a whole number of {} or more.",
                range.start()
            ),
        )),
        _ => Err(Fault::invalid(
            "invalid_value",
            name,
            format!(
                "Invalid value for '{name}': expected a whole number from {} to {}.",
                range.start(),
                range.end()
            ),
        )),
    }
}

/// `true` or `false`; absent is false.
pub(crate) fn boolean(query: &Query, name: &str) -> Result<bool, Fault> {
    match query.get(name).map(String::as_str) {
        Some("true" | "1") => Ok(true),
        None | Some("false" | "0" | "") => Ok(false),
        Some(_) => Err(Fault::invalid(
            "invalid_value",
            name,
            format!("Invalid value for '{name}': expected true or false."),
        )),
    }
}
