//! `weir-fakes`: fake model servers of every vendor, for tests in any language.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use weir_fakes::{SCENARIOS, Upstream, Vendor};

const USAGE: &str = "\
weir-fakes: fake model servers of every vendor, for tests in any language.

Usage: weir-fakes [--key KEY]…

It listens on a free port of the loopback address and prints one line of JSON:
  url                                        the server, for the SDKs of Anthropic, Google and Ollama
  chat, responses, anthropic, gemini, ollama the base_url in Weir's settings
  azure                                      the same for OpenAI's models at Azure
  models                                     the scenarios

The model in a request selects the scenario; any other name is a short text. It runs until its standard input ends, and
then prints another line: the number of requests, and the complaints about them.

Options:
  --key KEY   refuse every other key, as the vendor does; can be repeated
  --help      print this
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error leaves no way to report it.
            let _ = writeln!(io::stderr(), "weir-fakes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut keys = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--help", _) => return Ok(io::stdout().write_all(USAGE.as_bytes())?),
            ("--key", Some(key)) => keys.push(key),
            (other, _) => bail!("{other} is not understood, or lacks its value; try --help"),
        }
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let upstream = runtime.block_on(Upstream::start_as(Vendor::OpenAi))?;
    upstream.play_scenarios();
    upstream.require_keys(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    print(&addresses(&upstream))?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    print(&json!({"requests": upstream.requests().len(), "complaints": upstream.complaints()}))
}

fn addresses(upstream: &Upstream) -> Value {
    let mut addresses = json!({"url": format!("http://{}", upstream.address())});
    for vendor in Vendor::ALL {
        addresses[vendor.name()] = json!(upstream.base_url_of(vendor));
    }
    addresses["azure"] = json!(upstream.azure_base_url());
    addresses["models"] = json!(SCENARIOS);
    addresses
}

fn print(line: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
