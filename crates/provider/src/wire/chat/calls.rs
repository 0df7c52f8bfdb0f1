//! Assigns the pieces of tool calls to their calls.
//!
//! OpenAI numbers its calls. Other servers use the index 0 for every call, another index or id for
//! every piece, or no id at all. So a piece is assigned by its id, its name, and whether the
//! arguments so far are complete JSON.

mod arguments;

use std::collections::BTreeSet;

use engine::provider::event::ToolCallDelta;
use serde_json::Map;

use self::arguments::{Arguments, ArgumentsProgress, Compact, JsonScanner};
use super::delta::CallPiece;
use crate::tools::Lifter;

pub(in crate::wire) use self::arguments::is_empty_object;

/// The tool calls of one response.
#[derive(Debug, Default)]
pub(super) struct ToolCalls(Vec<Call>);

#[derive(Debug, Default)]
struct Call {
    /// The index from the upstream, if any; not necessarily unique.
    wire_index: Option<u64>,
    id: Option<String>,
    name: String,
    /// Whether the name was emitted. An incomplete name is held back.
    is_name_said: bool,
    is_custom: bool,
    arguments: Arguments,
}

/// The call that a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallMatch {
    /// A known call.
    Known(usize),
    /// A new call.
    New,
    /// A new call of the same function as this one.
    NewLike(usize),
    /// A repetition of this call.
    Repeat(usize),
}

impl ToolCalls {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a piece; returns the resulting deltas.
    pub(super) fn read(&mut self, mut piece: CallPiece, lifter: &Lifter) -> Vec<ToolCallDelta> {
        let mut said = Vec::new();
        let position = match self.place(&piece, lifter) {
            CallMatch::Known(position) => position,
            CallMatch::Repeat(position) => {
                piece.arguments.clear();
                position
            }
            place @ (CallMatch::New | CallMatch::NewLike(_)) => {
                // A call's name is complete when another call starts.
                said.extend(self.names());
                let name = if let CallMatch::NewLike(like) = place {
                    self.0[like].name.clone()
                } else {
                    String::new()
                };
                self.0.push(Call { wire_index: piece.index, name, ..Call::default() });
                self.0.len() - 1
            }
        };
        said.extend(self.take(position, piece, lifter));
        said
    }

    /// Adds a piece to its call; returns the resulting delta.
    fn take(
        &mut self,
        position: usize,
        piece: CallPiece,
        lifter: &Lifter,
    ) -> Option<ToolCallDelta> {
        let is_id_free = piece.id.is_some()
            && !self
                .0
                .iter()
                .enumerate()
                .any(|(other, call)| other != position && call.id == piece.id);
        let call = &mut self.0[position];
        // Some servers repeat id and name in every piece; they are emitted once.
        let id = if call.id.is_none() && is_id_free { piece.id } else { None };
        call.id = call.id.take().or_else(|| id.clone());
        call.is_custom |= piece.is_custom;
        if let Some(name) = piece.name
            && !call.is_name_said
            && call.name != name
        {
            // Some servers send the complete name so far.
            if is_cumulative(&call.name, &name, lifter) {
                call.name = name;
            } else {
                call.name.push_str(&name);
            }
        }
        let arguments = call.arguments.take(piece.arguments);
        let is_settled = !lifter.has_any()
            || (lifter.has(&call.name) && !lifter.may_go_on(&call.name))
            || !arguments.is_empty();
        let name = call.take_name(is_settled);
        let has_content =
            id.is_some() || name.is_some() || !arguments.is_empty() || !piece.extra.is_empty();
        let (index, is_custom) = (position as u64, call.is_custom);
        has_content.then_some(ToolCallDelta {
            index,
            id,
            name,
            is_custom,
            arguments,
            extra: piece.extra,
        })
    }

