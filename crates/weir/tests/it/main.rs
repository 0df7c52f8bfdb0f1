//! Weir from the outside: real sockets on free ports, a scripted upstream, and leftovers that fail the test.
#![expect(clippy::panic, reason = "a test that cannot go on should say where")]

mod house;

mod spine;
