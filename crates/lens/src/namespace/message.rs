//! Messages of route netlink (netlink(7), rtnetlink(7)): a header, a structure, and attributes in
//! attributes.

use std::io;
use std::os::fd::AsFd;

use crate::system::netlink;

const REQUEST: u16 = 0x01;
const ACKNOWLEDGE: u16 = 0x04;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const ERROR: u16 = 2;
const NESTED: u16 = 0x8000;

/// A request that changes something.
#[derive(Debug)]
pub(super) struct NetlinkMessage {
    bytes: Vec<u8>,
}

impl NetlinkMessage {
    /// A request to make something that does not exist.
    pub(super) fn create(kind: u16, body: &[u8]) -> Self {
        Self::new(kind, CREATE | EXCLUSIVE, body)
    }

    /// A request to change something.
    pub(super) fn change(kind: u16, body: &[u8]) -> Self {
        Self::new(kind, 0, body)
    }

    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; 4]; // the length, which is known at the end
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((REQUEST | ACKNOWLEDGE | flags).to_ne_bytes());
        bytes.extend([0; 8]); // a number and a port: there is one request at a time
        bytes.extend(body);
        let mut message = Self { bytes };
        message.align();
        message
    }

    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend(length_of(4 + value.len()).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.align();
        self
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// A text, which ends in zero.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Attributes nested in an attribute, after a structure that may be empty.
    pub(super) fn nested(
        mut self,
        kind: u16,
        body: &[u8],
        fill: impl FnOnce(Self) -> Self,
    ) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        self.bytes.extend(body);
        let mut filled = fill(self);
        let length = length_of(filled.bytes.len() - start);
        filled.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Asks the kernel of this thread's network namespace.
    pub(super) fn send(mut self) -> io::Result<()> {
        let length = u32::from(length_of(self.bytes.len()));
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let socket = netlink::route_socket()?;
        read_answer(&netlink::ask(socket.as_fd(), &self.bytes)?)
    }
}

/// Requests are a few hundred bytes long.
fn length_of(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// An acknowledgment is an error whose number is zero.
fn read_answer(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..).and_then(|rest| rest.first_chunk()).copied().map(u16::from_ne_bytes);
    let error =
        answer.get(16..).and_then(|rest| rest.first_chunk()).copied().map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(error)) => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
        (_, _) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's answer is no acknowledgment",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_know_their_lengths() {
        let message = NetlinkMessage::create(16, &[1])
            .text(3, "ab")
            .nested(18, &[], |inner| inner.number(1, 7));
        let number = |value: u16| value.to_ne_bytes().to_vec();
        let attributes = [
            number(7),
            number(3),
            b"ab\0\0".to_vec(),
            number(12),
            number(0x8012),
            number(8),
            number(1),
            7_u32.to_ne_bytes().to_vec(),
        ];
        assert_eq!(message.bytes[20..], attributes.concat());
    }

    #[test]
    fn answers_are_errors_or_none() {
        let answer = |error: i32| {
            [&[0; 4], ERROR.to_ne_bytes().as_slice(), &[0; 10], &error.to_ne_bytes()].concat()
        };
        assert!(read_answer(&answer(0)).is_ok());
        assert_eq!(
            read_answer(&answer(-libc::EPERM)).unwrap_err().raw_os_error(),
            Some(libc::EPERM)
        );
        assert!(read_answer(&[]).is_err());
    }
}
