//! Export as Markdown, for reading: each conversation with its messages, up to its last response.

use std::io::Write;
use std::path::Path;

use engine::store::Most;
use protocol::extra::Extra;
use protocol::item::{Item, Part, Role};
use protocol::visible::{visible, visible_in_line};
use rusqlite::Connection;

use super::error::ToolError;
use super::export::last_answer;
use super::read::{STEP, ToolProgress, ask, reader};
use crate::sqlite::failure::JobFailure;
use crate::sqlite::tree;

/// The last response of a conversation.
struct Conversation {
    number: i64,
    id: String,
    owner: String,
    ended_at: String,
    items: Vec<Item>,
}

/// Writes every conversation to `out`. One that was continued in two ways is written twice. Returns
/// their number.
///
/// # Errors
/// [`ToolError`].
pub fn export_markdown(
    path: &Path,
    out: &mut impl Write,
    mut progress: impl FnMut(ToolProgress),
) -> Result<u64, ToolError> {
    let connection = reader(path)?;
    let last = last_answer(path, &connection)?;
    let (mut after, mut count) = (0, 0);
    writeln!(out, "# Conversations")?;
    loop {
        let step = ask(path, &connection, |connection| conversations(connection, after, last))?;
        let Some(conversation) = step.last() else { break };
        after = conversation.number;
        count += step.len() as u64;
        for conversation in step {
            let (id, owner) =
                (visible_in_line(&conversation.id), visible_in_line(&conversation.owner));
            writeln!(out, "\n## {id}\n\n{owner}, {}", conversation.ended_at)?;
            conversation.items.iter().try_for_each(|item| write(out, item))?;
        }
        progress(ToolProgress {
            done: u64::try_from(after).unwrap_or(0),
            total: u64::try_from(last).ok(),
        });
    }
    out.flush()?;
    Ok(count)
}

fn conversations(
    connection: &Connection,
    after: i64,
    last: i64,
) -> Result<Vec<Conversation>, JobFailure> {
    let find = "SELECT number, id, owner, head, strftime('%Y-%m-%d %H:%M UTC', ended_at, 'unixepoch') FROM answers \
                WHERE number > ?1 AND number <= ?2 AND state = 1 AND readable AND head IS NOT NULL \
                AND NOT EXISTS (SELECT 1 FROM answers next WHERE next.parent = answers.head) \
                AND NOT EXISTS (SELECT 1 FROM items WHERE items.parent = answers.head) ORDER BY number LIMIT ?3";
    let mut find = connection.prepare_cached(find)?;
    let mut rows = find.query((after, last, STEP))?;
    let mut conversations = Vec::new();
    while let Some(row) = rows.next()? {
        let items = tree::path_from(connection, row.get(3)?, Most::ALL)?;
        let (number, id, owner, ended_at) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(4)?);
        conversations.push(Conversation { number, id, owner, ended_at, items });
    }
    Ok(conversations)
}

fn write(out: &mut impl Write, item: &Item) -> std::io::Result<()> {
    match item {
        Item::Message(message) => {
            writeln!(out, "\n### {}\n\n{}", speaker(message.role), quoted(&text(&message.content)))
        }
        Item::FunctionCall(call) => {
            writeln!(out, "\n### Call of {}\n\n{}", code(&call.name), fenced(&call.arguments))
        }
        Item::CustomToolCall(call) => {
            writeln!(out, "\n### Call of {}\n\n{}", code(&call.name), fenced(&call.input))
        }
        Item::FunctionCallOutput(output) => {
            writeln!(out, "\n### Result\n\n{}", fenced(&output.output.text()))
        }
        Item::CustomToolCallOutput(output) => {
            writeln!(out, "\n### Result\n\n{}", fenced(&output.output.text()))
        }
        Item::Opaque(item) => {
            writeln!(out, "\n### {}\n\n{}", code(&item.kind), fenced(&json(&item.fields)))
        }
        Item::Reasoning(reasoning) => {
            let thoughts =
                if reasoning.content.is_empty() { &reasoning.summary } else { &reasoning.content };
            writeln!(out, "\n### Reasoning\n\n{}", quoted(&text(thoughts)))
        }
        Item::Compaction(compaction) => writeln!(
            out,
            "\n### Summary of what was said before\n\n{}",
            quoted(&compaction.summary)
        ),
    }
}

/// An item that Weir does not interpret, as JSON.
fn json(fields: &Extra) -> String {
    serde_json::to_string_pretty(fields).unwrap_or_default()
}

fn speaker(role: Role) -> &'static str {
    match role {
        Role::User => "User",
        Role::Assistant => "Assistant",
        Role::System => "System",
        Role::Developer => "Developer",
    }
}

fn text(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::InputImage { .. } => "*(an image)*".to_owned(),
        Part::InputFile { filename, .. } => {
            format!("*(a file: {})*", filename.as_deref().unwrap_or("without a name"))
        }
        Part::Opaque(fields) => format!("*({})*", fields.text("type").unwrap_or("something else")),
        part => part.text().unwrap_or_default().to_owned(),
    };
    parts.iter().map(part).collect::<Vec<_>>().join("\n\n")
}

/// A foreign text as a quote, so that nothing in it looks like the surrounding document. Control
/// characters become symbols.
fn quoted(text: &str) -> String {
    let text = visible(text);
    text.split('\n')
        .map(|line| format!("> {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A name in a heading.
fn code(name: &str) -> String {
    format!("`{}`", visible_in_line(name).replace('`', "'"))
}

/// The text in a fence that it does not contain.
fn fenced(text: &str) -> String {
    let text = &visible(text);
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{text}\n{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_forge_structure() {
        let forged =
            quoted("a\n\n## resp_ff\n\nkey_forged, 2026\n\n### User\n\x1b]0;PWN\x07\rb\u{202e}");
        assert_eq!(
            forged,
            "> a\n>\n> ## resp_ff\n>\n> key_forged, 2026\n>\n> ### User\n> ␛]0;PWN␇␍b\u{fffd}"
        );
        assert_eq!(code("f`\n## x"), "`f'␊## x`");
        assert_eq!(fenced("```\n## x\x1b"), "````\n```\n## x␛\n````");
    }
}
