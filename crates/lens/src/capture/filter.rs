//! The filter that the kernel runs: classic BPF (linux/filter.h), written by hand, for any link
//! layer.

use crate::system::packet::Instruction;

// Load a word, half a word or a byte from a place; from the place plus X; four times a byte's lower
// half into X.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_INDEXED: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xB1;
// Jump if equal, if any bit is set.
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offsets below this are not bytes but the kernel's metadata of the packet.
const KNOWN: u32 = 0xFFFF_F000; // SKF_AD_OFF, -4096
const PROTOCOL: u32 = KNOWN;
const PACKET_TYPE: u32 = KNOWN + 4;
const HARDWARE: u32 = KNOWN + 28;
/// Places from here on count from the network layer's header, whatever stands before it.
const NETWORK: u32 = 0xFFF0_0000; // SKF_NET_OFF, -1048576

const LOOPBACK: u32 = 772;
const OUTGOING: u32 = 4;
const TCP: u32 = 6;

/// Where a jump goes. A jump counts the instructions between it and its target, forwards only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    Label(&'static str),
}

/// Accepts TCP segments from or to the port, and parts of TCP packets whose port is unknown;
/// without a port, anything. Loopback shows each packet going out and coming in: only the latter is
/// accepted.
pub(super) fn of_port(port: Option<u16>) -> Vec<Instruction> {
    use To::{Label, Next};
    let (accept, reject, six) = (Label("accept"), Label("reject"), Label("six"));
    let mut program: Vec<(&str, u16, u32, To, To)> = vec![
        ("", LOAD_WORD, HARDWARE, Next, Next),
        ("", JUMP_EQUAL, LOOPBACK, Next, Label("protocol")),
        ("", LOAD_WORD, PACKET_TYPE, Next, Next),
        ("", JUMP_EQUAL, OUTGOING, reject, Next),
        ("protocol", LOAD_WORD, PROTOCOL, Next, Next),
    ];
    if let Some(port) = port.map(u32::from) {
        program.extend([
            ("", JUMP_EQUAL, 0x86DD, six, Next),
            ("", JUMP_EQUAL, 0x0800, Next, reject),
            ("", LOAD_BYTE, NETWORK + 9, Next, Next),
            ("", JUMP_EQUAL, TCP, Next, reject),
            ("", LOAD_HALF, NETWORK + 6, Next, Next),
            ("", JUMP_SET, 0x1FFF, accept, Next),
            ("", LOAD_HEADER_LENGTH, NETWORK, Next, Next),
            ("", LOAD_HALF_INDEXED, NETWORK, Next, Next),
            ("", JUMP_EQUAL, port, accept, Next),
            ("", LOAD_HALF_INDEXED, NETWORK + 2, Next, Next),
            ("", JUMP_EQUAL, port, accept, reject),
            ("six", LOAD_BYTE, NETWORK + 6, Next, Next),
            ("", JUMP_EQUAL, TCP, Label("ports of six"), Next),
            // Headers may stand between: hop-by-hop, routing, fragment, destination. The decoder
            // goes over them, unless what follows the first is ICMPv6, as multicast routers are
            // told of groups.
            ("", JUMP_EQUAL, 0, Label("extension"), Next),
            ("", JUMP_EQUAL, 43, Label("extension"), Next),
            ("", JUMP_EQUAL, 44, Label("extension"), Next),
            ("", JUMP_EQUAL, 60, Next, reject),
            ("extension", LOAD_BYTE, NETWORK + 40, Next, Next),
            ("", JUMP_EQUAL, 58, reject, accept),
            ("ports of six", LOAD_HALF, NETWORK + 40, Next, Next),
            ("", JUMP_EQUAL, port, accept, Next),
            ("", LOAD_HALF, NETWORK + 42, Next, Next),
            ("", JUMP_EQUAL, port, accept, reject),
        ]);
    }
    program.extend([("accept", RETURN, u32::MAX, Next, Next), ("reject", RETURN, 0, Next, Next)]);
    let place = |from: usize, to: To| match to {
        Next => 0,
        Label(label) => program
            .iter()
            .position(|(name, ..)| *name == label)
            .map_or(0, |at| u8::try_from(at - from - 1).unwrap_or(u8::MAX)),
    };
    let assembled =
        program.iter().enumerate().map(|(at, (_, code, value, if_true, if_false))| Instruction {
            code: *code,
            if_true: place(at, *if_true),
            if_false: place(at, *if_false),
            value: *value,
        });
    assembled.collect()
}
