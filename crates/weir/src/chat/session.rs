//! A conversation: the parameters of the next question, and the tokens used so far.

use std::io;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use engine::tasks::Tasks;
use protocol::usage::Usage;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cli::output;

use super::command::{ChatCommand, HELP, TypedInput};
use super::earlier::{Earlier, SHOWN};
use super::event::{ResponseEnd, tokens, why};
use super::input::{self, LineEditor};
use super::plain_text::PlainText;
use super::render::style::Paint;
use super::response::{ResponseHandle, ResponseRequest};
use super::screen::{note, wrong};
use super::server::{ChatError, ChatServer};
use super::terminal::{self, Interrupts, KeyInput, Quiet};
use super::transport::ChatTransport;
use super::view::OutputView;
use super::watch::{WatchOutcome, watch};

pub(super) struct ChatSession {
    pub(super) tasks: Tasks,
    pub(super) server: Arc<ChatServer>,
    pub(super) transport: ChatTransport,
    pub(super) model: String,
    pub(super) system: Option<String>,
    /// The response that the next question continues.
    pub(super) previous: Option<String>,
    /// The token usage of each response of this session; `None` where it is unknown.
    pub(super) used: Vec<Option<Usage>>,
}

impl ChatSession {
    /// The request for a response.
    pub(super) fn question(&self, text: &str) -> ResponseRequest {
        let mut body = json!({ "model": self.model, "input": text });
        if let Some(system) = &self.system {
            body["instructions"] = system.as_str().into();
        }
        if let Some(previous) = &self.previous {
            body["previous_response_id"] = previous.as_str().into();
        }
        ResponseRequest::New(body)
    }

