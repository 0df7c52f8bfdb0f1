//! Finish reasons of all upstreams: one table, from the vendors' documentation and observed
//! responses.
//!
//! A reason that means truncated, filtered or failed never counts as complete, and neither does an
//! unknown reason (promise 4).

use engine::provider::event::Finish;

/// The meaning of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The response is complete, or waits for tool outputs.
    Stop,
    /// Truncated by a token limit.
    Length,
    /// Truncated or withheld by a filter.
    ContentFilter,
    /// The upstream failed or aborted.
    Failed,
    /// Not finished.
    Absent,
}

/// Reasons without case and separators, so that `MAX_TOKENS`, `max-tokens` and `maxTokens` are the
/// same.
const REASONS: &[(Meaning, &[&str])] = &[
    (
        Meaning::Stop,
        &[
            // OpenAI and most compatible servers.
            "stop",
            "toolcalls",
            "functioncall",
            // Anthropic, Bedrock.
            "endturn",
            "stopsequence",
            "tooluse",
            // Cohere, watsonx, Together, TGI, LM Studio, llama.cpp, AI21, Aleph Alpha, Qianfan.
            "complete",
            "completed",
            "eos",
            "eostoken",
            "eostokenid",
            "endofsequence",
            "stopstr",
            "success",
            "eosfound",
            "toolcall",
            "functioncalls",
            "stopsequences",
            "stopsequencereached",
            "stopstringfound",
            "stoptoken",
            "stopword",
            "word",
            "endoftext",
            "endofturn",
            "eot",
            "end",
            "done",
            "finish",
            "finished",
            "normal",
        ],
    ),
    (
        Meaning::Length,
        &[
            "length",
            "maxtokens",
            "maxtoken",
            "maxoutputtokens",
            "maxcompletiontokens",
            "maxnewtokens",
            "maxoutput",
            "maxlength",
            "maximumtokens",
            "tokenlimit",
            "limit",
            "truncated",
            // Mistral, Anthropic, Zhipu, LM Studio.
            "modellength",
            "modelcontextwindowexceeded",
            "contextwindowexceeded",
            "contextlength",
            "contextlengthexceeded",
            "contextlengthreached",
            "maxpredictedtokensreached",
            "maxtokensreached",
            "lengthexceeded",
            "ranoutoftokens",
            "contextwindow",
            // Cohere.
            "errorlimit",
            // Gemini, Anthropic's own compaction.
            "continuation",
            "compaction",
        ],
    ),
    (
        Meaning::ContentFilter,
        &[
            "contentfilter",
            "contentfiltered",
            "contentpolicy",
            "contentpolicyviolation",
            "filtered",
            "moderation",
            "moderated",
            // Anthropic, Bedrock, Cohere, Zhipu and Hunyuan, DashScope.
            "refusal",
            "guardrail",
            "guardrails",
            "guardrailintervened",
            "errortoxic",
            "risk",
            "riskcontrol",
            "security",
            "sensitive",
            "datainspectionfailed",
            // Gemini and Vertex.
            "safety",
            "recitation",
            "language",
            "blocklist",
            "blocked",
            "prohibitedcontent",
            "spii",
            "escalation",
            "modelarmor",
            "imagesafety",
            "imageprohibitedcontent",
            "imagerecitation",
            "imageother",
        ],
    ),
    (
        Meaning::Failed,
        &[
            "error",
            "failed",
            "failure",
            "internalerror",
            "modelerror",
            "engineerror",
            "engineoverloaded",
            "exception",
            "servererror",
            "timeout",
            "timelimit",
            // vLLM, SGLang, watsonx, LM Studio.
            "abort",
            "aborted",
            "cancel",
            "cancelled",
            "canceled",
            "userstopped",
            "modelunloaded",
            "preempted",
            // DeepSeek, Zhipu.
            "insufficientsystemresource",
            "networkerror",
            // Gemini, Bedrock.
            "malformedfunctioncall",
            "malformedresponse",
            "malformedmodeloutput",
            "malformedtooluse",
            "unexpectedtoolcall",
            "toomanytoolcalls",
            "missingthoughtsignature",
            "noimage",
        ],
    ),
    // watsonx sends `not_finished` with every chunk but the last, and Gemini relays its
    // `FINISH_REASON_UNSPECIFIED`.
    (Meaning::Absent, &["", "null", "none", "notfinished", "unspecified"]),
];

