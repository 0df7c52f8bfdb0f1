//! The packets of the server's own port: captured while they are being viewed, and for a minute
//! more. Otherwise there is no socket, no thread and no task.

mod captured;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::tasks::Tasks;
use lens::capture::PacketRecorder;
use lens::capture::config::{CaptureError, Config};
use lens::flow::limits::FlowLimits;
use tokio::sync::{Mutex as Turn, Semaphore, watch};
use tokio::time::{Instant, sleep};

pub(crate) use captured::CaptureExtent;
use captured::PortConnections;

use crate::config::CaptureMode;

/// How long a capture goes on after the last view.
const LINGER: Duration = Duration::from_secs(60);

/// How often captured packets are read. The ring below lasts for that long at 64 MB a second.
const PERIOD: Duration = Duration::from_millis(250);

/// Packets that wait to be read; the oldest are dropped first. The kernel may hold as much again.
const RING: usize = 16 << 20;

/// Together below a hundred megabytes, at the very worst; a usual connection takes some ten
/// kilobytes.
const LIMITS: FlowLimits = FlowLimits {
    connections: 128,
    segments: 1536,
    stream_bytes: 128 << 10,
    pending_bytes: 32 << 10,
};

/// How many requests read and draw the captured packets at once. Bounded so that polling clients
/// cannot exhaust the blocking pool.
const READERS: usize = 2;

/// Starts the capture of a port.
type Open = fn(u16) -> Result<PacketRecorder, CaptureError>;

/// The capture of a server's port, which runs while it is being viewed.
#[derive(Debug)]
pub struct PortCapture {
    open: Open,
    mode: watch::Sender<CaptureMode>,
    running: Turn<Option<Arc<RunningCapture>>>,
}

/// A capture that runs.
#[derive(Debug)]
struct RunningCapture {
    recorder: PacketRecorder,
    readers: Semaphore,
    sight: Mutex<PortConnections>,
    looked: Mutex<Instant>,
}

/// The state of a capture and its packets.
#[derive(Clone, Debug)]
pub(crate) enum CaptureView {
    /// A capture runs, with these packets.
    On(Packets),
    /// Nothing, by a setting.
    Off,
    /// Nothing: only a view by an admin starts a capture, and there was none.
    Idle,
    /// Nothing: this process is not permitted to.
    NotPermitted(String),
    /// Nothing: this system cannot.
    NotSupported(String),
}

/// What was captured so far. Reading it may take milliseconds, on a thread that may block.
#[derive(Clone, Debug)]
pub(crate) struct Packets(Arc<RunningCapture>);

impl Default for PortCapture {
    fn default() -> Self {
        Self::with(start)
    }
}

impl PortCapture {
    /// A capture that is not permitted, for tests on systems that would permit it.
    pub fn refused() -> Self {
        Self::with(|_port| Err(CaptureError::NotPermitted))
    }

    fn with(open: Open) -> Self {
        Self { open, mode: watch::Sender::new(CaptureMode::Auto), running: Turn::new(None) }
    }

    /// Sets the mode from now on. `Off` ends a running capture.
    pub(crate) fn set_mode(&self, mode: CaptureMode) {
        self.mode.send_replace(mode);
    }

    /// The state, without starting or prolonging a capture.
    pub(crate) async fn glance(&self) -> CaptureView {
        let mode = *self.mode.borrow();
        match (mode, self.running.lock().await.as_ref()) {
            (CaptureMode::Off, _) => CaptureView::Off,
            (CaptureMode::Auto, Some(running)) if !running.recorder.has_ended() => {
                CaptureView::On(Packets(Arc::clone(running)))
            }
            (CaptureMode::Auto, Some(_) | None) => CaptureView::Idle,
        }
    }

    /// Starts the capture of the port that the server listens on, unless it runs, and prolongs it.
    pub(crate) async fn look(self: &Arc<Self>, tasks: &Tasks, listen: SocketAddr) -> CaptureView {
        let mut running = self.running.lock().await;
        if *self.mode.borrow() == CaptureMode::Off {
            return CaptureView::Off;
        }
        if let Some(running) = running.as_ref().filter(|running| !running.recorder.has_ended()) {
            *lock(&running.looked) = Instant::now();
            return CaptureView::On(Packets(Arc::clone(running)));
        }
        let open = self.open;
        let recorder = match tasks.blocking(move || open(listen.port())).await {
            Some(Ok(recorder)) => recorder,
            Some(Err(unable @ CaptureError::NotPermitted)) => {
                return CaptureView::NotPermitted(unable.to_string());
            }
            Some(Err(
                unable @ (CaptureError::NotLinux
                | CaptureError::NoInterface(_)
                | CaptureError::Failed(_)),
            )) => {
                return CaptureView::NotSupported(unable.to_string());
            }
            None => return CaptureView::NotSupported("the capture could not be begun".to_owned()),
        };
        let (readers, sight) =
            (Semaphore::new(READERS), Mutex::new(PortConnections::new(LIMITS, listen)));
        let started = Arc::new(RunningCapture {
            recorder,
            readers,
            sight,
            looked: Mutex::new(Instant::now()),
        });
        *running = Some(Arc::clone(&started));
        tracing::debug!(port = listen.port(), "packets are captured while somebody looks");
        if !started.recorder.is_stamped() {
            tracing::debug!(
                "the kernel gives packets no times yet: those of the first are when they were read"
            );
        }
        tasks.spawn("capture", Arc::clone(self).attend(tasks.clone(), Arc::clone(&started)));
        CaptureView::On(Packets(started))
    }

