//! The demo's responses to plain text, in English and Chinese.

use super::content::{CODE, CODE_CHINESE, TOUR, TOUR_CHINESE, TRANSPORTS, TRANSPORTS_CHINESE};
use super::facts::{Fact, FactQuestion, facts, question};
use super::scene::{MAX_WORDS, Scene};

/// The response.
pub(super) fn answer(scene: &Scene) -> String {
    let is_chinese = scene.is_chinese();
    if !scene.outputs.is_empty() {
        return about_outputs(scene);
    }
    if let Some(question) = question(&scene.said) {
        return about_facts(scene, &question);
    }
    let lower = scene.said.to_lowercase();
    let words: Vec<&str> = lower
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(MAX_WORDS)
        .collect();
    let mentions = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let contains = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    let is_short = words.len() <= 4;
    let language =
        |english: &str, chinese: &str| if is_chinese { chinese } else { english }.to_owned();
    if mentions(&["sse", "websocket", "websockets", "ndjson", "table"])
        || contains(&["表格", "对比", "传输", "websocket", "sse与"])
    {
        language(TRANSPORTS, TRANSPORTS_CHINESE)
    } else if mentions(&["code", "rust", "javascript"]) || contains(&["代码", "程序"]) {
        language(CODE, CODE_CHINESE)
    } else if contains(&[
        "what can you do",
        "who are you",
        "what are you",
        "你能做什么",
        "你会什么",
        "你是谁",
        "介绍一下",
    ]) || (is_short
        && (mentions(&["hello", "hi", "hey", "help", "tour", "demo"])
            || contains(&["你好", "您好", "帮助"])))
    {
        language(TOUR, TOUR_CHINESE)
    } else {
        echo(scene)
    }
}

/// How much of the conversation it sees.
pub(super) fn about_messages(scene: &Scene) -> String {
    match scene.messages {
        1 => "I see 1 message in our conversation.".to_owned(),
        count => format!("I see {count} messages in our conversation."),
    }
}

/// A summary in the form in which users tell facts, so that they can be found in it again.
pub(super) fn summary(scene: &Scene) -> String {
    // The last message is the request for the summary.
    let count = scene.messages.saturating_sub(1);
    let earlier = if scene.has_summary { ", after an earlier summary" } else { "" };
    let known = facts(scene.before.iter().map(String::as_str));
    let line = |fact: &Fact| match fact.subject.as_str() {
        "" => format!("\n- remember that {}", fact.value),
        subject => format!("\n- my {subject} is {}", fact.value),
    };
    let told: String = known.iter().map(line).collect();
    let told =
        if told.is_empty() { " nothing to remember".to_owned() } else { format!("\n{told}") };
    format!("Messages so far: {count}{earlier}. The user told:{told}")
}

fn about_outputs(scene: &Scene) -> String {
    let is_chinese = scene.is_chinese();
    let line = |output: &super::scene::FunctionResult| {
        let quoted = quoted(&output.text);
        let name = output.name.as_deref().unwrap_or("?");
        if is_chinese {
            format!("工具 `{name}` 返回了：\n\n{quoted}")
        } else {
            format!("The tool `{name}` gave back:\n\n{quoted}")
        }
    };
    let lines: Vec<String> = scene.outputs.iter().map(line).collect();
    let end = if is_chinese {
        "真正的模型会在这里解读它。"
    } else {
        "A real model would now make sense of it; this demo just quotes it."
    };
    format!("{}\n\n{end}", lines.join("\n\n"))
}

fn about_facts(scene: &Scene, question: &FactQuestion) -> String {
    let known = facts(scene.before.iter().map(String::as_str));
    match (question, scene.is_chinese()) {
        (FactQuestion::About(subject), is_chinese) => {
            about_subject(known.iter().rfind(|fact| fact.subject == *subject), subject, is_chinese)
        }
        (FactQuestion::Everything, true) if known.is_empty() => "你还没有告诉我任何事情。可以说“我叫小明”或“记住……”。".to_owned(),
        (FactQuestion::Everything, false) if known.is_empty() => {
            "You have told me nothing to remember yet. Try \"my name is Ada\" or \"remember that …\".".to_owned()
        }
        (FactQuestion::Everything, true) => format!("我从这次对话里记得：\n\n{}", list(&known, true)),
        (FactQuestion::Everything, false) => format!("From our conversation I remember:\n\n{}", list(&known, false)),
    }
}

fn about_subject(fact: Option<&Fact>, subject: &str, is_chinese: bool) -> String {
    let chinese_subject = if subject == "name" { "名字" } else { subject };
    match (fact, is_chinese) {
        (Some(fact), true) => format!("你的{chinese_subject}是{}。你在前面告诉过我。", fact.value),
        (Some(fact), false) => format!("Your {subject} is {}. You told me so earlier.", fact.value),
        (None, true) => format!("你还没有告诉我你的{chinese_subject}。"),
        (None, false) => format!("You have not told me your {subject} yet."),
    }
}

fn list(facts: &[Fact], is_chinese: bool) -> String {
    let line = |fact: &Fact| match (fact.subject.as_str(), is_chinese) {
        ("", _) => format!("- {}", fact.value),
        ("name", true) => format!("- 你的名字是{}", fact.value),
        (subject, true) => format!("- 你的{subject}是{}", fact.value),
        (subject, false) => format!("- your {subject} is {}", fact.value),
    };
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The text as a quotation in Markdown. Made in one buffer: of short lines, a list takes many times
/// their text.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    for (index, line) in text.lines().enumerate() {
        quoted.push_str(if index == 0 { "> " } else { "\n> " });
        quoted.push_str(line);
    }
    quoted
}

fn echo(scene: &Scene) -> String {
    let learnt = facts([scene.said.as_str()].into_iter());
    let quoted = quoted(&scene.said);
    if scene.is_chinese() {
        let noted = if learnt.is_empty() {
            String::new()
        } else {
            format!("我记住了：\n\n{}\n\n", list(&learnt, true))
        };
        return format!(
            "{noted}你说：\n\n{quoted}\n\n我是内置的演示模型，不是语言模型，只能重复你的话。到目前为止，我看到 {} 条消息。输入 `/help` 查看命令。",
            scene.messages
        );
    }
    if scene.said.is_empty() {
        return format!(
            "You said nothing that I could read. {} Try `/help`.",
            about_messages(scene)
        );
    }
    let noted = if learnt.is_empty() {
        String::new()
    } else {
        format!("I will remember that:\n\n{}\n\n", list(&learnt, false))
    };
    format!(
        "{noted}You said:\n\n{quoted}\n\nI am the built-in demo and no language model, so I only repeat it. {} Type `/help` for what I can do.",
        about_messages(scene)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_quoted() {
        assert_eq!(quoted(""), "");
        assert_eq!(quoted("a"), "> a");
        assert_eq!(quoted("a\r\n\nb\n"), "> a\n> \n> b");
    }

    #[test]
    fn a_quotation_of_short_lines_costs_a_few_times_their_text() {
        let text = "\n".repeat(100_000);
        assert!(quoted(&text).capacity() <= 8 * text.len());
    }
}