    /// Reads complete calls. What already arrived in pieces is not emitted again.
    pub(super) fn read_whole(
        &mut self,
        pieces: Vec<CallPiece>,
        lifter: &Lifter,
    ) -> Vec<ToolCallDelta> {
        let mut said = Vec::new();
        let mut matched = BTreeSet::new();
        let known = self.0.len();
        for mut piece in pieces {
            match (0..known)
                .filter(|position| !matched.contains(position))
                .min_by_key(|position| self.0[*position].likeness(&piece))
            {
                Some(position) if self.0[position].likeness(&piece) != Likeness::Other => {
                    matched.insert(position);
                    let rest = self.0[position].arguments.so_far.rest(&piece.arguments);
                    let rest = rest.filter(|_| {
                        self.0[position].arguments.progress() != ArgumentsProgress::Complete
                            || self.0[position].arguments.is_placeholder
                    });
                    piece.arguments = rest.map(str::to_owned).unwrap_or_default();
                    said.extend(self.take(position, piece, lifter));
                }
                // It may be a piece after all.
                Some(_) if piece.name.is_none() => said.extend(self.read(piece, lifter)),
                Some(_) | None => {
                    said.extend(self.names());
                    self.0.push(Call { wire_index: piece.index, ..Call::default() });
                    said.extend(self.take(self.0.len() - 1, piece, lifter));
                }
            }
        }
        said
    }

    /// Names that were held back, at the end.
    pub(super) fn names(&mut self) -> Vec<ToolCallDelta> {
        let name = |(index, call): (usize, &mut Call)| {
            let name = call.take_name(true)?;
            Some(ToolCallDelta {
                index: index as u64,
                name: Some(name),
                is_custom: call.is_custom,
                extra: Map::new(),
                ..Default::default()
            })
        };
        self.0.iter_mut().enumerate().filter_map(name).collect()
    }

    fn place(&self, piece: &CallPiece, lifter: &Lifter) -> CallMatch {
        let Some(position) = self.candidate(piece) else { return self.without_candidate(piece) };
        match &piece.name {
            None => self.nameless(position, piece),
            Some(name) => self.named(position, name, piece, lifter),
        }
    }

    /// The call that a piece may continue: by id, else by index, else the last call.
    fn candidate(&self, piece: &CallPiece) -> Option<usize> {
        let last = |is_it: &dyn Fn(&Call) -> bool| self.0.iter().rposition(is_it);
        let of_id = |call: &Call| piece.id.is_some() && call.id == piece.id;
        let of_index = |call: &Call| piece.index.is_some() && call.wire_index == piece.index;
        let newest = || {
            if piece.index.is_none() && piece.id.is_none() {
                self.0.len().checked_sub(1)
            } else {
                None
            }
        };
        last(&|call| of_id(call) && of_index(call))
            .or_else(|| last(&of_id))
            .or_else(|| last(&of_index))
            .or_else(newest)
    }

    /// A new index, or a new id without an index. Some servers number pieces instead of calls: a
    /// piece without a name continues incomplete arguments.
    fn without_candidate(&self, piece: &CallPiece) -> CallMatch {
        let last = self.0.len().checked_sub(1);
        match last {
            Some(last)
                if piece.name.is_none()
                    && self.0[last].arguments.progress() != ArgumentsProgress::Complete =>
            {
                CallMatch::Known(last)
            }
            Some(_) | None => CallMatch::New,
        }
    }

    fn nameless(&self, position: usize, piece: &CallPiece) -> CallMatch {
        let call = &self.0[position];
        if call.arguments.is_placeholder
            || call.arguments.progress() != ArgumentsProgress::Complete
            || piece.arguments.trim().is_empty()
        {
            return if call.arguments.scanner == JsonScanner::Complete {
                CallMatch::Repeat(position)
            } else {
                CallMatch::Known(position)
            };
        }
        if call.arguments.so_far.is_all(&piece.arguments) {
            CallMatch::Repeat(position)
        } else if piece.arguments.trim_start().starts_with('{') {
            // Two objects are two calls.
            CallMatch::NewLike(position)
        } else {
            CallMatch::Known(position)
        }
    }

