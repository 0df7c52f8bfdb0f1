//! Shortens a conversation that is longer than the model can read (`truncation: "auto"`).

use protocol::item::{Item, Role};

use super::run::Turn;

impl Turn {
    /// Removes the oldest part of the conversation, if the request allows it. Returns whether
    /// anything was removed.
    pub(super) fn shorten(&mut self) -> bool {
        if self.request.create.truncation.as_deref() != Some("auto") {
            return false;
        }
        let Some(context) = shorter(&self.request.context) else { return false };
        tracing::debug!(response = %self.handle.id, before = self.request.context.len(), after = context.len(), "conversation too long; retrying without its oldest part");
        self.request.context = context.into();
        true
    }
}

/// The conversation without its oldest part: about half of its turns or, if there is only one, half
/// of the steps in it. System messages, summaries and the newest question stay, and no call is
/// separated from its output. `None` if nothing can be left out.
fn shorter(context: &[Item]) -> Option<Vec<Item>> {
    let is_question =
        |item: &Item| matches!(item, Item::Message(message) if message.role == Role::User);
    let questions: Vec<usize> =
        (0..context.len()).filter(|index| is_question(&context[*index])).collect();
    let (from, to) = match questions[..] {
        [] => (0, steps(context, 0).get(1..)?.first().copied()?),
        [question] => {
            let steps = steps(context, question + 1);
            (question + 1, *steps.get(steps.len() / 2).filter(|_| steps.len() > 1)?)
        }
        [..] => (0, questions[questions.len() / 2]),
    };
    let stays = |index: usize, item: &Item| index < from || index >= to || is_standing(item);
    let shorter: Vec<Item> = context
        .iter()
        .enumerate()
        .filter(|(index, item)| stays(*index, item))
        .map(|(_, item)| item.clone())
        .collect();
    (shorter.len() < context.len()).then_some(shorter)
}

/// Whether an item applies to the whole conversation.
fn is_standing(item: &Item) -> bool {
    match item {
        Item::Message(message) => matches!(message.role, Role::System | Role::Developer),
        Item::Compaction(_) => true,
        Item::FunctionCall(_)
        | Item::FunctionCallOutput(_)
        | Item::CustomToolCall(_)
        | Item::CustomToolCallOutput(_)
        | Item::Reasoning(_)
        | Item::Opaque(_) => false,
    }
}

/// The starts of the steps of an agent, from an index on: a new step starts after the outputs of
/// tools.
fn steps(context: &[Item], from: usize) -> Vec<usize> {
    let is_output = |index: usize| {
        matches!(context[index], Item::FunctionCallOutput(_) | Item::CustomToolCallOutput(_))
    };
    (from..context.len())
        .filter(|index| *index == from || (is_output(index - 1) && !is_output(*index)))
        .collect()
}

#[cfg(test)]
mod tests {
    use protocol::extra::Extra;
    use protocol::id::ItemId;
    use protocol::item::{
        FunctionCall, FunctionCallOutput, FunctionOutput, ItemStatus, Message, Part,
    };

    use super::*;

    fn item(word: &str) -> Item {
        let (kind, name) = word.split_at(1);
        let (id, status, extra) = (ItemId::new(word), ItemStatus::Completed, Extra::default());
        let message = |role| {
            Item::Message(Message {
                id: id.clone(),
                ..Message::new(role, vec![Part::input_text(name)])
            })
        };
        match kind {
            "s" => message(Role::System),
            "u" => message(Role::User),
            "a" => message(Role::Assistant),
            "c" => Item::FunctionCall(FunctionCall {
                id,
                call_id: name.into(),
                name: "f".into(),
                arguments: "{}".into(),
                status,
                extra,
            }),
            _ => Item::FunctionCallOutput(FunctionCallOutput {
                id,
                call_id: name.into(),
                output: FunctionOutput::Text(String::new()),
                status,
                extra,
            }),
        }
    }

    fn check(context: &str, expected: Option<&str>) {
        let context: Vec<Item> = context.split(' ').map(item).collect();
        let shorter = shorter(&context).map(|items| {
            items.iter().map(|item| item.id().to_string()).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(shorter.as_deref(), expected);
    }

    #[test]
    fn whole_turns_go_first_and_system_messages_stay() {
        check("s1 u1 a1 u2 a2 u3 a3 u4", Some("s1 u3 a3 u4"));
        check("u1 a1 s1 u2 c1 o1 a2", Some("s1 u2 c1 o1 a2"));
    }

    #[test]
    fn a_single_turn_loses_its_oldest_steps_with_their_outputs() {
        check("s1 u1 c1 o1 c2 c3 o2 o3 c4 o4", Some("s1 u1 c2 c3 o2 o3 c4 o4"));
    }

    #[test]
    fn a_conversation_that_cannot_be_shortened_is_kept() {
        check("s1 u1", None);
        check("u1 c1 o1", None);
    }
}
