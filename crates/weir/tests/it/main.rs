//! Weir from the outside: real sockets on free ports, a scripted upstream, and leftovers that fail the test.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "a test that ends has awaited what it spawned")]

mod house;

mod spine;

mod http1;
mod http2;
mod limits;
mod tls;
