//! Every provider behind the same server: what each client hears of each of them, in words, in faults, in turns and in stops.

mod cases;
pub(crate) mod cells;
mod classic;
mod crowd;
mod leaves;
mod matrix;
mod refused;
mod rounds;
mod stops;
mod vendors;
