//! Lets a connection be polled by the task that reads its response, without waking that task for
//! what the connection and the response's body signal to each other.
//!
//! hyper expects a connection to run in a task of its own and has both sides wake each other for
//! each chunk. Where one task polls both, these wake-ups only cost another poll. So the connection
//! is polled with a waker that sets a flag, and its socket registers the task itself.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;

use super::counted_stream::CountedStream;

/// The task that polls a connection.
pub(super) struct Driver {
    task: Mutex<Waker>,
    is_woken: AtomicBool,
}

impl Driver {
    pub(super) fn new() -> Arc<Self> {
        let task = Mutex::new(Waker::noop().clone());
        Arc::new(Self { task, is_woken: AtomicBool::new(false) })
    }

    /// Before each poll of the connection: the task that its socket is to wake.
    pub(super) fn arm(&self, waker: &Waker) {
        let mut task = self.task();
        if !task.will_wake(waker) {
            task.clone_from(waker);
        }
        self.is_woken.store(false, Ordering::Relaxed);
    }

    /// Whether the connection asked to be polled again since [`Self::arm`]: it yields after much
    /// work.
    pub(super) fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Relaxed)
    }

    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
    }
}

/// A stream whose readiness wakes the driver's task, whatever task polls it.
pub(super) struct DrivenStream {
    stream: TokioIo<CountedStream>,
    driver: Arc<Driver>,
}

impl DrivenStream {
    pub(super) fn new(stream: CountedStream, driver: Arc<Driver>) -> Self {
        Self { stream: TokioIo::new(stream), driver }
    }

    fn with_task<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut TokioIo<CountedStream>>, &mut Context<'_>) -> T,
    ) -> T {
        let task = self.driver.task();
        poll(Pin::new(&mut self.stream), &mut Context::from_waker(&task))
    }
}

impl Read for DrivenStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.with_task(|stream, context| stream.poll_read(context, buffer))
    }
}

impl Write for DrivenStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with_task(|stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with_task(|stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_task(Write::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_task(Write::poll_shutdown)
    }
}
