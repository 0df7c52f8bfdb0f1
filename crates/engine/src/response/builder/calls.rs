//! The tool calls of a response that is being built.

use std::collections::BTreeMap;

use protocol::extra::Extra;

/// All calls, by the upstream's index. They may be interleaved, so they stay open until the end.
#[derive(Default)]
pub(super) struct Calls(BTreeMap<u64, Call>);

/// One call.
#[derive(Default)]
pub(super) struct Call {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) is_custom: bool,
    /// Arguments that came before the name was known.
    pub(super) held_back: String,
    pub(super) extra: Extra,
    pub(super) state: CallState,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum CallState {
    /// Its name is not known yet.
    #[default]
    Nameless,
    /// It is the item at this index of the output.
    Item(usize),
    /// It is beyond `max_tool_calls`.
    Ignored,
}

impl Calls {
    /// Whether the model called nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The indices of the calls in the output.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        self.0.values().filter_map(|call| match call.state {
            CallState::Item(output_index) => Some(output_index),
            CallState::Nameless | CallState::Ignored => None,
        })
    }

    /// Whether a call was never named.
    pub(super) fn has_nameless(&self) -> bool {
        self.0.values().any(|call| call.state == CallState::Nameless)
    }

    /// The call with the upstream's `index`; a new one if there is none.
    pub(super) fn entry(&mut self, index: u64) -> &mut Call {
        self.0.entry(index).or_default()
    }

    /// Adds a call that is in the output already.
    pub(super) fn resume(&mut self, output_index: usize) {
        let call = Call { state: CallState::Item(output_index), ..Call::default() };
        self.0.insert(output_index as u64, call);
    }
}
