//! What the tests of all wires say alike: read a body in pieces, name its words.

#![expect(clippy::unnecessary_wraps, reason = "words as a reader gives them")]

use engine::provider::{Blame, Failure, Finish, Word};

use super::Reader;
use super::fault::Callee;

/// What a reader made of a body.
pub(crate) type Read = Vec<Result<Word, Failure>>;

pub(crate) const STOP: Result<Word, Failure> = Ok(Word::Finish(Finish::Stop));

pub(crate) fn north() -> Callee {
    Callee { name: "north".into(), key: None }
}

/// Pushes `pieces` and the end of the body, and takes every word.
pub(crate) fn read(mut reader: impl Reader, pieces: &[&[u8]]) -> Read {
    let mut words = Vec::new();
    for piece in pieces {
        reader.push(piece);
        words.extend(std::iter::from_fn(|| reader.next_word()));
    }
    reader.finish();
    words.extend(std::iter::from_fn(|| reader.next_word()));
    words
}

/// The words without keep-alives.
pub(crate) fn spoken(words: Read) -> Read {
    words.into_iter().filter(|word| *word != Ok(Word::KeepAlive)).collect()
}

/// Cuts `body` into pieces of `sizes`, over and over.
pub(crate) fn split<'a>(body: &'a str, sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut sizes) = (body.as_bytes(), sizes.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Checks that `words` are those `before` an error with this status, code and blame, and gives the error.
#[track_caller]
pub(crate) fn check_failure(mut words: Read, before: &[Result<Word, Failure>], expected: (u16, &str, Blame)) -> Failure {
    let failure = words.pop().unwrap().unwrap_err();
    assert_eq!(words, before);
    assert_eq!((failure.fault.status, failure.fault.code.as_str(), failure.blame), expected);
    failure
}

pub(crate) fn text(text: &str) -> Result<Word, Failure> {
    Ok(Word::Text { text: text.into(), logprobs: Vec::new() })
}

pub(crate) fn thought(text: &str) -> Result<Word, Failure> {
    Ok(Word::Reasoning(text.into()))
}

pub(crate) fn call(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Result<Word, Failure> {
    Ok(Word::ToolCall { index, id: id.map(str::to_owned), name: name.map(str::to_owned), arguments: arguments.into() })
}
