//! The types of events.

macro_rules! kinds {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// The `type` of an event (Open Responses 2026-04-24).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl EventKind {
            /// Every kind, in the order in which a response has them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

kinds! {
    Created = "response.created",
    Queued = "response.queued",
    InProgress = "response.in_progress",
    OutputItemAdded = "response.output_item.added",
    ContentPartAdded = "response.content_part.added",
    OutputTextDelta = "response.output_text.delta",
    OutputTextAnnotationAdded = "response.output_text.annotation.added",
    OutputTextDone = "response.output_text.done",
    RefusalDelta = "response.refusal.delta",
    RefusalDone = "response.refusal.done",
    ReasoningDelta = "response.reasoning_text.delta",
    ReasoningDone = "response.reasoning_text.done",
    ReasoningSummaryPartAdded = "response.reasoning_summary_part.added",
    ReasoningSummaryDelta = "response.reasoning_summary_text.delta",
    ReasoningSummaryDone = "response.reasoning_summary_text.done",
    ReasoningSummaryPartDone = "response.reasoning_summary_part.done",
    FunctionCallArgumentsDelta = "response.function_call_arguments.delta",
    FunctionCallArgumentsDone = "response.function_call_arguments.done",
    CustomToolCallInputDelta = "response.custom_tool_call_input.delta",
    CustomToolCallInputDone = "response.custom_tool_call_input.done",
    WebSearchCallInProgress = "response.web_search_call.in_progress",
    WebSearchCallSearching = "response.web_search_call.searching",
    WebSearchCallCompleted = "response.web_search_call.completed",
    FileSearchCallInProgress = "response.file_search_call.in_progress",
    FileSearchCallSearching = "response.file_search_call.searching",
    FileSearchCallCompleted = "response.file_search_call.completed",
    CodeInterpreterCallInProgress = "response.code_interpreter_call.in_progress",
    CodeInterpreterCallInterpreting = "response.code_interpreter_call.interpreting",
    CodeInterpreterCallCompleted = "response.code_interpreter_call.completed",
    CodeInterpreterCallCodeDelta = "response.code_interpreter_call_code.delta",
    CodeInterpreterCallCodeDone = "response.code_interpreter_call_code.done",
    ImageGenerationCallInProgress = "response.image_generation_call.in_progress",
    ImageGenerationCallGenerating = "response.image_generation_call.generating",
    ImageGenerationCallPartialImage = "response.image_generation_call.partial_image",
    ImageGenerationCallCompleted = "response.image_generation_call.completed",
    McpCallInProgress = "response.mcp_call.in_progress",
    McpCallArgumentsDelta = "response.mcp_call_arguments.delta",
    McpCallArgumentsDone = "response.mcp_call_arguments.done",
    McpCallCompleted = "response.mcp_call.completed",
    McpCallFailed = "response.mcp_call.failed",
    McpListToolsInProgress = "response.mcp_list_tools.in_progress",
    McpListToolsCompleted = "response.mcp_list_tools.completed",
    McpListToolsFailed = "response.mcp_list_tools.failed",
    ContentPartDone = "response.content_part.done",
    OutputItemDone = "response.output_item.done",
    Error = "error",
    Completed = "response.completed",
    Incomplete = "response.incomplete",
    Failed = "response.failed",
}

impl EventKind {
    /// The kind with this `name` on the wire.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str().as_bytes() == name)
    }

    /// Whether it is about an item of a tool that the upstream runs. Such events are passed on
    /// unchanged.
    pub fn is_hosted(self) -> bool {
        const PREFIXES: [&str; 6] = [
            "response.web_search_call.",
            "response.file_search_call.",
            "response.code_interpreter_call",
            "response.image_generation_call.",
            "response.mcp_call",
            "response.mcp_list_tools.",
        ];
        PREFIXES.iter().any(|prefix| self.as_str().starts_with(prefix))
    }

    /// Whether it ends the log.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Incomplete | Self::Failed)
    }
}

/// The entries that every log starts with, before anything that the model produced. The log of a
/// background response has `response.queued` between them.
pub const PREAMBLE: [EventKind; 2] = [EventKind::Created, EventKind::InProgress];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_parsed_from_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str().as_bytes()), Some(*kind));
        }
        assert_eq!(EventKind::parse(b"response.other"), None);
    }
}
