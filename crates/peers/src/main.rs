//! Fake upstream and load client of the comparison with other servers, which `scripts/peers` runs.

mod client;
mod clock;
mod h2;
mod launch;
mod upstream;
mod verify;

use std::env;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: weir-peers upstream ADDRESS | client PLAN | launch PROGRAM ARGUMENT…";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["upstream", address] => upstream::serve(address.parse().context(USAGE)?),
        ["client", plan] => client::run(client::parse(plan)?),
        ["launch", program, arguments @ ..] => launch::launch(program, arguments),
        _ => bail!(USAGE),
    }
}
