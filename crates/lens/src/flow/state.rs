//! The states of a connection's two ends, and the steps of its handshake and its close, as its
//! segments imply them (RFC 9293, sections 3.3.2, 3.5 and 3.6).

use super::close::{ClosingSequence, ConnectionEnding};
use super::connection::{TcpConnection, TcpHandshake};
use super::segment::Segment;
use super::side::{PerSide, Side};
use crate::packet::tcp::TcpFlags;

/// The state of one end (RFC 9293, section 3.3.2, figure 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the standard's names")]
pub enum State {
    Closed,
    Listen,
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

impl State {
    /// As the standard writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }
}

/// What a segment is in the three-way handshake or in the close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client's SYN.
    Syn,
    /// The server's SYN and ACK.
    SynAck,
    /// The client's ACK of the server's SYN.
    HandshakeAck,
    /// The first FIN.
    FirstFin,
    /// The first acknowledgment of the first FIN.
    FirstFinAck,
    /// The other side's FIN.
    SecondFin,
    /// The first acknowledgment of the other side's FIN.
    SecondFinAck,
    /// A reset.
    Reset,
}

/// What a segment is and does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transition {
    /// What it is in the handshake or the close; a segment may be two steps at once.
    pub steps: Vec<Step>,
    /// The states of the two ends that begin with it, in order: the sender's as it sends it, the
    /// other's as it receives it.
    pub states: PerSide<Vec<State>>,
}

/// The states before the first segment: the server waits for connections.
pub const INITIAL: PerSide<State> = PerSide { client: State::Closed, server: State::Listen };

/// The transition of each segment of a connection whose start was captured.
pub fn transitions(connection: &TcpConnection) -> Vec<Transition> {
    let mut machine = Machine {
        states: INITIAL,
        handshake: connection.handshake,
        closing: connection.closing(),
        is_simultaneous: matches!(connection.ending(), ConnectionEnding::Closed(closed) if closed.is_simultaneous),
    };
    connection.segments().iter().map(|segment| machine.step(segment)).collect()
}

struct Machine<'a> {
    states: PerSide<State>,
    handshake: TcpHandshake,
    closing: &'a ClosingSequence,
    is_simultaneous: bool,
}

