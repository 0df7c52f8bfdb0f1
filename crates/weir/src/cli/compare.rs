//! The arguments of `weir compare`.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lab::plan::{Dialect, Transport, Version};

pub(super) const EXAMPLES: &str = "\
Examples:
  weir compare --quick                               everything, in about a minute
  weir compare --dialect responses --transport sse,websocket --http 1.1,2
  weir compare --delay 30 --turns 3                  over a link with 30 ms of delay
  weir compare --server https://chat.example         a server elsewhere; its key is in WEIR_API_KEY

Each cell is measured several times (--runs). A run with a token much later than the others is repeated,
and the load of the machine during the measurement is at the top of the report.

It writes report.html, report.json, packet diagrams (SVG) and capture.pcapng (for Wireshark) to --output.
No root is needed on Linux: client and server are in a network of their own, joined by a cable, where every
packet is captured. If that is not allowed, it measures on loopback and reports what is missing.
A remote server gets hundreds of requests and stores its responses: select cells.

The exit status is 0 if every cell was measured and all counts agree, else 1.";

/// What `weir compare` takes.
#[derive(Clone, PartialEq, Eq, Args)]
pub(crate) struct CompareArguments {
    /// Short responses at a fast pace: about a minute
    #[arg(long)]
    pub(crate) quick: bool,
    /// The APIs to measure
    #[arg(long = "dialect", value_name = "NAME", value_delimiter = ',', default_values_t = DialectName::ALL)]
    pub(crate) dialects: Vec<DialectName>,
    /// The transports to measure
    #[arg(long = "transport", value_name = "NAME", value_delimiter = ',', default_values_t = TransportName::ALL)]
    pub(crate) transports: Vec<TransportName>,
    /// The versions of HTTP; 1.1-close opens a connection for each question
    #[arg(long = "http", value_name = "VERSION", value_delimiter = ',', default_values_t = VersionName::ALL)]
    pub(crate) versions: Vec<VersionName>,
    /// Without TLS, with it, or both
    #[arg(long, value_name = "WORD", default_value_t = Encrypted::Both, id = "encrypted")]
    pub(crate) encrypted: Encrypted,
    /// How often each cell is measured, every time from another one on [default: 3; 2 with --quick; 1 with --server]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) runs: Option<u16>,
    /// How many questions each conversation has [default: 5; 3 with --quick]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) turns: Option<u16>,
    /// How many tokens each response has [default: 40; 12 with --quick]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(5..=2000))]
    pub(crate) tokens: Option<u16>,
    /// The pause between two tokens, in milliseconds [default: 10; 5 with --quick]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) pace: Option<u16>,
    /// The text of the model, in place of --tokens; for another server: the question
    #[arg(long, value_name = "TEXT", conflicts_with = "tokens")]
    pub(crate) text: Option<String>,
    /// Delay of a packet in each direction, in milliseconds; the whole run takes longer
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) delay: Option<u16>,
    /// Bandwidth in each direction, in kilobytes per second
    #[arg(long, value_name = "KB", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) bandwidth: Option<u32>,
    /// A server elsewhere, instead of one of its own with the demo model
    #[arg(long, value_name = "URL", conflicts_with_all = ["delay", "bandwidth", "loopback"])]
    pub(crate) server: Option<String>,
    /// Its API key; prefer WEIR_API_KEY, which the process list does not show
    #[arg(long, value_name = "KEY", requires = "server")]
    pub(crate) key: Option<String>,
    /// The SHA-256 of the certificate of a server with HTTPS
    #[arg(long, value_name = "SHA-256", requires = "server")]
    pub(crate) fingerprint: Option<String>,
    /// The model to use there [default: the first that the server lists]
    #[arg(long, value_name = "NAME", requires = "server")]
    pub(crate) model: Option<String>,
    /// Measure on loopback, even if a network of its own is possible
    #[arg(long, conflicts_with_all = ["delay", "bandwidth"])]
    pub(crate) loopback: bool,
    /// The directory for the report; it is created
    #[arg(long, short, value_name = "DIRECTORY", default_value = "weir-compare")]
    pub(crate) output: PathBuf,
}

/// Without the key.
impl fmt::Debug for CompareArguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CompareArguments")
            .field("server", &self.server)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// Whether connections use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encrypted {
    /// Only in clear.
    Off,
    /// Only through TLS.
    On,
    /// Both.
    Both,
}

/// A name from the lab crate, as users type it.
macro_rules! named {
    ($name:ident, $inner:ty, $what:literal) => {
        #[doc = $what]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl $name {
            const ALL: [Self; <$inner>::ALL.len()] = {
                let mut all = [Self(<$inner>::ALL[0]); <$inner>::ALL.len()];
                let mut index = 0;
                while index < all.len() {
                    all[index] = Self(<$inner>::ALL[index]);
                    index += 1;
                }
                all
            };
        }

        impl ValueEnum for $name {
            fn value_variants<'a>() -> &'a [Self] {
                &Self::ALL
            }

            fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
                Some(clap::builder::PossibleValue::new(self.0.name()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.0.name())
            }
        }
    };
}

named!(DialectName, Dialect, "Which words.");
named!(TransportName, Transport, "Which transport.");
named!(VersionName, Version, "Which version of HTTP.");

impl fmt::Display for Encrypted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Both => "both",
        })
    }
}

impl Encrypted {
    /// In the order of measurement.
    pub(crate) fn each(self) -> &'static [bool] {
        match self {
            Self::Off => &[false],
            Self::On => &[true],
            Self::Both => &[false, true],
        }
    }
}