/// What a finish reason means for a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FinishVerdict {
    /// It is over for this reason.
    Finish(Finish),
    /// It has failed.
    Failed,
    /// It is not finished.
    Absent,
}

/// Interprets any upstream's finish reason.
pub(super) fn read(reason: &str) -> FinishVerdict {
    let word: String = reason
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect();
    let is_word = word.is_empty() == reason.trim().is_empty();
    // Google's libraries prefix the name of the enum.
    let word = word.strip_prefix("finishreason").unwrap_or(&word);
    let found = REASONS.iter().find(|(_, words)| is_word && words.contains(&word));
    match found.map(|(meaning, _)| *meaning) {
        Some(Meaning::Stop) => FinishVerdict::Finish(Finish::Stop),
        Some(Meaning::Length) => FinishVerdict::Finish(Finish::Length),
        Some(Meaning::ContentFilter) => FinishVerdict::Finish(Finish::ContentFilter),
        Some(Meaning::Failed) => FinishVerdict::Failed,
        Some(Meaning::Absent) => FinishVerdict::Absent,
        None => FinishVerdict::Finish(Finish::Unknown(reason.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reasons as vendors document them, in their own spelling.
    #[test]
    fn every_documented_reason_is_known() {
        let check = |reasons: &[&str], expected: &FinishVerdict| {
            for reason in reasons {
                assert_eq!(read(reason), *expected, "{reason}");
            }
        };
        let stop = [
            "stop",
            "STOP",
            "tool_calls",
            "function_call",
            "end_turn",
            "stop_sequence",
            "tool_use",
            "COMPLETE",
            "eos",
            "eos_token",
        ];
        check(&stop, &FinishVerdict::Finish(Finish::Stop));
        check(
            &["TOOL_CALL", "STOP_SEQUENCE", "eosFound", "endoftext", "normal"],
            &FinishVerdict::Finish(Finish::Stop),
        );
        let length = [
            "length",
            "max_tokens",
            "MAX_TOKENS",
            "model_context_window_exceeded",
            "model_length",
            "token_limit",
        ];
        check(&length, &FinishVerdict::Finish(Finish::Length));
        check(
            &["maxPredictedTokensReached", "max-output-tokens"],
            &FinishVerdict::Finish(Finish::Length),
        );
        let filtered = [
            "content_filter",
            "sensitive",
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "SPII",
            "IMAGE_SAFETY",
            "refusal",
        ];
        check(&filtered, &FinishVerdict::Finish(Finish::ContentFilter));
        check(
            &["guardrail_intervened", "content_filtered", "ERROR_TOXIC"],
            &FinishVerdict::Finish(Finish::ContentFilter),
        );
        let failed = [
            "error",
            "abort",
            "insufficient_system_resource",
            "network_error",
            "cancelled",
            "TIMEOUT",
            "MALFORMED_FUNCTION_CALL",
        ];
        check(&failed, &FinishVerdict::Failed);
        check(
            &["eos_token_id", "stop_str", "end_of_sequence", "success", "FINISH_REASON_STOP"],
            &FinishVerdict::Finish(Finish::Stop),
        );
        let length = [
            "FINISH_REASON_MAX_TOKENS",
            "ERROR_LIMIT",
            "length_exceeded",
            "max_tokens_reached",
            "ran_out_of_tokens",
            "context_window",
        ];
        check(&length, &FinishVerdict::Finish(Finish::Length));
        check(
            &["risk", "risk_control", "security", "FINISH_REASON_SAFETY"],
            &FinishVerdict::Finish(Finish::ContentFilter),
        );
        check(
            &["model_error", "engine_error", "engine_overloaded", "exception"],
            &FinishVerdict::Failed,
        );
        check(&["", "null", "not_finished", "FINISH_REASON_UNSPECIFIED"], &FinishVerdict::Absent);
    }

    #[test]
    fn an_unknown_reason_is_no_evidence() {
        for reason in ["OTHER", "FINISH_REASON_OTHER", "pause_turn", "vibes", "已停止", "!"] {
            assert_eq!(read(reason), FinishVerdict::Finish(Finish::Unknown(reason.to_owned())));
        }
    }

    #[test]
    fn no_reason_has_two_meanings() {
        let words: Vec<&str> = REASONS.iter().flat_map(|(_, words)| *words).copied().collect();
        let unique: std::collections::HashSet<_> = words.iter().collect();
        assert_eq!(unique.len(), words.len());
    }
}
