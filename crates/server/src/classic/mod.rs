//! The classic API's rooms: who asks, which stream hears the answer, and how a question becomes a turn.

mod channels;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::conversation::named::{Conversation, Window};
use engine::response::options::Terms;
use engine::response::start::Started;
use protocol::dialect::classic;
use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;
use protocol::on_leave::OnLeave;
use protocol::trace::TraceContext;
use tokio::sync::OnceCell;

pub(crate) use channels::{Channels, Opened};

use crate::app::App;
use crate::config::ClassicConfig;
use crate::transport::Turn;

/// How many messages the model sees of a conversation, with the question; the pages promise it.
const MESSAGES: usize = 10;

/// What the classic API remembers between requests.
#[derive(Default)]
pub struct Classic {
    pub(crate) channels: Channels<Turn>,
    asking: RwLock<Arc<Asking>>,
}

/// How questions are asked since the settings were last read. A socket outlives that, and its next question obeys it.
#[derive(Default)]
struct Asking {
    config: ClassicConfig,
    /// The model that answers where the settings name none, once an upstream has.
    first_model: OnceCell<String>,
}

impl Classic {
    /// Asks as these settings say from now on. Which model the upstreams serve first is found out again, since they may be
    /// others.
    pub(crate) fn obey(&self, config: ClassicConfig) {
        *self.asking.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Asking { config, first_model: OnceCell::new() });
    }

    fn asking(&self) -> Arc<Asking> {
        Arc::clone(&self.asking.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who asks: a uid of a caller. The uid is no secret, and two callers may have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    pub(crate) owner: Owner,
    pub(crate) uid: String,
}

/// The model that answers: the configured one, else the first that an upstream serves.
///
/// # Errors
/// No upstream names a model.
pub(crate) async fn model(app: &App) -> Result<String, Fault> {
    let asking = app.classic.asking();
    if let Some(model) = &asking.config.model {
        return Ok(model.clone());
    }
    let first = || async {
        let models = app.engine.models().await;
        let of_upstream = models.iter().find(|model| model.owned_by != OURS);
        of_upstream.map(|model| model.id.clone()).ok_or_else(|| {
            let message = "No upstream says which models it serves: name the one that the classic API asks in classic.model.";
            Fault::new(FaultKind::Upstream, "no_model", message).with_status(503)
        })
    };
    asking.first_model.get_or_try_init(first).await.cloned()
}

/// Who owns the built-in demo model. It answers only where nobody else does, or by name.
const OURS: &str = "weir";

/// Asks the question as the next turn of the asker's conversation. It stops when its reader leaves, and then, or when it
/// fails, nothing of it stays.
///
/// # Errors
/// No model; too many answers; a log or store that cannot write.
pub(crate) async fn start(app: &App, asker: &Asker, model: &str, question: String, trace: Option<TraceContext>) -> Result<Started, Fault> {
    let ClassicConfig { context_tokens: tokens, idle, .. } = app.classic.asking().config;
    let window = Window { messages: MESSAGES, tokens, idle };
    // Behind a prefix, so that no other kind of named conversation can be reached by a uid.
    let conversation = Conversation { name: format!("classic:{}", asker.uid), window };
    let terms = Terms { conversation: Some(conversation), on_leave: Some(OnLeave::Cancel), trace, ..Terms::default() };
    app.engine.start(&asker.owner, classic::create(model, question), terms).await
}

/// How often a stream of the classic API shows that it lives: its clients give up after 45 seconds without a byte.
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
