//! The first event of `GET /chat`: that the connection is open, and since when. Its name keeps it
//! from the page's `onmessage`.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::dialect::Message;

/// The demo's text for "connected".
const NAME: &str = "连接成功！！！！";

/// The event at `now`, as in the demo, but with the time in UTC.
pub(super) fn connected(uid: &str, now: SystemTime) -> Message {
    let data = format!("\"{}\"", date(now));
    Message { name: Some(NAME), id: Some(uid.into()), position: None, data: data.into() }
}

/// `2023-03-12T15:03:59.158`
fn date(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}",
        since.subsec_millis()
    )
}

/// The date this many days after 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    // Years start in March, so that a leap day is a year's last; 719468 days lie between 0000-03-01
    // and 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(milliseconds: u64, expected: &str) {
        assert_eq!(date(UNIX_EPOCH + Duration::from_millis(milliseconds)), expected);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        check(0, "1970-01-01T00:00:00.000");
        check(951_782_400_000, "2000-02-29T00:00:00.000");
        check(1_678_633_439_158, "2023-03-12T15:03:59.158");
        check(1_709_164_800_001, "2024-02-29T00:00:00.001");
        check(1_735_689_599_999, "2024-12-31T23:59:59.999");
        check(4_102_444_800_000, "2100-01-01T00:00:00.000");
    }

    #[test]
    fn the_first_event_is_that_of_the_demo() {
        let Message { name, id, position, data } =
            connected("765431", UNIX_EPOCH + Duration::from_millis(1_678_633_439_158));
        assert_eq!(
            (name, id.as_deref(), position),
            (Some("连接成功！！！！"), Some("765431"), None)
        );
        assert_eq!(&*data, b"\"2023-03-12T15:03:59.158\"");
    }
}
