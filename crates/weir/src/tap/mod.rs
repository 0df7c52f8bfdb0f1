//! `weir tap`: the events of a response with their times, live or as they were, and saved.

mod line;
mod recording;
mod save;
mod source;
mod summary;
mod timeline;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use client::now;
use engine::secret::Secret;
use tokio::time::sleep_until;

use crate::chat::configured;
use crate::chat::server::{ChatError, ChatServer};
use crate::cli::output;
use crate::cli::tap::{Pace, TapArguments};
use crate::config::API_KEY;
use crate::config::settings::Settings;
use crate::signals::Stops;
use recording::{Recording, TapEnd, TappedEvent};
use save::Saving;
use source::EventSource;
use summary::Summary;
use timeline::Timeline;

/// The tap broke off, or its file could not be written.
const EXIT_BROKEN: u8 = 1;

/// Nothing could be tapped.
const EXIT_UNUSABLE: u8 = 2;

/// Runs the command.
pub(crate) fn run(settings: &Settings, arguments: &TapArguments) -> ExitCode {
    run_tap(settings, arguments).unwrap_or_else(|error| {
        output::complain(&format_args!("weir tap: {error:#}"));
        ExitCode::from(EXIT_UNUSABLE)
    })
}

/// An error means that nothing could be tapped.
fn run_tap(settings: &Settings, arguments: &TapArguments) -> Result<ExitCode> {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if arguments.id.is_empty() || !arguments.id.bytes().all(is_id) {
        bail!("'{}' is not the id of a response, such as resp_0123…", arguments.id);
    }
    let saving = Saving::of(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tap(settings, arguments, saving))
}

async fn tap(
    settings: &Settings,
    arguments: &TapArguments,
    saving: Option<Saving>,
) -> Result<ExitCode> {
    let mut stops = Stops::new()?;
    let server = find(settings, arguments).await?;
    let unusable = |error: ChatError| anyhow!("{error}");
    let timeline = Timeline::fetch(&server, &arguments.id).await.map_err(unusable)?;
    let mut saving = saving.map(|saving| saving.start(&server)).transpose()?;
    let recording = Recording {
        response_id: arguments.id.clone(),
        server: server.address(),
        created_ms: timeline.created_ms,
        from: arguments.from,
        events: Vec::new(),
        exchanges: Vec::new(),
        end: TapEnd::Cut,
    };
    let mut tap = Tap {
        source: EventSource::new(server, &arguments.id, arguments.from),
        is_paced: arguments.pace == Pace::Original && !timeline.is_live(),
        timeline,
        recording,
    };
    let ending = tap.follow(&mut stops).await;
    if tap.recording.events.is_empty()
        && let Ending::Failed(error) = ending
    {
        return Err(unusable(error));
    }
    let recording = tap.close(&ending).await;
    let mut status = ending.status();
    match &ending {
        // Nobody reads the summary.
        Ending::OutputClosed => {}
        Ending::Complete | Ending::Stopped(_) | Ending::Failed(_) => {
            drop(output::write_out(&format!("\n{}", Summary::of(&recording).text())));
        }
    }
    if let Ending::Failed(error) = &ending {
        output::complain(&format_args!("weir tap: {error}"));
    }
    if let Some(saving) = saving.take() {
        match saving.write(&recording) {
            Ok(note) => output::complain(&note),
            Err(error) => {
                output::complain(&format_args!("weir tap: {error:#}"));
                status = EXIT_BROKEN;
            }
        }
    }
    Ok(ExitCode::from(status))
}

/// The server named by `--server`, or else the one that the settings describe.
async fn find(settings: &Settings, arguments: &TapArguments) -> Result<ChatServer> {
    let key = match &arguments.key {
        Some(key) => Some(key.clone()),
        None => std::env::var(API_KEY).ok().filter(|key| !key.is_empty()),
    };
    let key = key.map(Secret::new);
    let fingerprint = arguments.fingerprint.as_deref();
    if let Some(url) = &arguments.server {
        return ChatServer::at(url, fingerprint, key);
    }
    configured(settings, fingerprint, key)
        .await?
        .with_context(|| format!("no server at {}; name one with --server", settings.server.listen))
}

/// Why no more events are read.
enum Ending {
    Complete,
    /// By a signal, with this exit status.
    Stopped(u8),
    /// Standard output was closed.
    OutputClosed,
    Failed(ChatError),
}

impl Ending {
    fn status(&self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Stopped(status) => *status,
            Self::OutputClosed | Self::Failed(_) => EXIT_BROKEN,
        }
    }
}

/// A tap that runs.
struct Tap {
    source: EventSource,
    /// Whether events are shown with the gaps that they had.
    is_paced: bool,
    timeline: Timeline,
    recording: Recording,
}

impl Tap {
    /// Shows the events until the response ends, or a signal comes.
    async fn follow(&mut self, stops: &mut Stops) -> Ending {
        // The first event, when it was shown, and its time: the others follow at their distance.
        let mut start: Option<(Instant, Duration)> = None;
        loop {
            let read = tokio::select! {
                biased;
                status = stops.next() => return Ending::Stopped(status),
                read = self.source.next() => read,
            };
            let (event, is_last) = match read {
                Ok(read) => read,
                Err(error) => return Ending::Failed(error),
            };
            let logged = self.timeline.logged(event.position);
            if let (Some(time), Some((started, first))) = (logged, start) {
                let due = started + time.saturating_sub(first);
                tokio::select! {
                    biased;
                    status = stops.next() => return Ending::Stopped(status),
                    () = sleep_until(due.into()) => {}
                }
            }
            let taken = now();
            if self.is_paced && start.is_none() {
                start = logged.map(|time| (taken, time));
            }
            let event = TappedEvent {
                position: event.position,
                kind: event.value["type"].as_str().unwrap_or_default().to_owned(),
                data: event.data,
                logged,
                taken,
                shown: logged.or_else(|| self.timeline.since_creation(taken)),
            };
            if self.show(event).is_err() {
                return Ending::OutputClosed;
            }
            if is_last {
                return Ending::Complete;
            }
        }
    }

    /// Records an event, and prints its line.
    fn show(&mut self, event: TappedEvent) -> std::io::Result<()> {
        let before = self.recording.events.last();
        let gap = before.map(|before| match (before.shown, event.shown) {
            (Some(before), Some(time)) => time.saturating_sub(before),
            _ => event.taken.saturating_duration_since(before.taken),
        });
        let mut text = line::line(&event, gap);
        if before.is_none() {
            text = format!("{}{text}", line::HEADING);
        }
        self.recording.events.push(event);
        output::write_out(&text)
    }

    /// Closes the connection, and adds the times that the server has recorded meanwhile.
    async fn close(self, ending: &Ending) -> Recording {
        let Self { source, mut timeline, mut recording, .. } = self;
        let was_live = timeline.is_live();
        let (server, exchanges) = source.close();
        if was_live
            && !matches!(ending, Ending::Failed(_))
            && let Ok(later) = Timeline::fetch(&server, &recording.response_id).await
            && later.is_known()
        {
            timeline = later;
        }
        for event in &mut recording.events {
            event.logged = timeline.logged(event.position);
        }
        recording.exchanges = exchanges;
        recording.end = match ending {
            Ending::Complete => TapEnd::Complete,
            Ending::Stopped(_) | Ending::OutputClosed => TapEnd::Stopped,
            Ending::Failed(_) => TapEnd::Cut,
        };
        recording
    }
}
