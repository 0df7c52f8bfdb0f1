//! The policy for a response whose last reader leaves, as requests and settings write it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What happens to a response when its last reader leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLeave {
    /// The upstream is closed at once; the text so far stays.
    Cancel,
    /// The response continues.
    Finish,
    /// The response continues for a limited time or number of output pieces, unless a reader
    /// returns; `None` is no limit.
    FinishWithin {
        /// Counted from when the last reader left.
        time: Option<Duration>,
        /// Pieces of the model's stream since then; each is about a token.
        tokens: Option<u64>,
    },
}

/// The accepted values, for messages.
pub const EXPECTED: &str = "cancel, finish, or finish_within with a time (30s), a number of tokens (500 tokens) or both (30s, 500 tokens)";

/// The text is not a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOnLeaveError;

impl FromStr for OnLeave {
    type Err = ParseOnLeaveError;

    fn from_str(text: &str) -> Result<Self, ParseOnLeaveError> {
        match text {
            "cancel" => return Ok(Self::Cancel),
            "finish" => return Ok(Self::Finish),
            _ => {}
        }
        let (mut time, mut tokens) = (None, None);
        for limit in
            text.strip_prefix("finish_within ").ok_or(ParseOnLeaveError)?.split(',').map(str::trim)
        {
            match limit.strip_suffix(" tokens") {
                Some(count) if tokens.is_none() => {
                    tokens = Some(count.parse().map_err(|_| ParseOnLeaveError)?);
                }
                None if time.is_none() => time = Some(duration(limit).ok_or(ParseOnLeaveError)?),
                Some(_) | None => return Err(ParseOnLeaveError),
            }
        }
        Ok(Self::FinishWithin { time, tokens })
    }
}

impl fmt::Display for OnLeave {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancel => formatter.write_str("cancel"),
            Self::Finish => formatter.write_str("finish"),
            Self::FinishWithin { time, tokens } => {
                formatter.write_str("finish_within ")?;
                if let Some(time) = time {
                    write!(formatter, "{}ms", time.as_millis())?;
                }
                if time.is_some() && tokens.is_some() {
                    formatter.write_str(", ")?;
                }
                tokens.map_or(Ok(()), |tokens| write!(formatter, "{tokens} tokens"))
            }
        }
    }
}

/// Reads `500ms`, `30s`, `5m` or `1h`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_back() {
        for text in [
            "cancel",
            "finish",
            "finish_within 30000ms",
            "finish_within 500 tokens",
            "finish_within 1ms, 7 tokens",
        ] {
            assert_eq!(text.parse::<OnLeave>().unwrap().to_string(), text);
        }
        let within =
            OnLeave::FinishWithin { time: Some(Duration::from_secs(90 * 60)), tokens: Some(2) };
        assert_eq!("finish_within 2 tokens,90m".parse(), Ok(within));
    }

    #[test]
    fn other_texts_are_not_policies() {
        let wrong = [
            "",
            "finish_within",
            "finish_within ",
            "finish_within 30",
            "finish_within 1s, 2s",
            "finish_within x tokens",
            "Cancel",
        ];
        for text in wrong {
            assert_eq!(text.parse::<OnLeave>(), Err(ParseOnLeaveError), "{text}");
        }
    }
}
