//! The setting of an experiment.

use std::cell::RefCell;
use std::sync::Arc;

use anyhow::{Context, Result};
use client::{KeyLines, Request};
use lens::capture::PacketRecorder;
use lens::ladder::Annotations;
use serde_json::json;

use crate::bilingual::Bilingual;
use crate::captured::{CapturedConnections, TIMEOUT};
use crate::claims::packets::{Cited, Citing, ConnectionName, PacketSet};
use crate::plan::{Plan, Version};
use crate::run::Harness;
use crate::session::{OpenedPorts, Session};
use client::Endpoint;

/// The server and the settings of an experiment, and the packets of its connections.
pub(super) struct Experiment<'a> {
    pub(super) harness: &'a Harness,
    pub(super) plan: &'a Plan,
    /// Whether the connections use TLS.
    pub(super) tls: bool,
    ports: OpenedPorts,
    key_lines: Arc<KeyLines>,
    names: RefCell<Vec<ConnectionName>>,
    captured: RefCell<CapturedConnections>,
}

impl<'a> Experiment<'a> {
    /// An experiment without connections. Packets from before it are dropped.
    pub(super) fn new(harness: &'a Harness, plan: &'a Plan) -> Self {
        for recorder in recorders(harness) {
            drop(recorder.take());
        }
        Self {
            harness,
            plan,
            tls: harness.clear.is_none(),
            ports: OpenedPorts::default(),
            key_lines: Arc::default(),
            names: RefCell::default(),
            captured: RefCell::default(),
        }
    }

    pub(super) fn session(&self, version: Version) -> Result<Session> {
        Ok(self.session_at(self.harness.endpoint(self.tls, version, &self.key_lines)?, version))
    }

    /// A session with another address of the server.
    pub(super) fn session_at(&self, endpoint: Endpoint, version: Version) -> Session {
        Session::new(endpoint, version, self.harness.key.as_deref()).recording(&self.ports)
    }

    /// A question with a long answer.
    pub(super) fn question(&self) -> &str {
        &self.plan.long_question
    }

    /// A question with a short answer.
    pub(super) fn short_question(&self) -> Result<&str> {
        self.plan.questions.first().map(String::as_str).context("no question")
    }

    /// The request for an answer, streamed or not.
    pub(super) fn ask(&self, question: &str, stream: bool) -> Request {
        let body = json!({ "model": self.plan.model, "input": question, "stream": stream });
        Request::post("/v1/responses", &body)
            .header("accept", "text/event-stream")
            .header("prefer", "wait=0")
    }

    /// Names a connection by its client's port: its ladder is in a file of this name.
    pub(super) fn name(&self, port: u16, name: &str, title: Bilingual) {
        self.name_annotated(port, name, title, Annotations::None);
    }

    /// Names a connection whose ladder also shows the steps of textbooks and the states.
    pub(super) fn name_for_teaching(&self, port: u16, name: &str, title: Bilingual) {
        self.name_annotated(port, name, title, Annotations::Textbook);
    }

    fn name_annotated(&self, port: u16, name: &str, title: Bilingual, annotations: Annotations) {
        let name = name.to_owned();
        let mut names = self.names.borrow_mut();
        // The last of several attempts has the name.
        names.retain(|other| other.name != name);
        names.push(ConnectionName { port, name, title, annotations });
    }

    /// Waits until the connections so far have ended. Returns whether there is a capture.
    pub(super) async fn settle(&self) -> bool {
        let recorders = recorders(self.harness);
        let mut captured = self.captured.take();
        captured.wait(&recorders, &self.ports.all(), TIMEOUT).await;
        self.captured.replace(captured);
        !recorders.is_empty()
    }

    /// Reads the packets so far.
    pub(super) fn captured<T>(&self, read: impl FnOnce(&CapturedConnections) -> T) -> T {
        read(&self.captured.borrow())
    }

    /// The ports so far.
    pub(super) fn ports(&self) -> std::collections::BTreeSet<u16> {
        self.ports.all()
    }

    /// The packets, with what is cited of them; `None` without a capture.
    pub(super) async fn packets(
        self,
        name: &str,
        cite: impl FnOnce(&mut Citing<'_>),
    ) -> Option<PacketSet> {
        if !self.settle().await {
            return None;
        }
        let captured = self.captured.into_inner();
        let cited = cited(&captured, self.names.into_inner(), cite);
        let key_lines = self.key_lines.take();
        Some(PacketSet { name: name.to_owned(), captured, key_lines, cited })
    }
}

fn cited(
    captured: &CapturedConnections,
    names: Vec<ConnectionName>,
    cite: impl FnOnce(&mut Citing<'_>),
) -> Cited {
    let reads = captured.read();
    let mut citing = Citing::new(&reads, names);
    cite(&mut citing);
    citing.finish()
}

/// The captures of all ways to the server.
fn recorders(harness: &Harness) -> Vec<&PacketRecorder> {
    let on_road = harness.road.as_ref().and_then(|road| road.recorder.as_deref());
    harness.recorder.as_deref().into_iter().chain(on_road).collect()
}
