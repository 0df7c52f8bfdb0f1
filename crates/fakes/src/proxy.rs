//! A TCP proxy that forwards in both directions and breaks connections on a test's command.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use client::{Task, reset_on_close, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// By FIN, as by a proxy that restarts.
    Fin,
    /// By RST, as by a middlebox that has lost the connection's state.
    Rst,
}

/// A running proxy. Dropping it closes all its sockets.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    orders: Arc<Orders>,
    _accepting: Task,
}

type Orders = watch::Sender<Order>;

#[derive(Clone, Copy, Debug, Default)]
struct Order {
    /// Cut the first connection that has forwarded this number of bytes downstream.
    cut_after: Option<(u64, Cut)>,
    /// Reset the connections with a lower number, in the order of acceptance.
    reset_below: usize,
    is_stalled: bool,
    accepted: usize,
}

impl FaultProxy {
    /// Starts a proxy to `target` on a free port of the loopback address.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let orders = Arc::new(watch::Sender::new(Order::default()));
        let accepting = spawn(accept(listener, target, Arc::clone(&orders)));
        Ok(Self { address, orders, _accepting: accepting })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.orders.borrow().accepted
    }

    /// Cuts one connection: the first that has forwarded exactly `bytes` to its client since it was
    /// opened. Must be called before the bytes arrive.
    pub fn cut_after_bytes(&self, bytes: u64, cut: Cut) {
        self.orders.send_modify(|order| order.cut_after = Some((bytes, cut)));
    }

    /// Resets all open connections on both sides.
    pub fn cut_now_rst(&self) {
        self.orders.send_modify(|order| order.reset_below = order.accepted);
    }

    /// Stops forwarding to the clients; the other direction continues.
    pub fn stall_downstream(&self) {
        self.orders.send_modify(|order| order.is_stalled = true);
    }

    /// Ends the stall.
    pub fn resume_downstream(&self) {
        self.orders.send_modify(|order| order.is_stalled = false);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, orders: Arc<Orders>) {
    let mut connections: Vec<Task> = Vec::new();
    for number in 0.. {
        let Ok((client, _)) = listener.accept().await else { return };
        orders.send_modify(|order| order.accepted += 1);
        connections.retain(|connection| !connection.is_finished());
        connections.push(spawn(forward(client, target, number, Arc::clone(&orders))));
    }
}

async fn forward(client: TcpStream, target: SocketAddr, number: usize, orders: Arc<Orders>) {
    let Ok(target) = TcpStream::connect(target).await else {
        let _ = reset_on_close(&client);
        return;
    };
    // Small writes must be forwarded at once. It fails only for a closed socket.
    let _ = client.set_nodelay(true).and_then(|()| target.set_nodelay(true));
    let (client_reader, client_writer) = client.into_split();
    let (target_reader, target_writer) = target.into_split();
    let (mut up, mut down) =
        (Pipe(client_reader, target_writer), Pipe(target_reader, client_writer));
    let mut resets = orders.subscribe();
    let cut = tokio::select! {
        _ = resets.wait_for(|order| number < order.reset_below) => Some(Cut::Rst),
        both = async { tokio::try_join!(up.upstream(), down.downstream(&orders)) } => both.err(),
    };
    match cut {
        Some(Cut::Rst) => {
            for Pipe(reader, writer) in [up, down] {
                let _ = reset_on_close(reader.as_ref());
                // A dropped half sends FIN before the reset; a forgotten one does not.
                writer.forget();
            }
        }
        // A close with unread bytes would be a reset, so FIN goes first.
        Some(Cut::Fin) => {
            let _ = down.1.shutdown().await;
        }
        None => {}
    }
}

/// One direction.
struct Pipe(OwnedReadHalf, OwnedWriteHalf);

impl Pipe {
    /// Forwards from the client to the target until the client's FIN, which is forwarded.
    async fn upstream(&mut self) -> Result<(), Cut> {
        tokio::io::copy(&mut self.0, &mut self.1).await.map_err(as_cut)?;
        self.1.shutdown().await.map_err(as_cut)
    }

    /// Forwards from the target to the client until the target's FIN, which is forwarded, or until
    /// the cut.
    async fn downstream(&mut self, orders: &Orders) -> Result<(), Cut> {
        let mut flow = orders.subscribe();
        let mut forwarded = 0;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if let Some(cut) = due(orders, forwarded) {
                return Err(cut);
            }
            let _ = flow.wait_for(|order| !order.is_stalled).await;
            let read = tokio::select! {
                biased;
                // A new order takes effect before the next byte.
                _ = flow.changed() => continue,
                read = self.0.read(&mut buffer) => read.map_err(as_cut)?,
            };
            if read == 0 {
                return self.1.shutdown().await.map_err(as_cut);
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let _ = flow.wait_for(|order| !order.is_stalled).await;
                let (now, later) = rest.split_at(allowed(orders, forwarded).min(rest.len()));
                self.1.write_all(now).await.map_err(as_cut)?;
                forwarded += now.len() as u64;
                if let Some(cut) = due(orders, forwarded) {
                    return Err(cut);
                }
                rest = later;
            }
        }
    }
}

/// A connection that breaks on one side is reset on the other.
fn as_cut(_: io::Error) -> Cut {
    Cut::Rst
}

/// The number of bytes that may still be forwarded before a cut.
fn allowed(orders: &Orders, forwarded: u64) -> usize {
    let left = orders.borrow().cut_after.map(|(after, _)| after.saturating_sub(forwarded));
    left.filter(|left| *left > 0).and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX)
}

/// Takes the order to cut if it is due, so that it applies to one connection only.
fn due(orders: &Orders, forwarded: u64) -> Option<Cut> {
    let mut taken = None;
    orders.send_if_modified(|order| {
        if order.cut_after.is_some_and(|(after, _)| after == forwarded) {
            taken = order.cut_after.take().map(|(_, cut)| cut);
        }
        taken.is_some()
    });
    taken
}