    /// Sends a question. Fails if the system provides no random bytes.
    pub(super) fn start(&self, question: ResponseRequest) -> io::Result<ResponseHandle> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| io::Error::other(error.to_string()))?;
        let key = format!("{:032x}", u128::from_be_bytes(bits));
        Ok(ResponseHandle::start(&self.tasks, &self.server, self.transport, question, key))
    }

    /// The models that the server lists.
    pub(super) async fn models(&self) -> Result<Vec<String>> {
        let list = self
            .server
            .json(&self.server.request("GET", "/v1/models"))
            .await
            .map_err(|trouble| anyhow!("{trouble}"))?;
        let id = |model: &Value| model["id"].as_str().map(str::to_owned);
        Ok(list["data"].as_array().into_iter().flatten().filter_map(id).collect())
    }

    /// Runs the conversation at the terminal until the user leaves.
    pub(super) fn talk(
        mut self,
        runtime: &Runtime,
        interrupts: &mut Interrupts,
        is_kept: bool,
    ) -> Result<()> {
        let paint = terminal::paint();
        let mut input = LineEditor::new(paint)?;
        // Keys typed between two lines, or before a response, are kept.
        let _quiet = paint.and_then(|_| Quiet::enter().ok());
        let mut typed = String::new();
        if let Some(id) = self.previous.clone() {
            for piece in runtime.block_on(self.before(&id)) {
                piece.show(paint)?;
            }
            typed = self.show(runtime, interrupts, ResponseRequest::Old(id), paint)?;
            // It was not requested in this session, so its usage does not count.
            self.used.clear();
        }
        let mut was_interrupted = false;
        loop {
            let line = match input.line(&std::mem::take(&mut typed))? {
                input::ReadLine::Line(line) => line,
                input::ReadLine::End => break,
                input::ReadLine::Interrupted if was_interrupted => break,
                input::ReadLine::Interrupted => {
                    was_interrupted = true;
                    note("Press Ctrl-C again, or Ctrl-D, to exit.", paint);
                    continue;
                }
            };
            was_interrupted = false;
            match ChatCommand::read(&line) {
                TypedInput::Nothing => {}
                TypedInput::Wrong(what) => wrong(&what, paint),
                TypedInput::Command(ChatCommand::Quit) => break,
                TypedInput::Command(command) => self.run_command(runtime, command, paint),
                TypedInput::Question(text) => {
                    typed = self.show(runtime, interrupts, self.question(&text), paint)?;
                }
            }
        }
        if let Some(id) = self.previous.filter(|_| is_kept) {
            note(&format!("To continue: weir chat --resume {id}"), paint);
        }
        Ok(())
    }

    fn run_command(&mut self, runtime: &Runtime, command: ChatCommand, paint: Option<Paint>) {
        let said = match command {
            ChatCommand::Help => HELP.to_owned(),
            ChatCommand::Model(Some(name)) => {
                self.model = name;
                format!("The next response comes from {}.", self.model)
            }
            ChatCommand::Model(None) => match runtime.block_on(self.models()) {
                Ok(models) => {
                    let mark = |model: &String| {
                        format!("{} {model}\n", if *model == self.model { "*" } else { " " })
                    };
                    models.iter().map(mark).collect()
                }
                Err(error) => return wrong(&format!("{error:#}"), paint),
            },
            ChatCommand::Transport(Some(transport)) => {
                self.transport = transport;
                format!("The next response comes over {}.", transport.name())
            }
            ChatCommand::Transport(None) => {
                format!(
                    "The transport is {}; available are json, ndjson, sse and websocket.",
                    self.transport.name()
                )
            }
            ChatCommand::Stop => "No response is running.".to_owned(),
            ChatCommand::Cost => self.cost(),
            ChatCommand::New => {
                self.previous = None;
                "Started a new conversation.".to_owned()
            }
            ChatCommand::Quit => return,
        };
        note(&said, paint);
    }

    /// In tokens: Weir does not know prices.
    fn cost(&self) -> String {
        let Some(last) = self.used.last() else { return "There are no responses yet.".to_owned() };
        let known: Vec<&Usage> = self.used.iter().flatten().collect();
        let sum = |count: fn(&Usage) -> u64| known.iter().map(|usage| count(usage)).sum::<u64>();
        let (read, written) = (sum(|usage| usage.input_tokens), sum(|usage| usage.output_tokens));
        let answers = if self.used.len() == 1 {
            "1 response".to_owned()
        } else {
            format!("{} responses", self.used.len())
        };
        let unknown = match self.used.len() - known.len() {
            0 => String::new(),
            count => format!("; {count} unknown"),
        };
        format!(
            "last response  {}\nthis session   {read} tokens in, {written} out, {answers}{unknown}",
            tokens(last.as_ref())
        )
    }

    /// Shows a response; returns what was typed meanwhile.
    fn show(
        &mut self,
        runtime: &Runtime,
        interrupts: &mut Interrupts,
        question: ResponseRequest,
        paint: Option<Paint>,
    ) -> Result<String> {
        let mut view = OutputView::of_person(paint);
        let mut typed = PlainText::default();
        let outcome = runtime.block_on(async {
            // Where keys cannot be read one by one, the next line gets them.
            let keys = paint.and_then(|_| KeyInput::watch(&self.tasks).ok());
            interrupts.forget();
            let answer = self.start(question)?;
            watch(answer, &mut view, interrupts, keys, &mut typed).await
        })?;
        self.keep(&outcome);
        match outcome.end {
            Some(Ok(ResponseEnd::Whole)) => {}
            Some(Ok(ResponseEnd::Stopped)) => view.note("(stopped)")?,
            Some(Ok(ResponseEnd::Incomplete(reason))) => {
                view.note(&format!("(the response is incomplete: {})", why(&reason)))?;
            }
            Some(Ok(ResponseEnd::Failed(message))) => view.wrong(&message),
            Some(Err(trouble)) => {
                view.wrong(&trouble.to_string());
                if matches!(trouble, ChatError::Refused(400 | 404, _)) && self.previous.is_some() {
                    view.note(
                        "If the server no longer has this conversation, /new starts another.",
                    )?;
                }
            }
            None => view.note("(disconnected; the response may still be running)")?,
        }
        view.end()?;
        output::write_out("\n")?;
        Ok(typed.text().to_owned())
    }

    /// Records a response: the next question continues it, unless it failed.
    pub(super) fn keep(&mut self, outcome: &WatchOutcome) {
        if matches!(outcome.end, Some(Ok(_))) {
            self.used.push(outcome.usage);
        }
        match &outcome.end {
            Some(Ok(ResponseEnd::Failed(_)) | Err(_)) => {}
            Some(Ok(ResponseEnd::Whole | ResponseEnd::Stopped | ResponseEnd::Incomplete(_)))
            | None => {
                self.previous = outcome.id.clone().or(self.previous.take());
            }
        }
    }

    /// The conversation before the resumed response, including its question. Errors are ignored:
    /// reading the response itself still works, or reports why not.
    async fn before(&self, id: &str) -> Vec<Earlier> {
        let request =
            self.server.request("GET", &format!("/v1/responses/{id}/input_items?limit={SHOWN}"));
        self.server.json(&request).await.map(|list| Earlier::read(&list)).unwrap_or_default()
    }
}
