//! An estimate of the memory that an item takes.

use super::{CustomToolCallOutput, FunctionCallOutput, FunctionOutput, Item, Part};
use crate::extra::Extra;

impl Item {
    /// The approximate number of bytes that the item takes in memory: its texts and an allowance
    /// for structures.
    pub fn weight(&self) -> usize {
        let own = match self {
            Self::FunctionCall(call) => call.arguments.len() + call.name.len() + call.call_id.len(),
            Self::CustomToolCall(call) => call.input.len() + call.name.len() + call.call_id.len(),
            Self::FunctionCallOutput(FunctionCallOutput {
                output: FunctionOutput::Text(text),
                ..
            })
            | Self::CustomToolCallOutput(CustomToolCallOutput {
                output: FunctionOutput::Text(text),
                ..
            }) => text.len(),
            Self::Reasoning(reasoning) => {
                reasoning.encrypted_content.as_ref().map_or(0, String::len)
            }
            Self::Compaction(compaction) => compaction.summary.len(),
            Self::Opaque(item) => item.fields.weight(),
            Self::Message(_) | Self::FunctionCallOutput(_) | Self::CustomToolCallOutput(_) => 0,
        };
        let parts = self.parts().map(|part| match part {
            Part::InputImage { image_url, .. } => image_url.as_ref().map_or(0, String::len),
            Part::InputFile { file_data, .. } => file_data.as_ref().map_or(0, String::len),
            Part::Opaque(extra) => extra.weight(),
            part => part.text().map_or(0, str::len),
        });
        // The constants allow for the structures themselves.
        own + self.extra().map_or(0, Extra::weight)
            + parts.map(|bytes| bytes + 200).sum::<usize>()
            + 300
    }
}
