//! The content of a response, independent of the dialect.

/// The content of a response.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ResponseContent {
    pub(crate) reasoning: String,
    pub(crate) text: String,
    pub(crate) refusal: String,
    pub(crate) calls: Vec<ContentToolCall>,
}

/// A tool call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ContentToolCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl ResponseContent {
    pub(crate) fn text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Fails unless it has the expected content, without printing megabytes. A call expected without an id has one
    /// made by Weir.
    pub(crate) fn check(&self, scenario: &str, expected: &Self) {
        let mut expected = expected.clone();
        for (call, made) in
            expected.calls.iter_mut().zip(&self.calls).filter(|(call, _)| call.id.is_empty())
        {
            assert!(made.id.starts_with("call_"), "{scenario}: {}", made.id);
            call.id.clone_from(&made.id);
        }
        let short = |said: &Self| format!("{said:?}").chars().take(500).collect::<String>();
        assert!(*self == expected, "{scenario}: {} is not {}", short(self), short(&expected));
    }
}
