//! Named conversations: which response the next turn continues, and how much of the conversation
//! the model reads.

use std::time::Duration;

use protocol::fault::Fault;
use protocol::id::{Owner, ResponseId};
use protocol::item::{Item, Role};

use crate::clock;
use crate::count::{self, Prompt};
use crate::response::fault::store_fault;
use crate::response::state::EngineState;
use crate::store::ConversationHead;

/// A named conversation of a caller. A turn continues the last successful turn. A turn that fails
/// leaves nothing in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its name, in the caller's own namespace.
    pub name: String,
    /// How much of it the model reads.
    pub window: ContextWindow,
}

/// How much of a conversation the model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextWindow {
    /// The last `n` messages, including the new one.
    pub messages: usize,
    /// The most tokens of everything the model reads, counted with the vocabulary of its name.
    pub tokens: u64,
    /// The time without a question after which it starts anew.
    pub idle: Duration,
}

impl ContextWindow {
    /// The end of a conversation: as many whole turns as fit, oldest first. The last turn always
    /// stays, since there must be a question; if it is too long, the upstream reports it. Counts
    /// tokens: not for an async task.
    pub(crate) fn cut(self, prompt: &Prompt<'_>, context: Vec<Item>) -> Vec<Item> {
        let is_message = |item: &Item| matches!(item, Item::Message(_));
        let is_question =
            |item: &Item| matches!(item, Item::Message(message) if message.role == Role::User);
        let (mut from, mut messages, mut tokens) = (None, 0, count::beside(prompt));
        for (index, item) in context.iter().enumerate().rev() {
            messages += usize::from(is_message(item));
            // The number of messages is checked first because counting tokens is slower.
            if messages > self.messages && from.is_some() {
                break;
            }
            tokens += count::item(prompt.model, item);
            if tokens > self.tokens && from.is_some() {
                break;
            }
            if is_question(item) {
                from = Some(index);
            }
        }
        context.into_iter().skip(from.unwrap_or_default()).collect()
    }

    fn is_over(self, head: &ConversationHead, now: u64) -> bool {
        now.saturating_sub(head.used_at) >= self.idle.as_secs()
    }
}

impl EngineState {
    /// The response that the next turn continues. Counts as use of the conversation.
    pub(crate) async fn head(
        &self,
        owner: &Owner,
        conversation: &Conversation,
    ) -> Result<Option<ResponseId>, Fault> {
        let Some(head) = self
            .backends
            .stored
            .store
            .head(owner, &conversation.name)
            .await
            .map_err(store_fault)?
        else {
            return Ok(None);
        };
        let now = clock::unix_seconds();
        let head = (!conversation.window.is_over(&head, now))
            .then_some(ConversationHead { used_at: now, ..head });
        self.backends
            .stored
            .store
            .set_head(owner, &conversation.name, head.clone())
            .await
            .map_err(store_fault)?;
        Ok(head.map(|head| head.response))
    }

    /// Makes a successful turn the one that the next turn continues.
    pub(crate) async fn move_head(&self, owner: &Owner, name: &str, response: ResponseId) {
        let head = ConversationHead { response, used_at: clock::unix_seconds() };
        if let Err(error) = self.backends.stored.store.set_head(owner, name, Some(head)).await {
            tracing::error!(%error, "cannot store the head of a conversation; its next turn will not continue this one");
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::extra::Extra;
    use protocol::id::ItemId;
    use protocol::item::{Message, Part, Reasoning};
    use protocol::request::Create;

    use super::*;

    fn window(messages: usize) -> ContextWindow {
        ContextWindow { messages, tokens: u64::MAX, idle: Duration::from_secs(300) }
    }

    fn cut(window: ContextWindow, context: Vec<Item>) -> Vec<Item> {
        window.cut(&Prompt::from(&Create::new("demo")), context)
    }

    fn message(role: Role, index: usize) -> Item {
        let content = vec![Part::output_text(format!("{index}"))];
        Item::Message(Message {
            id: ItemId::new(format!("msg_{index}")),
            ..Message::new(role, content)
        })
    }

    /// Alternating messages of user and model, ending with the user's.
    fn conversation(questions: usize) -> Vec<Item> {
        (0..2 * questions - 1)
            .map(|index| message(if index % 2 == 0 { Role::User } else { Role::Assistant }, index))
            .collect()
    }

    fn check(messages: usize, questions: usize, expected: usize) {
        let whole = conversation(questions);
        let cut = cut(window(messages), whole.clone());
        assert_eq!(cut.len(), expected, "{questions} questions");
        assert_eq!(cut, whole[whole.len() - expected..], "the newest stay");
    }

    #[test]
    fn whole_turns_go_from_the_front() {
        check(10, 1, 1);
        check(10, 5, 9);
        check(10, 6, 9);
        check(10, 50, 9);
        check(1, 3, 1);
        check(0, 3, 1);
    }

    #[test]
    fn whole_turns_go_until_the_rest_fits_into_the_tokens() {
        // Each message is 5 tokens (3 around it, its role, its text), and 3 open the reply.
        let check = |tokens: u64, expected: usize| {
            let whole = conversation(4);
            let cut = cut(ContextWindow { tokens, ..window(100) }, whole.clone());
            assert_eq!(cut, whole[whole.len() - expected..], "{tokens} tokens");
        };
        check(3 + 7 * 5, 7);
        check(3 + 7 * 5 - 1, 5);
        check(3 + 5 * 5, 5);
        check(3 + 4 * 5, 3);
        check(3 + 2 * 5, 1);
        check(1, 1);
    }

    #[test]
    fn items_that_are_not_messages_are_cut_with_their_turn() {
        let thought = |index: usize| {
            let id = ItemId::new(format!("rs_{index}"));
            let (summary, content, extra) = (Vec::new(), Vec::new(), Extra::default());
            Item::Reasoning(Reasoning { id, summary, content, encrypted_content: None, extra })
        };
        let whole: Vec<Item> = conversation(3)
            .into_iter()
            .enumerate()
            .flat_map(|(index, item)| [thought(index), item])
            .collect();
        let cut = cut(window(3), whole.clone());
        assert_eq!(cut, whole[5..], "from the second question on, without the thought before it");
    }

    #[test]
    fn a_context_without_a_question_stays_as_it_is() {
        assert_eq!(cut(window(1), Vec::new()), Vec::new());
        let said = vec![message(Role::Assistant, 0), message(Role::Assistant, 1)];
        assert_eq!(cut(window(1), said.clone()), said);
    }

    #[test]
    fn a_conversation_ends_after_its_idle_time() {
        let head = ConversationHead { response: ResponseId::new("resp_1"), used_at: 1_000 };
        assert!(!window(10).is_over(&head, 1_000));
        assert!(!window(10).is_over(&head, 1_299));
        assert!(window(10).is_over(&head, 1_300));
        assert!(!window(10).is_over(&head, 900), "a clock that was set back ends no conversation");
    }
}
