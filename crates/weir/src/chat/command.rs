//! The commands of `weir chat` itself, as opposed to text for the model.

use super::transport::ChatTransport;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChatCommand {
    Help,
    /// Show the models, or switch to another.
    Model(Option<String>),
    /// Show the transport, or switch to another.
    Transport(Option<ChatTransport>),
    /// Stop the response.
    Stop,
    Cost,
    /// Start a new conversation.
    New,
    Quit,
}

/// The kinds of input lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TypedInput {
    Command(ChatCommand),
    /// Text for the model: everything else, even with a leading slash, since models have commands,
    /// too.
    Question(String),
    /// A command with an invalid argument, and the error message.
    Wrong(String),
    Nothing,
}

pub(super) const HELP: &str = "\
/model [NAME]       list the models, or switch to another
/transport [NAME]   show it, or switch to another: json, ndjson, sse, websocket
/stop               stop the response in progress; so does Ctrl-C
/cost               show the token usage
/new                start a new conversation
/help               show this
/quit               exit; so does Ctrl-D
Anything else is sent to the model; //help sends it /help.
A line that ends with \\ continues on the next.";

const NAMES: [&str; 7] = ["/cost", "/help", "/model", "/new", "/quit", "/stop", "/transport"];

impl ChatCommand {
    /// Parses a line.
    pub(super) fn read(line: &str) -> TypedInput {
        let line = line.trim();
        if line.is_empty() {
            return TypedInput::Nothing;
        }
        if let Some(rest) = line.strip_prefix("//") {
            return TypedInput::Question(format!("/{rest}"));
        }
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = Some(rest.trim()).filter(|rest| !rest.is_empty());
        TypedInput::Command(match (name, rest) {
            ("/help", None) => Self::Help,
            ("/model", name) => Self::Model(name.map(str::to_owned)),
            ("/transport", None) => Self::Transport(None),
            ("/transport", Some(name)) => match ChatTransport::of(name) {
                Some(transport) => Self::Transport(Some(transport)),
                None => {
                    return TypedInput::Wrong(format!(
                        "Unknown transport '{name}': expected json, ndjson, sse or websocket."
                    ));
                }
            },
            ("/stop", None) => Self::Stop,
            ("/cost", None) => Self::Cost,
            ("/new", None) => Self::New,
            ("/quit" | "/exit", None) => Self::Quit,
            _ => return TypedInput::Question(line.to_owned()),
        })
    }

    /// The completions of the start of a line.
    pub(super) fn completions(begun: &str) -> Vec<String> {
        if let Some(begun) = begun.strip_prefix("/transport ") {
            let names = [
                ChatTransport::Json,
                ChatTransport::Ndjson,
                ChatTransport::Sse,
                ChatTransport::Websocket,
            ]
            .map(ChatTransport::name);
            return names
                .iter()
                .filter(|name| name.starts_with(begun))
                .map(|name| format!("/transport {name}"))
                .collect();
        }
        if !begun.starts_with('/') {
            return Vec::new();
        }
        NAMES.iter().filter(|name| name.starts_with(begun)).map(|name| (*name).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &TypedInput) {
        assert_eq!(ChatCommand::read(line), *expected, "{line}");
    }

    #[test]
    fn lines() {
        check(" ", &TypedInput::Nothing);
        check("/help", &TypedInput::Command(ChatCommand::Help));
        check("/model gpt-5 ", &TypedInput::Command(ChatCommand::Model(Some("gpt-5".into()))));
        check(
            "/transport websocket",
            &TypedInput::Command(ChatCommand::Transport(Some(ChatTransport::Websocket))),
        );
        assert!(matches!(ChatCommand::read("/transport smoke"), TypedInput::Wrong(_)));
        check("/count 10", &TypedInput::Question("/count 10".into()));
        check("//help", &TypedInput::Question("/help".into()));
        check("/usr/bin is a directory", &TypedInput::Question("/usr/bin is a directory".into()));
        check("/stop it", &TypedInput::Question("/stop it".into()));
    }

    #[test]
    fn tab_completes_commands_only() {
        assert_eq!(ChatCommand::completions("/co"), ["/cost"]);
        assert_eq!(ChatCommand::completions("/transport n"), ["/transport ndjson"]);
        assert_eq!(ChatCommand::completions("co"), Vec::<String>::new());
        assert!(NAMES.iter().all(|name| HELP.contains(name)));
    }
}