    fn named(&self, position: usize, name: &str, piece: &CallPiece, lifter: &Lifter) -> CallMatch {
        let call = &self.0[position];
        let is_same_id = piece.id.is_some() && call.id == piece.id;
        let is_other_id = piece.id.is_some() && call.id.is_some() && call.id != piece.id;
        let is_same_name = call.name == name;
        match call.arguments.progress() {
            _ if call.name.is_empty() => CallMatch::Known(position),
            ArgumentsProgress::Complete
                if call.arguments.is_placeholder && is_same_id && is_same_name =>
            {
                CallMatch::Known(position)
            }
            // The complete call again, as a summary.
            ArgumentsProgress::Complete
                if is_same_name
                    && !is_other_id
                    && call.arguments.so_far.is_all(&piece.arguments)
                    && piece.id.is_some() =>
            {
                CallMatch::Repeat(position)
            }
            ArgumentsProgress::Complete
                if is_same_name && !is_other_id && piece.arguments.is_empty() =>
            {
                CallMatch::Repeat(position)
            }
            ArgumentsProgress::Complete => CallMatch::New,
            // Two ids, and no arguments for either.
            ArgumentsProgress::Nothing
                if is_same_name && is_other_id && piece.arguments.is_empty() =>
            {
                CallMatch::New
            }
            ArgumentsProgress::Nothing | ArgumentsProgress::Incomplete if is_same_name => {
                CallMatch::Known(position)
            }
            ArgumentsProgress::Incomplete if is_other_id || lifter.has(name) => CallMatch::New,
            ArgumentsProgress::Incomplete => CallMatch::Known(position),
            // No arguments yet: the name may arrive in pieces.
            ArgumentsProgress::Nothing => {
                let joined = format!("{}{name}", call.name);
                let is_more =
                    !call.is_name_said && !is_other_id && is_cumulative(&call.name, name, lifter);
                let is_piece = is_more || lifter.has(&joined) || lifter.may_go_on(&joined);
                let is_other = is_other_id || lifter.has(name) || call.is_name_said;
                if is_other && !is_piece { CallMatch::New } else { CallMatch::Known(position) }
            }
        }
    }
}

/// How well a complete call matches one that arrived in pieces, best match first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    SameId,
    SameArguments,
    /// Its arguments start with those that arrived.
    Begun,
    Other,
}

/// Whether `name` repeats the complete name so far, instead of continuing it.
fn is_cumulative(so_far: &str, name: &str, lifter: &Lifter) -> bool {
    let joined = || format!("{so_far}{name}");
    name.len() > so_far.len()
        && name.starts_with(so_far)
        && !lifter.has(&joined())
        && !lifter.may_go_on(&joined())
}

impl Call {
    fn likeness(&self, whole: &CallPiece) -> Likeness {
        let is_same_name = whole.name.as_ref().is_none_or(|name| name.starts_with(&self.name));
        if whole.id.is_some() && whole.id == self.id {
            return Likeness::SameId;
        }
        if !is_same_name {
            return Likeness::Other;
        }
        let so_far = &self.arguments;
        let is_empty = so_far.so_far.is_empty()
            && (whole.arguments.trim().is_empty() || is_empty_object(&whole.arguments));
        if is_empty || so_far.compact == Compact::of(&whole.arguments) {
            return Likeness::SameArguments;
        }
        let is_open = so_far.progress() != ArgumentsProgress::Complete || so_far.is_placeholder;
        if is_open && so_far.so_far.rest(&whole.arguments).is_some() {
            Likeness::Begun
        } else {
            Likeness::Other
        }
    }

    /// The name, if it is complete and was not emitted yet.
    fn take_name(&mut self, is_settled: bool) -> Option<String> {
        if self.is_name_said || self.name.is_empty() || !is_settled {
            return None;
        }
        self.is_name_said = true;
        Some(self.name.clone())
    }
}

#[cfg(test)]
mod tests;
