//! Every provider with the same server: what each client receives from each of them: output, faults, turns and
//! cancellations.

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
