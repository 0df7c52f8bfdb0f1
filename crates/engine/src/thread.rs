//! A conversation that goes on under a name: which answer it continues, and how much of it a turn sees.

use std::time::Duration;

use protocol::fault::Fault;
use protocol::id::{Owner, ResponseId};
use protocol::item::{Item, Role};

use crate::answers::{Shared, store_fault};
use crate::clock;
use crate::count::{self, Prompt};
use crate::store::Head;

/// A named conversation of a caller. A turn of it continues where the last one that ended well has left it, and is where
/// the next one goes on if it ends well itself; otherwise nothing is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its name, which is the caller's own: two callers may use the same.
    pub name: String,
    /// How much of it a turn sees.
    pub window: Window,
}

/// How much of a conversation a turn sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// So many messages, with the question.
    pub messages: usize,
    /// So many tokens of all that the model reads, as the vocabulary of its name counts them.
    pub tokens: u64,
    /// After so long without a question, none.
    pub idle: Duration,
}

impl Window {
    /// The end of a conversation: as many whole turns as fit, oldest first. The last turn always does, so that there is a
    /// question, and the upstream says by itself if that one is too long; and none is torn apart, so that no answer stands
    /// without its question. Counts tokens: not for an async task.
    pub(crate) fn cut(self, prompt: &Prompt<'_>, context: Vec<Item>) -> Vec<Item> {
        let is_message = |item: &Item| matches!(item, Item::Message(_));
        let is_question = |item: &Item| matches!(item, Item::Message(message) if message.role == Role::User);
        let (mut from, mut messages, mut tokens) = (None, 0, count::beside(prompt));
        for (index, item) in context.iter().enumerate().rev() {
            messages += usize::from(is_message(item));
            // What does not fit by its number need not be counted any more.
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

    fn is_over(self, head: &Head, now: u64) -> bool {
        now.saturating_sub(head.used_at) >= self.idle.as_secs()
    }
}

impl Shared {
    /// The answer that the thread's next turn continues. Asking counts as use.
    pub(crate) async fn head(&self, owner: &Owner, thread: &Thread) -> Result<Option<ResponseId>, Fault> {
        let Some(head) = self.store.head(owner, &thread.name).await.map_err(store_fault)? else { return Ok(None) };
        let now = clock::unix_seconds();
        let head = (!thread.window.is_over(&head, now)).then_some(Head { used_at: now, ..head });
        self.store.set_head(owner, &thread.name, head.clone()).await.map_err(store_fault)?;
        Ok(head.map(|head| head.response))
    }

    /// A turn of the thread has ended well: the next one goes on from it.
    pub(crate) async fn move_head(&self, owner: &Owner, name: &str, response: ResponseId) {
        let head = Head { response, used_at: clock::unix_seconds() };
        if let Err(error) = self.store.set_head(owner, name, Some(head)).await {
            tracing::error!(%error, "a conversation could not be moved on: its next turn will not know its last");
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

    fn window(messages: usize) -> Window {
        Window { messages, tokens: u64::MAX, idle: Duration::from_secs(300) }
    }

    fn cut(window: Window, context: Vec<Item>) -> Vec<Item> {
        window.cut(&Prompt::from(&Create::new("demo")), context)
    }

    fn message(role: Role, index: usize) -> Item {
        let content = vec![Part::output_text(format!("{index}"))];
        Item::Message(Message { id: ItemId::new(format!("msg_{index}")), ..Message::new(role, content) })
    }

    /// Questions and answers in turn, a question last.
    fn conversation(questions: usize) -> Vec<Item> {
        (0..2 * questions - 1).map(|index| message(if index % 2 == 0 { Role::User } else { Role::Assistant }, index)).collect()
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
        // Each message is 5 tokens (3 around it, its role, its text), and 3 open the answer.
        let check = |tokens: u64, expected: usize| {
            let whole = conversation(4);
            let cut = cut(Window { tokens, ..window(100) }, whole.clone());
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
    fn what_is_no_message_goes_with_its_turn() {
        let thought = |index: usize| {
            let id = ItemId::new(format!("rs_{index}"));
            let (summary, content, extra) = (Vec::new(), Vec::new(), Extra::default());
            Item::Reasoning(Reasoning { id, summary, content, encrypted_content: None, extra })
        };
        let whole: Vec<Item> = conversation(3).into_iter().enumerate().flat_map(|(index, item)| [thought(index), item]).collect();
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
    fn five_minutes_without_a_question_are_the_end() {
        let head = Head { response: ResponseId::new("resp_1"), used_at: 1_000 };
        assert!(!window(10).is_over(&head, 1_000));
        assert!(!window(10).is_over(&head, 1_299));
        assert!(window(10).is_over(&head, 1_300));
        assert!(!window(10).is_over(&head, 900), "a clock that was set back takes nothing away");
    }
}
