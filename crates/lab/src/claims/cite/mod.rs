//! What each ruling cites of the packets of the cells and the experiments.

pub(crate) mod cells;
pub(crate) mod connections;
pub(crate) mod names;
pub(crate) mod requests;
pub(crate) mod streams;
