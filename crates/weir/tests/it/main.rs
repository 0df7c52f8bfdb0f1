//! End-to-end tests: real sockets on free ports, a scripted upstream, and checks that nothing is left over.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::disallowed_methods, reason = "a test that ends has awaited what it spawned")]

mod program;
mod test_server;

mod base_urls;
mod broken_off;
mod credentials;
mod failed_bodies;
mod failing_log;
mod faults;
mod heads;
mod hostile;
mod leaving;
mod logs;
mod metrics;
mod process;
mod refusals;
mod request_bodies;
mod spine;
mod streams;
mod traces;
mod vanish;

mod crash;
mod durable;
mod storage;

mod keys_of_upstreams;
mod routes;
mod upstream_command;
mod upstream_keys_reload;

mod classic;
mod compaction;
mod escapes;
mod events_endpoint;
mod idempotency;
mod isolation;
mod keyless;
mod odd;
mod operations;
mod resume;
mod revocation;
mod scenarios;
mod tickets;
mod tools;
mod turns;

mod passthrough;
mod providers;

mod probe;
mod tap;

mod chat;

mod compare;
mod deflate;
mod deploy;
mod dialects;
mod drain;
mod forwarded;
mod http1;
mod http2;
mod http2_sockets;
mod lens;
mod limits;
mod reload;
mod rolling;
mod service;
mod shares;
mod sockets;
mod tls;
mod transports;
