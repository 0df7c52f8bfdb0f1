//! Reads the retry delay of an upstream.

use http::header::{DATE, HeaderMap, RETRY_AFTER};

/// The longest delay; a wrong date would otherwise block a client for years.
const MAX_SECONDS: u64 = 86_400;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Headers with the reset time of a limit and what remains of it, as OpenAI and Groq send them.
const RESETS: [(&str, &str); 2] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
];

/// Reads `retry-after-ms` (OpenAI), `Retry-After` as seconds, a date (RFC 9110, section 10.2.3) or
/// a span (`1m30s`), or the reset time of exhausted limits. Between 1 and 86400.
pub(crate) fn read(headers: &HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds =
        || text("retry-after-ms").and_then(read_number).map(|milliseconds| milliseconds / 1000.0);
    let seconds = || {
        text(RETRY_AFTER.as_str()).and_then(|text| read_number(text).or_else(|| read_span(text)))
    };
    let is_left = |name: &str| text(name).is_some_and(|left| left != "0");
    let reset = |(remaining, reset): &(&str, &str)| {
        text(reset).filter(|_| !is_left(remaining)).and_then(read_span)
    };
    let resets = || RESETS.iter().filter_map(reset).reduce(f64::max);
    // Relative to the upstream's own date, so that its clock need not be right.
    let date = || {
        let (until, now) = (
            text(RETRY_AFTER.as_str()).and_then(read_date)?,
            text(DATE.as_str()).and_then(read_date)?,
        );
        Some(until.saturating_sub(now))
    };
    let whole = milliseconds()
        .or_else(seconds)
        .map(round_up)
        .or_else(date)
        .or_else(|| resets().map(round_up))?;
    Some(whole.clamp(1, MAX_SECONDS))
}

fn read_number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

/// Parses `1h2m3.5s` or `120ms` to seconds.
fn read_span(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 5] =
        [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("d", 86_400.0)];
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at(end);
        let (unit, length) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        seconds += read_number(number)? * length;
        rest = &after[unit.len()..];
    }
    (!text.is_empty()).then_some(seconds)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and a float cast saturates"
)]
fn round_up(seconds: f64) -> u64 {
    seconds.ceil() as u64
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7) to seconds since 1970. The
/// obsolete formats are not used any more.
fn read_date(text: &str) -> Option<u64> {
    let mut words = text.split_once(", ")?.1.split([' ', ':']);
    let mut number = || words.next()?.parse::<u64>().ok();
    let day = number()?;
    let month =
        words.next().and_then(|word| MONTHS.iter().position(|month| *month == word))? as u64;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    Some(((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second)
}

/// Days from 1970 to the first of `month` (0 is January) of `year`.
fn days_before(year: u64, month: u64) -> u64 {
    let is_leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let before_month = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let months =
        usize::try_from(month).ok().and_then(|month| before_month.get(month)).copied().unwrap_or(0);
    let leap_day = u64::from(is_leap && month >= 2);
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969) + months + leap_day
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)], expected: Option<u64>) {
        let pairs =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        assert_eq!(read(&pairs.collect::<HeaderMap>()), expected, "{headers:?}");
    }

    #[test]
    fn every_format_is_read() {
        check(&[], None);
        check(&[("retry-after", "7")], Some(7));
        check(&[("retry-after", "0")], Some(1));
        check(&[("retry-after", "99999999")], Some(86_400));
        check(&[("retry-after", "soon")], None);
        for (span, expected) in
            [("1m30s", 90), ("2s", 2), ("120ms", 1), ("1h", 3600), ("6m0s", 360), ("1.5s", 2)]
        {
            check(&[("retry-after", span)], Some(expected));
            check(&[("x-ratelimit-reset-requests", span)], Some(expected));
        }
        let tokens = [
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimit-reset-requests", "2m"),
            ("x-ratelimit-reset-tokens", "7s"),
        ];
        check(&tokens, Some(7));
        check(&[("retry-after", "3"), ("x-ratelimit-reset-requests", "2m")], Some(3));
        check(&[("retry-after", "1x")], None);
        check(&[("retry-after-ms", "1500"), ("retry-after", "7")], Some(2));
        let now = ("date", "Sat, 28 Feb 2026 23:59:50 GMT");
        check(&[("retry-after", "Sun, 01 Mar 2026 00:00:20 GMT"), now], Some(30));
        check(&[("retry-after", "Sun, 01 Mar 2026 00:00:20 GMT")], None);
        check(&[("retry-after", "Sat, 28 Feb 2026 23:00:00 GMT"), now], Some(1));
    }

    #[test]
    fn dates_are_seconds_since_1970() {
        assert_eq!(read_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(read_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(read_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(read_date("yesterday"), None);
    }
}
