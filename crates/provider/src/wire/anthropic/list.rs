//! Reads Anthropic's list of models.

use engine::provider::models::ModelListing;
use serde::Deserialize;

/// Reads `GET /models`. Includes retired models, although they cannot be used; entries without a
/// name are skipped.
pub(super) fn read(body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
    let list: List = serde_json::from_slice(body).ok()?;
    let listing = |entry: serde_json::Value| {
        let text = |field: &str| entry.get(field)?.as_str().filter(|text| !text.is_empty());
        if text("lifecycle") == Some("retired") {
            return None;
        }
        let created = text("created_at").and_then(read_time).unwrap_or(0);
        Some(ModelListing { id: text("id")?.to_owned(), owned_by: name.to_owned(), created })
    };
    Some(list.data.into_iter().filter_map(listing).collect())
}

#[derive(Deserialize)]
struct List {
    data: Vec<serde_json::Value>,
}

/// Parses `2025-02-19T00:00:00Z` (RFC 3339) to seconds since 1970. Ignores fractions, and time
/// zones: Anthropic writes UTC.
fn read_time(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut numbers = date.split('-').map(|number| number.parse::<u64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let mut numbers = time.get(..8)?.split(':').map(|number| number.parse::<u64>().ok());
    let (hour, minute, second) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970. Years are counted from March, so that the leap day comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    // From March on, months have 31, 30, 31, 30, 31 days, repeating.
    let before_month = (month * 153 + 2) / 5;
    // 719,468 days from 0000-03-01 to 1970-01-01.
    before_year + before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_list_entries_are_skipped() {
        let body = include_bytes!("../../../fixtures/anthropic/models.json");
        let listing =
            |id: &str, created| ModelListing { id: id.into(), owned_by: "north".into(), created };
        let expected = vec![
            listing("claude-opus-4-6", 1_770_249_600),
            listing("claude-haiku-4-5-20251001", 1_760_486_400),
            listing("new", 0),
        ];
        assert_eq!(read(body, "north"), Some(expected));
        assert_eq!(read(b"<html>", "north"), None);
    }

    #[test]
    fn times_are_seconds_since_1970() {
        assert_eq!(read_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read_time("2000-02-29T12:34:56.789Z"), Some(951_827_696));
        assert_eq!(read_time("2025-02-19T00:00:00Z"), Some(1_739_923_200));
        for wrong in
            ["", "2025-02-19", "2025-13-01T00:00:00Z", "1066-10-14T00:00:00Z", "2025-02-19Tnoon"]
        {
            assert_eq!(read_time(wrong), None, "{wrong}");
        }
    }
}
