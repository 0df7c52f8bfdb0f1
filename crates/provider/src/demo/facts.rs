//! Facts about users from earlier messages, and questions about them.

use std::collections::{HashSet, VecDeque};

/// A fact with its subject. A fact without a subject is a sentence to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// Such as `name` or `favourite colour`; empty for a sentence.
    pub(super) subject: String,
    /// The rest of the sentence.
    pub(super) value: String,
}

/// A question about facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FactQuestion {
    /// What is my …?
    About(String),
    /// What do you remember?
    Everything,
}

/// The subject that has names in both languages.
const NAME: &str = "name";

/// The most facts that are remembered: many short ones would take more than ten times their text.
const MAX_FACTS: usize = 1_000;

const SENTENCE_ENDS: [char; 10] =
    ['.', '!', '?', '\n', ';', '\u{3002}', '\u{ff01}', '\u{ff1f}', '\u{ff1b}', '\u{ff0c}']; // 。!?;, in full width

/// The facts in these messages, oldest first; a later fact replaces an earlier one about the same
/// subject.
pub(super) fn facts<'a>(messages: impl Iterator<Item = &'a str>) -> Vec<Fact> {
    let mut told = VecDeque::new();
    for fact in messages.flat_map(|message| message.split(SENTENCE_ENDS)).filter_map(read_fact) {
        if told.len() == MAX_FACTS {
            told.pop_front();
        }
        told.push_back(fact);
    }
    // From last to first: of each subject the last fact counts.
    let mut seen = HashSet::new();
    let mut counts = Vec::with_capacity(told.len());
    for fact in told.iter().rev() {
        let value = Some(fact.value.as_str()).filter(|_| fact.subject.is_empty());
        counts.push(seen.insert((fact.subject.as_str(), value)));
    }
    drop(seen);
    told.into_iter()
        .zip(counts.into_iter().rev())
        .filter_map(|(fact, counts)| counts.then_some(fact))
        .collect()
}

/// The question about facts in a message, if any.
pub(super) fn question(said: &str) -> Option<FactQuestion> {
    let lower = said.to_lowercase();
    let text = lower.trim_end_matches([' ', '.', '!', '?', '\u{3002}', '\u{ff01}', '\u{ff1f}']);
    let is_everything = [
        "do you remember",
        "did i tell you",
        "do you know about me",
        "你记得什么",
        "你记住了什么",
        "记得什么",
    ];
    if is_everything
        .iter()
        .any(|phrase| text.ends_with(phrase) || text.contains(&format!("what {phrase}")))
    {
        return Some(FactQuestion::Everything);
    }
    if ["who am i", "我叫什么", "我是谁", "我的名字是什么"]
        .iter()
        .any(|phrase| text.contains(phrase))
    {
        return Some(FactQuestion::About(NAME.to_owned()));
    }
    let english = [
        "what is my ",
        "what's my ",
        "what’s my ",
        "what was my ",
        "do you know my ",
        "remember my ",
    ];
    if let Some(subject) = english.iter().find_map(|phrase| after(text, phrase)) {
        return Some(FactQuestion::About(subject.trim_end_matches(" again").trim().to_owned()));
    }
    let subject = after(text, "我的")?.strip_suffix("是什么")?;
    Some(FactQuestion::About(subject.to_owned()))
}

fn read_fact(sentence: &str) -> Option<Fact> {
    let sentence = sentence.trim().trim_end_matches(',');
    // ASCII only, so that byte positions are the same in both.
    let lower = sentence.to_ascii_lowercase();
    let is_question =
        ["what", "who", "do you", "can you"].iter().any(|word| lower.starts_with(word))
            || lower.contains("什么");
    if is_question {
        return None;
    }
    let rest = |phrase: &str| {
        lower.find(phrase).map(|start| {
            sentence[start + phrase.len()..].trim_matches([' ', ',', ':', '\u{ff0c}', '\u{ff1a}'])
        })
    };
    if let Some(value) = ["remember that ", "remember: ", "remember, ", "记住"]
        .iter()
        .find_map(|phrase| rest(phrase))
    {
        return read_statement(value).or_else(|| fact("", value));
    }
    read_statement(sentence)
}

/// `my … is …`, `I am called …`, `我叫…`, `我的…是…`.
fn read_statement(sentence: &str) -> Option<Fact> {
    let lower = sentence.to_ascii_lowercase();
    for phrase in ["i am called ", "i'm called ", "call me ", "我叫", "我的名字叫", "我的名字是"]
    {
        if let Some(start) = lower.find(phrase) {
            return fact(NAME, sentence[start + phrase.len()..].split([',', '\u{ff0c}']).next()?);
        }
    }
    let (start, is) =
        if lower.starts_with("my ") { (3, " is ") } else { (lower.find(" my ")? + 4, " is ") };
    let (subject, _) = lower[start..].split_once(is)?;
    let value = &sentence[start + subject.len() + is.len()..];
    // A name ends with its clause: "my name is Ada, and …".
    let value =
        if subject == NAME { value.split(',').next()?.split(" and ").next()? } else { value };
    fact(subject, value)
}

fn fact(subject: &str, value: &str) -> Option<Fact> {
    let value = value.trim().trim_end_matches(',');
    (!value.is_empty())
        .then(|| Fact { subject: subject.trim().to_owned(), value: value.to_owned() })
}

fn after<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    text.find(phrase).map(|start| &text[start + phrase.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_facts_are_remembered() {
        let told: Vec<String> = (0..MAX_FACTS + 10).map(|n| format!("my c{n} is d. ")).collect();
        let message = told.concat();
        let facts = facts([message.as_str()].into_iter());
        assert_eq!(facts.len(), MAX_FACTS);
        assert_eq!(facts[0].subject, "c10");
    }

    fn check(message: &str, expected: &[(&str, &str)]) {
        let found: Vec<_> = facts([message].into_iter())
            .into_iter()
            .map(|fact| (fact.subject, fact.value))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(subject, value)| ((*subject).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn facts_are_found() {
        check("Hello! My name is Ada Lovelace, nice to meet you.", &[("name", "Ada Lovelace")]);
        check("hi, my favourite colour is Dark Green", &[("favourite colour", "Dark Green")]);
        check("Please remember that the door code is 4711.", &[("", "the door code is 4711")]);
        check("Remember that my cat is called Tom", &[("cat", "called Tom")]);
        check("你好,我叫小明。", &[("name", "小明")]);
        check("我叫小明，今年十岁", &[("name", "小明")]);
        check("请记住会议在三点", &[("", "会议在三点")]);
        check("My name is Bob. My name is Eve.", &[("name", "Eve")]);
        check("What is my name?", &[]);
        check("İ my name is Ada", &[("name", "Ada")]);
    }

    #[test]
    fn questions_are_found() {
        let about = |subject: &str| Some(FactQuestion::About(subject.to_owned()));
        assert_eq!(question("What is my name?"), about("name"));
        assert_eq!(question("so, what's my favourite colour again?"), about("favourite colour"));
        assert_eq!(question("我叫什么?"), about("name"));
        assert_eq!(question("我叫什么名字？"), about("name"));
        assert_eq!(question("What do you remember?"), Some(FactQuestion::Everything));
        assert_eq!(question("你记得什么？"), Some(FactQuestion::Everything));
        assert_eq!(question("Tell me about SSE"), None);
    }
}
