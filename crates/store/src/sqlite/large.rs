//! Writes a large input in steps; changes of other callers are made in between.

use std::vec;

use engine::store::ResponseRecord;

use super::failure::JobFailure;
use super::job::WriteTransaction;
use super::steps::{Step, Steps};
use super::tree::{self, ItemSide, Written};
use super::{leftovers, records};

/// How many items are written in one step, which takes some milliseconds.
const ITEMS: usize = 512;

/// The limit of their bytes, except for one larger item.
const BYTES: usize = 1 << 20;

/// A record with its items. Until the last step its row has no id, so no lookup finds it.
pub(super) struct LargeInsert {
    record: ResponseRecord,
    input: vec::IntoIter<Written>,
    /// The last item so far.
    head: Option<i64>,
    /// The row that the previous step has inserted; it exists if that was committed.
    row: Option<i64>,
    /// The row, once it was committed.
    committed: Option<i64>,
}

impl LargeInsert {
    pub(super) fn new(record: ResponseRecord, input: Vec<Written>) -> Self {
        Self { record, input: input.into_iter(), head: None, row: None, committed: None }
    }

    fn row(&mut self, change: &mut WriteTransaction<'_>) -> Result<i64, JobFailure> {
        if let Some(row) = self.row {
            return Ok(row);
        }
        let (row, parent) = records::reserve(change, &self.record)?;
        (self.row, self.head) = (Some(row), parent);
        Ok(row)
    }
}

/// Whether an input of this size should be written in steps.
pub(super) fn is_large(input: &[Written]) -> bool {
    input.len() > 1
        && (input.len() > ITEMS || input.iter().map(Written::bytes).sum::<usize>() > BYTES)
}

impl Steps for LargeInsert {
    fn step(&mut self, change: &mut WriteTransaction<'_>) -> Result<Step, JobFailure> {
        let row = self.row(change)?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < ITEMS && bytes < BYTES {
            let Some(item) = self.input.next() else { break };
            bytes += item.bytes();
            items.push(item);
        }
        self.head = tree::insert_items(change, row, ItemSide::Input, self.head, items)?;
        if self.input.len() > 0 {
            return Ok(Step::More);
        }
        records::show(change, row, &self.record, self.head)?;
        Ok(Step::Last)
    }

    fn committed(&mut self) {
        self.committed = self.row;
    }

    fn undo(&mut self, change: &mut WriteTransaction<'_>) -> Result<Step, JobFailure> {
        // A row that was not committed does not exist, and its number may now belong to another.
        self.committed.map_or(Ok(Step::Last), |row| leftovers::delete_some(change, row))
    }
}
