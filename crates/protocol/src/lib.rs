//! The vocabulary: Open Responses and its dialects, without I/O, clock or async. Frames are in the
//! crate `codec`.
//!
//! # Glossary
//!
//! The same word means the same thing in code, on the wire, in logs and in files.
//!
//! | Word | Meaning |
//! |---|---|
//! | *response* | The output of a model for one request. It has an id, an owner and a log. |
//! | *item* | One element of a conversation: message, call, output, reasoning or compaction. |
//! | *compaction* | An item that replaces a conversation: the model's own summary of it. |
//! | *content part* | One piece of a message: text, an image, a refusal. |
//! | *event* | One step of a response (`response.output_text.delta` and so on). |
//! | *entry* | An event serialised once, with its position. A log is a sequence of entries. |
//! | *position* | The index of an entry in its log. On the wire: `sequence_number`. |
//! | *dialect* | An API's vocabulary: `responses`, `chat_completions`, `classic`. |
//! | *message* | One output of a dialect, before a frame turns it into bytes. |
//! | *frame* | How messages become bytes: `json`, `ndjson`, `sse` (in three variants: `Sse`, `EventSource`, `Emitter`), `websocket`. |
//! | *conversation* | A head in a tree of items: a chain, a socket's local state or a classic uid. |
//! | *pass-through call* | A request that is forwarded unchanged, such as embeddings. No log. |
//! | *fault* | An error in OpenAI's shape, with its HTTP status. |
//! | *terminal event* | The last event of a log. |
//! | *promise N* | In comments: heading N of `docs/reference/guarantees.md`. |

pub mod extra;
pub mod fault;
pub mod field_paths;
pub mod id;
pub mod trace;
pub mod usage;

pub mod compacted;
pub mod compaction;
pub mod item;
pub mod limits;
pub mod on_leave;
pub mod request;
pub mod response;

pub mod entry;
pub mod event;
pub mod snapshot;

pub mod dialect;

pub mod fields;
pub mod passthrough;
pub mod vector;
pub mod visible;
pub mod weight;

mod read;
