//! The cases of the matrix: what a vendor sends, and what every client must receive.

use fakes::{Script, Usage, Vendor};
use serde_json::{Value, json};

use self::Vendor::{Anthropic, Gemini, Ollama, OpenAi, Responses};
use super::vendors::WaitLimit;
use crate::scenarios::content::{ContentToolCall, ResponseContent};
use crate::scenarios::table::{ExpectedOutcome, ExpectedUsage, Scenario};

mod faults;

/// An image without pixels.
const PICTURE: &str = "data:image/png;base64,AAAA";

/// Additional fields of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Nothing,
    Tools,
    Thoughts,
    Schema,
    Picture,
    Limit,
}

/// What a vendor sends, and the expected outcome.
pub(super) struct VendorCase {
    /// The script and the expected output.
    pub(super) scenario: Scenario,
    /// The request's fields.
    pub(super) asks: Asks,
    /// Cached input tokens reported by the vendor.
    pub(super) cached: u64,
    /// The expected `Retry-After`.
    pub(super) retry_after: Option<&'static str>,
    /// The timeouts of the vendor's upstream.
    pub(super) patience: WaitLimit,
}

impl VendorCase {
    /// The same case with other request fields.
    fn asking(self, asks: Asks) -> Self {
        Self { asks, ..self }
    }
}

/// Every case of a vendor.
pub(super) fn of(vendor: Vendor) -> Vec<VendorCase> {
    answers(vendor).into_iter().chain(faults::of(vendor)).collect()
}

const STOP: ExpectedOutcome = ExpectedOutcome::Completed("stop");
const CALLS: ExpectedOutcome = ExpectedOutcome::Completed("tool_calls");
const FILTERED: ExpectedOutcome = ExpectedOutcome::Incomplete("content_filter", "content_filter");

fn case(
    name: &str,
    script: Script,
    said: ResponseContent,
    outcome: ExpectedOutcome,
    cost: ExpectedUsage,
) -> VendorCase {
    let scenario = Scenario { name: name.to_owned(), script, said, outcome, cost };
    VendorCase {
        scenario,
        asks: Asks::Nothing,
        cached: 0,
        retry_after: None,
        patience: WaitLimit::Usual,
    }
}

fn answers(vendor: Vendor) -> Vec<VendorCase> {
    let is_ollama = vendor == Ollama;
    // Ollama does not count reasoning tokens.
    let counted = |input, output, reasoning| {
        ExpectedUsage::Provider(input, output, if is_ollama { 0 } else { reasoning })
    };
    let thinking = Script::new()
        .role()
        .reason("Let me ")
        .reason("think.")
        .signature("c2VhbA==")
        .contents(&["4", "2"]);
    let thought =
        ResponseContent { reasoning: "Let me think.".into(), ..ResponseContent::text("42") };
    let two = Script::new().role().call(0, "call_a", "weather", &["{\"city\":", "\"Wien\"}"]).call(
        1,
        "call_b",
        "time",
        &["{}"],
    );
    let calls = vec![
        call(vendor, "call_a", "weather", "{\"city\":\"Wien\"}"),
        call(vendor, "call_b", "time", "{}"),
    ];
    let (refusal, refused) = refused(vendor);
    // Ollama has no such reason.
    let filtered = if is_ollama { STOP } else { FILTERED };
    vec![
        case(
            "text",
            Script::text(&["Hel", "lo", "!"]),
            ResponseContent::text("Hello!"),
            STOP,
            counted(9, 3, 0),
        ),
        case(
            "reasoning",
            thinking.clone().finish("stop").usage(9, 4, 2).done(),
            thought.clone(),
            STOP,
            counted(9, 4, 2),
        )
        .asking(Asks::Thoughts),
        case(
            "tool call",
            Script::tool_call("weather", "call_1", &["{\"city\":", "\"Wien\"}"]),
            ResponseContent {
                calls: vec![call(vendor, "call_1", "weather", "{\"city\":\"Wien\"}")],
                ..ResponseContent::default()
            },
            CALLS,
            counted(9, 2, 0),
        )
        .asking(Asks::Tools),
        case(
            "two tool calls",
            two.finish("tool_calls").usage(9, 3, 0).done(),
            ResponseContent { calls, ..ResponseContent::default() },
            CALLS,
            counted(9, 3, 0),
        )
        .asking(Asks::Tools),
        case("refusal", Script::refusal(&["I ", "cannot."]), refusal, refused, counted(9, 2, 0)),
        case(
            "filter",
            Script::new().role().content("One sh").finish("content_filter").usage(9, 1, 0).done(),
            ResponseContent::text("One sh"),
            filtered,
            counted(9, 1, 0),
        ),
        case(
            "blocked prompt",
            Script::blocked(),
            ResponseContent::default(),
            filtered,
            counted(9, 0, 0),
        ),
        case(
            "length",
            Script::new().role().content("And then").finish("length").usage(9, 2, 0).done(),
            ResponseContent::text("And then"),
            ExpectedOutcome::Incomplete("max_output_tokens", "length"),
            counted(9, 2, 0),
        )
        .asking(Asks::Limit),
        VendorCase {
            cached: 64,
            ..case(
                "cached input",
                thinking
                    .finish("stop")
                    .usage_of(Usage { input: 90, cached: 64, output: 7, reasoning: 3 })
                    .done(),
                thought,
                STOP,
                counted(90, 7, 3),
            )
        },
        case(
            "no usage",
            Script::new().role().contents(&["Count ", "me."]).finish("stop").done(),
            ResponseContent::text("Count me."),
            STOP,
            // Anthropic always reports it.
            if vendor == Anthropic {
                ExpectedUsage::Provider(9, 2, 0)
            } else {
                ExpectedUsage::Counted
            },
        ),
        case(
            "structured output",
            Script::text(&["{\"a\":", "1}"]),
            ResponseContent::text("{\"a\":1}"),
            STOP,
            counted(9, 2, 0),
        )
        .asking(Asks::Schema),
        case(
            "image",
            Script::text(&["A cat."]),
            ResponseContent::text("A cat."),
            STOP,
            counted(9, 1, 0),
        )
        .asking(Asks::Picture),
    ]
}

