//! `weir key create|list|revoke`: changes the data directory, and takes effect immediately, even on
//! a running server.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use store::keys::KeyFile;
use store::keys::key::{Key, KeyRole, NewKey};

use super::output::{Printed, columns};
use crate::config::settings::Settings;

pub(super) const EXAMPLES: &str = "\
Examples:
  weir key create --name laptop            make a key; it is shown only this once
  KEY=$(weir key create --name ci)         the same in a script: standard output is the key alone
  weir key list                            list the keys
  weir key revoke key_0123456789abcdef     revoke one; it takes effect immediately, and the
                                           streams, sockets and responses of that key end";

/// What to do with keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it, only this once
    Create {
        /// Its name in the list
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        /// Allow its holder to read metrics, upstreams and all connections
        #[arg(long)]
        admin: bool,
    },
    /// List the keys: id, role, time of creation, name
    List,
    /// Revoke a key
    Revoke {
        /// Its id, as shown by weir key list
        id: String,
    },
}

/// Runs the command at the time `now`.
pub(crate) fn run(settings: &Settings, command: &KeyCommand, now: SystemTime) -> Result<Printed> {
    let Some(directory) = settings.data.directory() else {
        bail!("with --data :memory: there is nowhere to keep keys; choose a directory");
    };
    let keys = KeyFile::open(directory).context("cannot read the keys")?;
    match command {
        KeyCommand::Create { name, admin } => {
            let role = if *admin { KeyRole::Admin } else { KeyRole::User };
            let new = keys.create(name, role, now).context("cannot create the key")?;
            Ok(created(&new, settings))
        }
        KeyCommand::List => Ok(listed(&keys.list()?, &keys)),
        KeyCommand::Revoke { id } => revoke(&keys, id),
    }
}

fn created(new: &NewKey, settings: &Settings) -> Printed {
    let (id, address) = (&new.key.id, settings.server.listen);
    let first = "This is your first key. From now on every request needs one, including on servers already running, which close the streams and sockets opened without one.\n";
    let hints = format!(
        "Made {id}. The line above is the key; it is shown only this once. For example, with KEY set to it:\n  \
         curl -H \"Authorization: Bearer $KEY\" http://{address}/v1/models\n{}",
        if new.first { first } else { "" }
    );
    Printed { out: format!("{}\n", new.secret.reveal()), hints }
}

fn listed(keys: &[Key], file: &KeyFile) -> Printed {
    if keys.is_empty() {
        let hints = match (file.require(), file.has_had_keys()) {
            (Err(error), _) => format!("There are no keys, and every request is refused: {error}.\n"),
            (Ok(()), true) => format!("There are no keys any more: {CLOSED} Create one with weir key create.\n"),
            (Ok(()), false) => {
                "There are no keys: every program on this machine may use the server. Create one with weir key create.\n".to_owned()
            }
        };
        return Printed { out: String::new(), hints };
    }
    let heading = ["id", "role", "made", "name"].map(str::to_owned);
    let rows = keys.iter().map(|key| {
        [key.id.clone(), role(key.role).to_owned(), date(key.created_at), key.name.clone()]
    });
    Printed {
        out: columns(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()),
        hints: String::new(),
    }
}

fn revoke(keys: &KeyFile, id: &str) -> Result<Printed> {
    if id.starts_with("wk_") {
        bail!("that is a key, not its id; weir key list shows the ids");
    }
    let Some(key) = keys.revoke(id)? else {
        bail!("there is no key {id}; weir key list shows the ids");
    };
    let mut hints = format!(
        "Revoked {}{}.\n",
        key.id,
        if key.name.is_empty() { String::new() } else { format!(" ({})", key.name) }
    );
    if keys.list()?.is_empty() {
        hints.extend(["It was the last key: ", CLOSED, "\n"]);
    }
    Ok(Printed { out: String::new(), hints })
}

/// The state of a server whose last key was revoked.
const CLOSED: &str = "a running server refuses every request until there is another key, and a server started without keys serves only this machine.";

fn role(role: KeyRole) -> &'static str {
    match role {
        KeyRole::User => "user",
        KeyRole::Admin => "admin",
    }
}

/// Seconds since 1970 as a date and a time in UTC.
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

/// Days since 1970 as year, month and day (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms"): years start in March, so that the leap day is a year's last, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use crate::config::tests::{TestResult, environment, settings};

    use super::*;

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_750_000_000)
    }

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_750_000_000, "2025-06-15 15:06 UTC"),
            (4_102_444_800, "2100-01-01 00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn a_key_is_created_listed_and_revoked() -> TestResult {
        let root = tempfile::tempdir()?;
        let data = root.path().join("data").display().to_string();
        let settings = settings(&[("data", &data)], &environment(&[]), None)?;
        assert!(run(&settings, &KeyCommand::List, noon())?.hints.contains("weir key create"));

        let made =
            run(&settings, &KeyCommand::Create { name: "laptop".to_owned(), admin: true }, noon())?;
        assert!(made.out.starts_with("wk_") && made.out.lines().count() == 1, "{made:?}");
        assert!(
            !made.hints.contains("wk_") && made.hints.contains("127.0.0.1:8000"),
            "{}",
            made.hints
        );

        let list = run(&settings, &KeyCommand::List, noon())?.out;
        let line = list.lines().nth(1).unwrap_or_default();
        assert!(line.ends_with("  admin  2025-06-15 15:06 UTC  laptop"), "{list}");
        let id = line.split_whitespace().next().unwrap_or_default().to_owned();

        let secret = made.out.trim().to_owned();
        let refused = run(&settings, &KeyCommand::Revoke { id: secret.clone() }, noon())
            .err()
            .map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.contains("not its id") && !text.contains(&secret)));
        let revoked = run(&settings, &KeyCommand::Revoke { id: id.clone() }, noon())?;
        assert!(
            revoked.hints.contains("(laptop)") && revoked.hints.contains("the last key"),
            "{revoked:?}"
        );
        // Regression: `weir key list` reported open access while the server rejected everybody.
        let list = run(&settings, &KeyCommand::List, noon())?.hints;
        assert!(
            list.contains("no keys any more") && list.contains("refuses every request"),
            "{list}"
        );
        assert!(run(&settings, &KeyCommand::Revoke { id }, noon()).is_err());
        Ok(())
    }

    #[test]
    fn keys_need_a_data_directory() -> TestResult {
        let settings = settings(&[("data", ":memory:")], &environment(&[]), None)?;
        assert!(run(&settings, &KeyCommand::List, noon()).is_err());
        Ok(())
    }
}
