//! Every provider behind the same server: what each client hears of each of them, in words, in faults, in turns and in stops.

mod cases;
mod cells;
mod matrix;
mod vendors;
