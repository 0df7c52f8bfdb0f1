//! `weir chat`: a conversation in a terminal, over any transport.

pub(crate) mod event;
pub(crate) mod server;
pub(crate) mod transport;

mod command;
mod connection;
mod earlier;
mod hosted;
mod input;
mod pipe;
mod plain_text;
mod render;
mod response;
mod screen;
mod session;
mod terminal;
mod view;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use engine::secret::Secret;
use engine::tasks::Tasks;

use crate::certificate;
use crate::cli::chat::ChatArguments;
use crate::config::settings::Settings;
use crate::config::{self, TlsConfig};

use hosted::Hosted;
use server::ChatServer;
use session::ChatSession;
use terminal::Interrupts;

/// How long running tasks get at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs `weir chat`.
pub(crate) fn run(settings: Settings, arguments: &ChatArguments) -> Result<ExitCode> {
    let is_person = terminal::is_there() && !arguments.json;
    // While the question is typed, Ctrl-C ends the process as usual: it is caught only afterwards.
    let asked = if is_person { None } else { Some(pipe::question()?) };
    if asked.as_ref().is_some_and(String::is_empty) && arguments.resume.is_none() {
        crate::cli::output::complain(&"weir chat: standard input has no question");
        return Ok(ExitCode::from(pipe::USAGE));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let tasks = Tasks::new();
    let (mut interrupts, place) = runtime.block_on(async {
        let interrupts = Interrupts::watch()?;
        if is_person {
            terminal::restore_on_end(&tasks)?;
        }
        anyhow::Ok((interrupts, ChatPeer::find(settings, arguments, &tasks).await?))
    })?;
    let ChatPeer { server, hosted } = place;
    let session = runtime.block_on(session(Arc::new(server), &tasks, arguments))?;
    let done = if let Some(question) = asked {
        pipe::run(&session, &runtime, &mut interrupts, &question, arguments.json)
    } else {
        let about = format!(
            "{} over {} at {}; /help",
            session.model,
            session.transport.name(),
            session.server.address()
        );
        screen::note(&about, terminal::paint());
        session.talk(&runtime, &mut interrupts, hosted.is_none()).map(|()| ExitCode::SUCCESS)
    };
    drop(hosted);
    runtime.block_on(tasks.shutdown(SHUTDOWN_TIMEOUT));
    runtime.shutdown_background();
    done
}

/// The server of the conversation.
struct ChatPeer {
    server: ChatServer,
    hosted: Option<Hosted>,
}

impl ChatPeer {
    /// The server named by `--server`; else the one that the settings describe, if it is running;
    /// else a built-in one.
    async fn find(settings: Settings, arguments: &ChatArguments, tasks: &Tasks) -> Result<Self> {
        let key = match &arguments.key {
            Some(key) => Some(key.clone()),
            None => std::env::var(config::API_KEY).ok().filter(|key| !key.is_empty()),
        };
        let key = key.map(Secret::new);
        let fingerprint = arguments.fingerprint.as_deref();
        if let Some(url) = &arguments.server {
            return Ok(Self { server: ChatServer::at(url, fingerprint, key)?, hosted: None });
        }
        if let Some(server) = configured(&settings, fingerprint, key).await? {
            return Ok(Self { server, hosted: None });
        }
        let (scheme, address) = (scheme(&settings), hosted::reached(settings.server.listen));
        let hosted =
            Hosted::start(settings, tasks).await.context("cannot start a built-in server")?;
        let what = format!(
            "No server is listening on {scheme}://{address}: started a built-in one; the conversation is lost when it ends."
        );
        screen::note(&what, terminal::paint());
        Ok(Self {
            server: ChatServer::at(&format!("http://{}", hosted.address), None, None)?,
            hosted: Some(hosted),
        })
    }
}

/// The server that the settings describe, if it is running.
pub(crate) async fn configured(
    settings: &Settings,
    fingerprint: Option<&str>,
    key: Option<Secret>,
) -> Result<Option<ChatServer>> {
    let address = hosted::reached(settings.server.listen);
    if !hosted::is_there(address).await {
        return Ok(None);
    }
    let ours = match settings.tls {
        TlsConfig::Off => None,
        TlsConfig::Files { .. } | TlsConfig::SelfSigned => {
            certificate::tls(&settings.tls, &settings.data, &settings.server)?
        }
    };
    let ours = ours.map(|tls| tls.fingerprint());
    ChatServer::at(
        &format!("{}://{address}", scheme(settings)),
        fingerprint.or(ours.as_deref()),
        key,
    )
    .map(Some)
}

fn scheme(settings: &Settings) -> &'static str {
    match settings.tls {
        TlsConfig::Off => "http",
        TlsConfig::Files { .. } | TlsConfig::SelfSigned => "https",
    }
}

async fn session(
    server: Arc<ChatServer>,
    tasks: &Tasks,
    arguments: &ChatArguments,
) -> Result<ChatSession> {
    let mut session = ChatSession {
        tasks: tasks.clone(),
        server,
        transport: arguments.transport,
        model: arguments.model.clone().unwrap_or_default(),
        system: arguments.system.clone(),
        previous: arguments.resume.clone(),
        used: Vec::new(),
    };
    if let Some(id) = &arguments.resume {
        let request = session.server.request("GET", &format!("/v1/responses/{id}"));
        let response = session
            .server
            .json(&request)
            .await
            .map_err(|trouble| anyhow!("cannot resume {id}: {trouble}"))?;
        if session.model.is_empty() {
            response["model"].as_str().unwrap_or_default().clone_into(&mut session.model);
        }
    }
    if session.model.is_empty() {
        session.model =
            session.models().await?.into_iter().next().context("the server lists no models")?;
    }
    Ok(session)
}