    /// Reads what is captured, until it has not been viewed for a while, the settings forbid it, or
    /// the server stops.
    async fn attend(self: Arc<Self>, tasks: Tasks, running: Arc<RunningCapture>) {
        let mut mode = self.mode.subscribe();
        loop {
            let is_stopping = tokio::select! {
                () = tasks.stopping() => true,
                _forbidden = mode.wait_for(|mode| *mode == CaptureMode::Off) => true,
                () = sleep(PERIOD) => false,
            };
            // In this order: a view from here on starts another capture.
            let mut place = self.running.lock().await;
            let is_forgotten = lock(&running.looked).elapsed() >= LINGER;
            if is_stopping || is_forgotten || running.recorder.has_ended() {
                if place.as_ref().is_some_and(|placed| Arc::ptr_eq(placed, &running)) {
                    *place = None;
                }
                break;
            }
            drop(place);
            let packets = Packets(Arc::clone(&running));
            tasks.blocking(move || packets.take_in(|_sight| ())).await;
        }
        tracing::debug!("packets are captured no more");
        // Dropping it joins a thread.
        tasks.blocking(move || drop(running)).await;
    }
}

impl Packets {
    /// Reads what was captured by now, on the blocking pool. `None` if that failed.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        tasks: &Tasks,
        read: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let turn = self.0.readers.acquire().await.ok()?;
        let packets = self.clone();
        let read = tasks.blocking(move || read(&packets)).await;
        drop(turn);
        read
    }

    /// Reads what has been captured since, and passes everything to `look` under a lock: long
    /// work is done on a copy.
    pub(crate) fn take_in<T>(&self, look: impl FnOnce(&PortConnections) -> T) -> T {
        let RunningCapture { recorder, sight, .. } = &*self.0;
        let mut sight = lock(sight);
        sight.take_in(recorder.take());
        look(&sight)
    }
}

impl CaptureView {
    /// The state's name, and the reason why there are no packets.
    pub(crate) fn state(&self) -> (&'static str, &str) {
        match self {
            Self::On(_) => ("on", "while somebody looks, and for a minute more"),
            Self::Off => ("off", "the setting lens.capture is off"),
            Self::Idle => ("idle", "only an admin's look begins a capture, and none runs"),
            Self::NotPermitted(reason) => ("not_permitted", reason),
            Self::NotSupported(reason) => ("not_supported", reason),
        }
    }
}

fn start(port: u16) -> Result<PacketRecorder, CaptureError> {
    PacketRecorder::start(
        &Config { port: Some(port), kernel_bytes: RING, ..Config::default() },
        RING,
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded() {
        let FlowLimits { connections, segments, stream_bytes, pending_bytes } = LIMITS;
        let most = connections
            * (segments * size_of::<lens::flow::segment::Segment>()
                + 2 * (stream_bytes + pending_bytes));
        assert!(most < 100_000_000, "{most}");
    }

    const HERE: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8000);

    /// Whether this process has CAP_NET_RAW, bit 13 (capabilities(7)).
    fn may_capture() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let effective = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        effective.is_some_and(|set| set & (1 << 13) != 0)
    }

    /// Starts a capture, which must succeed where this process has CAP_NET_RAW.
    async fn start_capture(capture: &Arc<PortCapture>, tasks: &Tasks) -> bool {
        let is_on = matches!(capture.look(tasks, HERE).await, CaptureView::On(_));
        assert_eq!(is_on, may_capture());
        is_on
    }

    #[tokio::test]
    async fn a_capture_without_permission_gives_the_reason_and_leaves_no_task() {
        let (capture, tasks) = (Arc::new(PortCapture::refused()), Tasks::new());
        let look = capture.look(&tasks, HERE).await;
        let (state, reason) = look.state();
        assert_eq!(state, "not_permitted");
        assert!(reason.contains("CAP_NET_RAW"), "{reason}");
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test]
    async fn a_capture_ends_with_the_server() {
        let (capture, tasks) = (Arc::new(PortCapture::default()), Tasks::new());
        let is_running = start_capture(&capture, &tasks).await;
        assert_eq!(tasks.running(), usize::from(is_running));
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
        assert!(capture.running.lock().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_capture_ends_when_it_is_no_longer_viewed() {
        let (capture, tasks) = (Arc::new(PortCapture::default()), Tasks::new());
        if !start_capture(&capture, &tasks).await {
            return;
        }
        sleep(LINGER / 2).await;
        assert!(matches!(capture.look(&tasks, HERE).await, CaptureView::On(_)));
        sleep(LINGER / 4 * 3).await;
        assert!(matches!(capture.glance().await, CaptureView::On(_)), "the second look counts");
        sleep(LINGER / 2).await;
        assert!(matches!(capture.glance().await, CaptureView::Idle), "and a glance does not");
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn a_capture_ends_when_the_settings_forbid_it() {
        let (capture, tasks) = (Arc::new(PortCapture::default()), Tasks::new());
        if !start_capture(&capture, &tasks).await {
            return;
        }
        capture.set_mode(CaptureMode::Off);
        assert!(matches!(
            (capture.look(&tasks, HERE).await, capture.glance().await),
            (CaptureView::Off, CaptureView::Off)
        ));
        while tasks.running() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(capture.running.lock().await.is_none(), "neither packets nor a thread are left");
        capture.set_mode(CaptureMode::Auto);
        assert!(start_capture(&capture, &tasks).await);
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    }
}