/// A refusal by the model: Ollama has none, and for Anthropic and Gemini it is an end by their filter.
fn refused(vendor: Vendor) -> (ResponseContent, ExpectedOutcome) {
    let refusal = ResponseContent { refusal: "I cannot.".into(), ..ResponseContent::default() };
    match vendor {
        OpenAi | Responses => (refusal, STOP),
        Anthropic | Gemini => (refusal, FILTERED),
        Ollama => (ResponseContent::text("I cannot."), STOP),
    }
}

/// A call. Gemini has no call ids.
fn call(vendor: Vendor, id: &str, name: &str, arguments: &str) -> ContentToolCall {
    let id = if vendor == Gemini { "" } else { id };
    ContentToolCall { id: id.into(), name: name.into(), arguments: arguments.into() }
}

impl Asks {
    fn schema() -> Value {
        json!({ "type": "object", "properties": { "a": { "type": "integer" } } })
    }

    /// Fields of a `/v1/responses` request.
    pub(super) fn responses(self) -> Value {
        let tool = |name: &str| json!({ "type": "function", "name": name, "parameters": { "type": "object", "properties": {} } });
        let format = json!({ "type": "json_schema", "name": "thing", "schema": Self::schema(), "strict": true });
        let picture = json!([{ "type": "input_text", "text": "What is this?" }, { "type": "input_image", "image_url": PICTURE }]);
        match self {
            Self::Nothing => json!({}),
            Self::Tools => json!({ "tools": [tool("weather"), tool("time")] }),
            Self::Thoughts => json!({ "reasoning": { "effort": "low", "summary": "auto" } }),
            Self::Schema => json!({ "text": { "format": format } }),
            Self::Picture => json!({ "input": [{ "role": "user", "content": picture }] }),
            Self::Limit => json!({ "max_output_tokens": 16 }),
        }
    }

    /// Fields of a chat completions request.
    pub(super) fn chat(self) -> Value {
        let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object", "properties": {} } } });
        let format = json!({ "type": "json_schema", "json_schema": { "name": "thing", "schema": Self::schema(), "strict": true } });
        let picture = json!([{ "type": "text", "text": "What is this?" }, { "type": "image_url", "image_url": { "url": PICTURE } }]);
        match self {
            Self::Nothing => json!({}),
            Self::Tools => json!({ "tools": [tool("weather"), tool("time")] }),
            Self::Thoughts => json!({ "reasoning_effort": "low" }),
            Self::Schema => json!({ "response_format": format }),
            Self::Picture => json!({ "messages": [{ "role": "user", "content": picture }] }),
            Self::Limit => json!({ "max_completion_tokens": 16 }),
        }
    }

    /// The path in the vendor's request, and the value there.
    pub(super) fn sent(self, vendor: Vendor) -> Option<(&'static str, Value)> {
        let at = |[chat, responses, anthropic, gemini, ollama]: [&'static str; 5]| match vendor {
            OpenAi => chat,
            Responses => responses,
            Anthropic => anthropic,
            Gemini => gemini,
            Ollama => ollama,
        };
        let (place, value) = match self {
            Self::Nothing => return None,
            Self::Tools => (
                at([
                    "/tools/1/function/name",
                    "/tools/1/name",
                    "/tools/1/name",
                    "/tools/0/functionDeclarations/1/name",
                    "/tools/1/function/name",
                ]),
                json!("time"),
            ),
            Self::Thoughts => (
                at([
                    "/reasoning_effort",
                    "/reasoning/effort",
                    "/output_config/effort",
                    "/generationConfig/thinkingConfig/thinkingLevel",
                    "/think",
                ]),
                json!("low"),
            ),
            Self::Schema => (
                at([
                    "/response_format/json_schema/schema",
                    "/text/format/schema",
                    "/output_config/format/schema",
                    "/generationConfig/responseJsonSchema",
                    "/format",
                ]),
                Self::schema(),
            ),
            Self::Picture => (
                at([
                    "/messages/0/content/1/image_url/url",
                    "/input/0/content/1/image_url",
                    "/messages/0/content/1/source/data",
                    "/contents/0/parts/1/inlineData/data",
                    "/messages/0/images/0",
                ]),
                if matches!(vendor, OpenAi | Responses) { json!(PICTURE) } else { json!("AAAA") },
            ),
            Self::Limit => (
                at([
                    "/max_completion_tokens",
                    "/max_output_tokens",
                    "/max_tokens",
                    "/generationConfig/maxOutputTokens",
                    "/options/num_predict",
                ]),
                json!(16),
            ),
        };
        Some((place, value))
    }
}
