//! The vocabulary: Open Responses and the dialects it is told in, without I/O, clock or async. Frames are in the crate `codec`.
//!
//! # Glossary
//!
//! The same word means the same thing in code, on the wire, in logs and in files.
//!
//! | Word | Meaning |
//! |---|---|
//! | *response* | One answer of a model to one request, as Open Responses names it. It has an id, an owner and a log. |
//! | *item* | One entry of a conversation: a message, a function call, its output, reasoning, or a compaction. |
//! | *compaction* | An item that stands for a conversation: the model's own summary of it. |
//! | *content part* | One piece of a message: text, an image, a refusal. |
//! | *event* | One step of an answer, as Open Responses names it (`response.output_text.delta` and so on). |
//! | *entry* | An event serialised once, with its position: what the log holds. |
//! | *position* | The index of an entry in its log. On the wire: `sequence_number`. |
//! | *dialect* | An API's vocabulary: `responses`, `chat_completions`, `classic`. |
//! | *message* | What a dialect makes of entries, before a frame turns it into bytes. |
//! | *frame* | How messages become bytes: `json`, `ndjson`, `sse`, `event_source`, `emitter`, `websocket`. |
//! | *thread* | A conversation that goes on under a name, such as a uid of the classic API. |
//! | *pass-through call* | A request whose body goes to an upstream as it came, and its response back: embeddings, text completions, moderations. It has no log. |
//! | *fault* | An error in the shape every OpenAI client understands. |
//! | *terminal event* | The one event that ends a log. |

pub mod extra;
pub mod fault;
pub mod field_paths;
pub mod id;
pub mod trace;
pub mod usage;

pub mod compaction;
pub mod item;
pub mod limits;
pub mod on_leave;
pub mod request;
pub mod response;

pub mod event;
pub mod snapshot;

pub mod dialect;

pub mod fields;
pub mod passthrough;
pub mod vector;
pub mod visible;
pub mod weight;

mod read;
