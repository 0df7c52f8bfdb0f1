//! The names that textbooks give to the segments of a handshake and a close.

use super::words::Language;
use crate::flow::state::Step;

/// What a segment is called, if it is a step of the handshake or of the close.
pub(super) fn step_name(steps: &[Step], language: Language) -> Option<String> {
    let name = match steps {
        [] => return None,
        [Step::FirstFinAck, Step::SecondFin] => {
            language.pick("second and third wave in one", "第二、第三次挥手合并")
        }
        [first, ..] => match first {
            Step::Syn => language.pick("first handshake", "第一次握手"),
            Step::SynAck => language.pick("second handshake", "第二次握手"),
            Step::HandshakeAck => language.pick("third handshake", "第三次握手"),
            Step::FirstFin => language.pick("first wave", "第一次挥手"),
            Step::FirstFinAck => language.pick("second wave", "第二次挥手"),
            Step::SecondFin => language.pick("third wave", "第三次挥手"),
            Step::SecondFinAck => language.pick("fourth wave", "第四次挥手"),
            Step::Reset => language.pick("reset: no wave at all", "重置：没有挥手"),
        },
    };
    Some(name.to_owned())
}

/// The states that begin at one end, in order.
pub(super) fn states_text(states: &[crate::flow::state::State]) -> String {
    states.iter().map(|state| state.name()).collect::<Vec<_>>().join(" → ")
}
