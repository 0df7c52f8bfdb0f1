//! Reads Ollama's list of models (`GET /api/tags`).

use engine::provider::models::ModelListing;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct List {
    models: Vec<Value>,
}

/// Entries without a name are skipped; `name` is the owner.
pub(super) fn read(body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
    let list: List = serde_json::from_slice(body).ok()?;
    let listing = |entry: Value| {
        let text = |field: &str| entry.get(field)?.as_str().filter(|text| !text.is_empty());
        Some(ModelListing {
            id: text("model").or_else(|| text("name"))?.to_owned(),
            owned_by: name.to_owned(),
            created: text("modified_at").and_then(read_time).unwrap_or(0),
        })
    };
    Some(list.models.into_iter().filter_map(listing).collect())
}

/// Parses `2025-10-03T23:34:03.409490317-07:00` (RFC 3339, section 5.6) to seconds since 1970.
fn read_time(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let offset_start = time.find(['Z', '+', '-'])?;
    let (clock, offset) = time.split_at(offset_start);
    let whole = clock.split('.').next()?;
    let mut date = date.split('-').map(str::parse::<i64>);
    let mut number = || date.next()?.ok();
    let (year, month, day) = (number()?, number()?, number()?);
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let local = days_since_1970(year, month, day) * 86_400 + seconds_of(whole)?;
    let ahead = match offset.strip_prefix('-') {
        Some(offset) => -seconds_of(offset)?,
        None => offset.strip_prefix('+').map_or(Some(0), seconds_of)?,
    };
    u64::try_from(local - ahead).ok()
}

/// Parses `23:34:03` or `23:34`.
fn seconds_of(clock: &str) -> Option<i64> {
    let mut parts = clock
        .split(':')
        .map(|part| part.parse::<i64>().ok().filter(|number| (0..=60).contains(number)));
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    Some(hours * 3600 + minutes * 60 + seconds)
}

/// Days since 1970-01-01. Years are counted from March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719468 days from 0000-03-01 to 1970-01-01.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_list_entries_are_skipped() {
        let body = include_bytes!("../../../fixtures/ollama/tags.json");
        let listing =
            |id: &str, created| ModelListing { id: id.into(), owned_by: "north".into(), created };
        assert_eq!(
            read(body, "north"),
            Some(vec![listing("gemma3:latest", 1_759_559_643), listing("old:7b", 0)])
        );
        assert_eq!(read(b"<html>", "north"), None);
        assert_eq!(read(br#"{"models":[]}"#, "north"), Some(vec![]));
    }

    #[test]
    fn times_are_seconds_since_1970() {
        assert_eq!(read_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read_time("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        assert_eq!(read_time("2024-03-01T02:00:00.5+02:00"), Some(1_709_251_200));
        assert_eq!(read_time("2024-02-28T23:30:00-00:30"), Some(1_709_164_800));
        for wrong in [
            "",
            "today",
            "2024-02-30",
            "2024-13-01T00:00:00Z",
            "1969-12-31T00:00:00Z",
            "2024-02-29T99:00:00Z",
            "2024-02-29T00Z",
        ] {
            assert_eq!(read_time(wrong), None, "{wrong}");
        }
    }
}
