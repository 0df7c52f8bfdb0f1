//! Packet sockets (packet(7)): binding, filtering, and receiving with time, length and direction.

use std::ffi::CString;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::socket::{self, check, length_of};

/// One instruction of the classic packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) value: u32,
}

/// The kernel's metadata of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// How many bytes of the buffer are its.
    pub(crate) captured: usize,
    /// How long it was.
    pub(crate) original: usize,
    /// Nanoseconds since 1970; `None` if the kernel did not provide it.
    pub(crate) at: Option<u64>,
    pub(crate) interface: u32,
    /// `ARPHRD_…`
    pub(crate) hardware: u16,
    /// `PACKET_…`
    pub(crate) direction: u8,
    /// A tag that the kernel took out of the bytes: its type and value.
    pub(crate) tag: Option<(u16, u16)>,
}

/// A socket that gets no packets before it is bound.
pub(crate) fn open() -> io::Result<OwnedFd> {
    super::socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0)
}

/// The number of an interface.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the pointer is to a string that ends in zero and lives until the call returns.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Lets packets in: of one interface, or, with 0, of all.
pub(crate) fn bind(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    // SAFETY: it is a structure of numbers, for which zeros are values.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface.cast_signed();
    // SAFETY: the pointer is to an address of the socket's family that lives until the call
    // returns, with its length.
    let returned = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    };
    check(returned).map(drop)
}

/// How many packets passed the filter since it was last asked, and for how many of them there was
/// no room.
pub(crate) fn statistics(socket: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    // `struct tpacket_stats`: packets, drops. Reading it sets both to zero.
    let mut buffer = [0; 8];
    socket::option_bytes(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut buffer)?;
    let [received @ .., _, _, _, _] = buffer;
    let [_, _, _, _, dropped @ ..] = buffer;
    Ok((u32::from_ne_bytes(received).into(), u32::from_ne_bytes(dropped).into()))
}

/// Gives a whole frame to the interface that the socket is bound to.
pub(crate) fn send(socket: BorrowedFd<'_>, frame: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer is to as many bytes as the length says, and they live until the call
    // returns.
    let sent = unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets in only what the filter accepts.
pub(crate) fn attach_filter(socket: BorrowedFd<'_>, filter: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = filter
        .iter()
        .map(|instruction| libc::sock_filter {
            code: instruction.code,
            jt: instruction.if_true,
            jf: instruction.if_false,
            k: instruction.value,
        })
        .collect();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the pointer is to a program whose instructions live until the call returns; the
    // kernel copies and checks them.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length_of::<libc::sock_fprog>(),
        )
    };
    check(returned).map(drop)
}

/// Room for a time and for auxiliary data, aligned as control messages must be.
#[repr(align(8))]
struct Control([u8; 128]);

/// Takes the next packet; `WouldBlock` if there is none.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    // SAFETY: it is a structure of numbers, for which zeros are values.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    let mut control = Control([0; 128]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: it is a structure of numbers and pointers, for which zeros are values.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = length_of::<libc::sockaddr_ll>();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: all that the message points to lives until the end of this function, with the lengths
    // it says. With MSG_TRUNC the length returned is the packet's, though no more than the buffer
    // is written.
    let original = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_TRUNC) };
    let Ok(original) = usize::try_from(original) else { return Err(io::Error::last_os_error()) };
    let mut received = Received {
        captured: original.min(buffer.len()),
        original,
        at: None,
        interface: address.sll_ifindex.cast_unsigned(),
        hardware: address.sll_hatype,
        direction: address.sll_pkttype,
        tag: None,
    };
    read_control(&message, &mut received);
    Ok(received)
}

fn read_control(message: &libc::msghdr, received: &mut Received) {
    // SAFETY: the kernel has filled the control part of `message`, which is still borrowed by the
    // caller.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the pointer is null or to a whole header within the control part; so are those that
    // CMSG_NXTHDR returns.
    while let Some(one) = unsafe { header.as_ref() } {
        // SAFETY: the data of a message stands after its header, and is as long as the type of the
        // message says: the kernel wrote it whole, or else MSG_CTRUNC, for which there is room
        // enough. It need not be aligned.
        unsafe {
            let data = libc::CMSG_DATA(header);
            match (one.cmsg_level, one.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time: libc::timespec = data.cast::<libc::timespec>().read_unaligned();
                    received.at = Some(
                        time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned(),
                    );
                }
                (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                    let auxiliary = data.cast::<libc::tpacket_auxdata>().read_unaligned();
                    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                        let kind = if auxiliary.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 {
                            auxiliary.tp_vlan_tpid
                        } else {
                            0x8100
                        };
                        received.tag = Some((kind, auxiliary.tp_vlan_tci));
                    }
                }
                _ => {}
            }
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}
