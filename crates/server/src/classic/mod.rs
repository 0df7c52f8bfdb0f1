//! The state of the classic API: which stream a response goes to, and how a question becomes a
//! turn.

mod caller_uid;
mod channels;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::Engine;
use engine::conversation::named::{ContextWindow, Conversation};
use engine::response::options::StartOptions;
use engine::response::start::Started;
use protocol::dialect::classic as dialect;
use protocol::fault::{Fault, FaultKind};
use protocol::on_leave::OnLeave;
use protocol::request::Create;
use protocol::trace::TraceContext;
use tokio::sync::OnceCell;

pub(crate) use caller_uid::CallerUid;
pub(crate) use channels::{Channels, OpenedStream};

use crate::config::ClassicConfig;
use crate::delayed_feed::DelayedFeed;

/// The last messages of a conversation that the model gets, including the new one. The pages
/// promise this number.
const MESSAGES: usize = 10;

/// The state of the classic API between requests.
#[derive(Default)]
pub struct Classic {
    pub(crate) channels: Channels<DelayedFeed>,
    settings: RwLock<Arc<QuestionSettings>>,
}

/// The settings for questions, as last read. A socket may be older than they are, and its next
/// question uses them.
#[derive(Default)]
struct QuestionSettings {
    config: ClassicConfig,
    /// The model where the settings name none, once an upstream has named one.
    first_model: OnceCell<String>,
}

impl Classic {
    /// Applies these settings. The first model of the upstreams is looked up again, since they may
    /// be others.
    pub(crate) fn apply(&self, config: ClassicConfig) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(QuestionSettings { config, first_model: OnceCell::new() });
    }

    /// The model for questions: the configured one, else the first that an upstream serves.
    ///
    /// # Errors
    /// No upstream names a model.
    pub(crate) async fn model(&self, engine: &Engine) -> Result<String, Fault> {
        let settings = self.settings();
        if let Some(model) = &settings.config.model {
            return Ok(model.clone());
        }
        let first = || async {
            let models = engine.models().await;
            let of_upstream = models.iter().find(|model| model.owned_by != OURS);
            of_upstream.map(|model| model.id.clone()).ok_or_else(|| {
                let message = "No upstream lists its models: set classic.model to the model that the classic API should use.";
                Fault::new(FaultKind::Upstream, "no_model", message).with_status(503)
            })
        };
        settings.first_model.get_or_try_init(first).await.cloned()
    }

    /// Starts the question as the next turn of the asker's conversation.
    ///
    /// # Errors
    /// Too many responses; a log or store that cannot write.
    pub(crate) async fn start(
        &self,
        engine: &Engine,
        asker: &CallerUid,
        model: &str,
        question: String,
        trace: Option<TraceContext>,
    ) -> Result<Started, Fault> {
        let mut create = dialect::create(model, question);
        self.complete(&mut create);
        engine.start(&asker.owner, create, self.terms(asker, trace)).await
    }

    /// Adds what the settings say about every question: a system prompt and a temperature.
    pub(crate) fn complete(&self, create: &mut Create) {
        let settings = self.settings();
        create.instructions.clone_from(&settings.config.instructions);
        create.temperature = settings.config.temperature;
    }

    /// The system prompt of every question.
    pub(crate) fn instructions(&self) -> Option<String> {
        self.settings().config.instructions.clone()
    }

    /// How a turn of the asker's conversation starts. It stops when its reader leaves; a turn that
    /// stopped or failed leaves nothing in the conversation.
    pub(crate) fn terms(&self, asker: &CallerUid, trace: Option<TraceContext>) -> StartOptions {
        let ClassicConfig { context_tokens: tokens, idle, .. } = self.settings().config;
        let window = ContextWindow { messages: MESSAGES, tokens, idle };
        // After a prefix, so that no other kind of named conversation can be reached by a uid.
        let conversation = Conversation { name: format!("classic:{}", asker.uid), window };
        StartOptions {
            conversation: Some(conversation),
            on_leave: Some(OnLeave::Cancel),
            trace,
            ..StartOptions::default()
        }
    }

    fn settings(&self) -> Arc<QuestionSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The owner of the built-in demo model, which is used only by name or where there is no other.
const OURS: &str = "weir";

/// The heartbeat of a stream of the classic API: its clients give up after 45 seconds without a
/// byte.
pub(crate) fn heartbeat(configured: Duration) -> Duration {
    configured.min(Duration::from_secs(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c8_no_setting_makes_a_polyfill_wait_for_45_seconds() {
        assert_eq!(heartbeat(Duration::from_secs(5)), Duration::from_secs(5));
        assert_eq!(heartbeat(Duration::from_secs(60)), Duration::from_secs(15));
    }
}