impl Machine<'_> {
    fn step(&mut self, segment: &Segment) -> Transition {
        let mut transition = Transition::default();
        let is =
            |place: Option<(u64, _)>| place.is_some_and(|(number, _)| number == segment.number);
        if segment.flags.contains(TcpFlags::RST) {
            transition.steps.push(Step::Reset);
            for side in Side::ALL {
                self.enter(side, State::Closed, &mut transition);
            }
        } else if is(self.handshake.syn) {
            transition.steps.push(Step::Syn);
            self.enter(Side::Client, State::SynSent, &mut transition);
            self.enter(Side::Server, State::SynReceived, &mut transition);
        } else if is(self.handshake.syn_ack) {
            transition.steps.push(Step::SynAck);
            self.enter(Side::Client, State::Established, &mut transition);
        } else {
            if is(self.handshake.ack) {
                transition.steps.push(Step::HandshakeAck);
                self.enter(Side::Server, State::Established, &mut transition);
            }
            self.acknowledge(segment, &mut transition);
            self.finish(segment, &mut transition);
        }
        transition
    }

    /// The acknowledgment of the other side's FIN.
    fn acknowledge(&mut self, segment: &Segment, transition: &mut Transition) {
        let (sender, other) = (segment.from, segment.from.other());
        let is_first = self.closing.first == Some(other);
        if self.closing.fins.of(other).and_then(|fin| fin.acknowledged) != Some(segment.number) {
            return;
        }
        transition.steps.push(if is_first { Step::FirstFinAck } else { Step::SecondFinAck });
        // With the sender's own FIN it leads to TIME-WAIT at once (RFC 9293, section 3.3.2, note 3).
        let has_fin = self.closing.fins.of(sender).map(|fin| fin.segment) == Some(segment.number);
        match self.states.of(other) {
            State::FinWait1 if has_fin => self.enter(other, State::TimeWait, transition),
            State::FinWait1 => self.enter(other, State::FinWait2, transition),
            State::LastAck => self.enter(other, State::Closed, transition),
            State::Closing => self.enter(other, State::TimeWait, transition),
            State::Closed
            | State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait2
            | State::CloseWait
            | State::TimeWait => {}
        }
    }

    /// A side's first FIN.
    fn finish(&mut self, segment: &Segment, transition: &mut Transition) {
        let (sender, other) = (segment.from, segment.from.other());
        if self.closing.fins.of(sender).map(|fin| fin.segment) != Some(segment.number) {
            return;
        }
        let is_first = self.closing.first == Some(sender);
        transition.steps.push(if is_first { Step::FirstFin } else { Step::SecondFin });
        let has_received = *self.states.of(sender) == State::CloseWait;
        let next = if has_received { State::LastAck } else { State::FinWait1 };
        self.enter(sender, next, transition);
        if self.is_simultaneous && !is_first {
            self.enter(sender, State::Closing, transition);
        }
        match self.states.of(other) {
            // It sends its own FIN before it receives this one.
            State::Established if self.is_simultaneous => {}
            State::Established => self.enter(other, State::CloseWait, transition),
            State::FinWait1 => self.enter(other, State::Closing, transition),
            State::FinWait2 => self.enter(other, State::TimeWait, transition),
            State::Closed
            | State::Listen
            | State::SynSent
            | State::SynReceived
            | State::CloseWait
            | State::Closing
            | State::LastAck
            | State::TimeWait => {}
        }
    }

    fn enter(&mut self, side: Side, state: State, transition: &mut Transition) {
        if *self.states.of(side) != state {
            *self.states.of_mut(side) = state;
            transition.states.of_mut(side).push(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::build::{ACK, FIN, PSH, RST, Script};

    /// Each segment as `steps: client's states / server's states`.
    fn told(script: &Script) -> Vec<String> {
        let flows = script.flows();
        let transitions = transitions(flows.iter().next().unwrap().1);
        let names = |states: &[State]| {
            states.iter().map(|state| state.name()).collect::<Vec<_>>().join(" ")
        };
        transitions
            .iter()
            .map(|transition| {
                let steps: Vec<String> =
                    transition.steps.iter().map(|step| format!("{step:?}")).collect();
                format!(
                    "{}: {} / {}",
                    steps.join(" "),
                    names(&transition.states.client),
                    names(&transition.states.server)
                )
            })
            .collect()
    }

    const HANDSHAKE: [&str; 3] =
        ["Syn: SYN-SENT / SYN-RECEIVED", "SynAck: ESTABLISHED / ", "HandshakeAck:  / ESTABLISHED"];

    fn check(script: &Script, after_handshake: &[&str]) {
        assert_eq!(told(script), [&HANDSHAKE, after_handshake].concat());
    }

    #[test]
    fn a_close_in_four_segments_goes_through_all_states() {
        let mut script = Script::new();
        script
            .handshake()
            .client(FIN, 1, 1, b"")
            .server(ACK, 1, 2, b"")
            .server(FIN, 1, 2, b"")
            .client(ACK, 2, 2, b"");
        check(
            &script,
            &[
                "FirstFin: FIN-WAIT-1 / CLOSE-WAIT",
                "FirstFinAck: FIN-WAIT-2 / ",
                "SecondFin: TIME-WAIT / LAST-ACK",
                "SecondFinAck:  / CLOSED",
            ],
        );
    }

    #[test]
    fn in_three_segments_two_steps_are_one() {
        let mut script = Script::new();
        script
            .handshake()
            .server(PSH, 1, 1, b"bye")
            .server(FIN, 4, 1, b"")
            .client(FIN, 1, 5, b"")
            .server(ACK, 5, 2, b"");
        check(
            &script,
            &[
                ":  / ",
                "FirstFin: CLOSE-WAIT / FIN-WAIT-1",
                "FirstFinAck SecondFin: LAST-ACK / TIME-WAIT",
                "SecondFinAck: CLOSED / ",
            ],
        );
    }

    #[test]
    fn data_may_acknowledge_the_first_fin() {
        let mut script = Script::new();
        script
            .handshake()
            .client(FIN, 1, 1, b"ask")
            .server(PSH, 1, 5, b"answer")
            .client(ACK, 5, 7, b"")
            .server(FIN, 7, 5, b"")
            .client(ACK, 5, 8, b"");
        check(
            &script,
            &[
                "FirstFin: FIN-WAIT-1 / CLOSE-WAIT",
                "FirstFinAck: FIN-WAIT-2 / ",
                ":  / ",
                "SecondFin: TIME-WAIT / LAST-ACK",
                "SecondFinAck:  / CLOSED",
            ],
        );
    }

    #[test]
    fn both_may_close_at_once_and_both_wait() {
        let mut script = Script::new();
        script
            .handshake()
            .client(FIN, 1, 1, b"")
            .server(FIN, 1, 1, b"")
            .client(ACK, 2, 2, b"")
            .server(ACK, 2, 2, b"");
        check(
            &script,
            &[
                "FirstFin: FIN-WAIT-1 / ",
                "SecondFin: CLOSING / FIN-WAIT-1 CLOSING",
                "SecondFinAck:  / TIME-WAIT",
                "FirstFinAck: TIME-WAIT / ",
            ],
        );
    }

    #[test]
    fn a_reset_closes_both() {
        let mut script = Script::new();
        script.handshake().server(PSH, 1, 1, b"part").client(RST, 1, 0, b"");
        check(&script, &[":  / ", "Reset: CLOSED / CLOSED"]);
    }
}
