//! Behaviour of real upstreams beyond their documentation, from public bug reports: each case in every dialect and
//! frame, and what is sent back to the upstream in the next turn.

mod answers;
mod asked;
mod beside;
mod case;
mod errors;
mod functions;
mod limits;
mod pieces;
mod rounds;
mod run;
mod settings;
mod wires;
