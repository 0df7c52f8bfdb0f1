//! What real upstreams send beyond what their documents say, as public bug reports have it: each case in every dialect and frame,
//! and what goes back to the upstream in the next turn.

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
