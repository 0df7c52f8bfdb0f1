//! What one can say to `weir chat` itself instead of to the model.

use super::line::Transport;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    /// Show the models, or take another.
    Model(Option<String>),
    /// Show the transport, or take another.
    Transport(Option<Transport>),
    /// Stop the answer.
    Stop,
    Cost,
    /// Begin another conversation.
    New,
    Quit,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Command(Command),
    /// To the model: everything else, also what begins with a slash, since models have commands, too.
    Question(String),
    /// A command that cannot be obeyed.
    Wrong(String),
    Nothing,
}

pub(super) const HELP: &str = "\
/model [NAME]       show the models, or take another
/transport [NAME]   show it, or take another: json, ndjson, sse, websocket
/stop               stop the answer while it comes; Ctrl-C does, too
/cost               show the tokens that were used
/new                begin another conversation
/help               show this
/quit               leave; Ctrl-D does, too
Anything else goes to the model; //help sends it a /help.
A line that ends with \\ goes on in the next.";

const NAMES: [&str; 7] = ["/cost", "/help", "/model", "/new", "/quit", "/stop", "/transport"];

impl Command {
    /// Reads a line.
    pub(super) fn read(line: &str) -> Said {
        let line = line.trim();
        if line.is_empty() {
            return Said::Nothing;
        }
        if let Some(rest) = line.strip_prefix("//") {
            return Said::Question(format!("/{rest}"));
        }
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = Some(rest.trim()).filter(|rest| !rest.is_empty());
        Said::Command(match (name, rest) {
            ("/help", None) => Self::Help,
            ("/model", name) => Self::Model(name.map(str::to_owned)),
            ("/transport", None) => Self::Transport(None),
            ("/transport", Some(name)) => match Transport::of(name) {
                Some(transport) => Self::Transport(Some(transport)),
                None => return Said::Wrong(format!("There is no transport '{name}': json, ndjson, sse or websocket.")),
            },
            ("/stop", None) => Self::Stop,
            ("/cost", None) => Self::Cost,
            ("/new", None) => Self::New,
            ("/quit" | "/exit", None) => Self::Quit,
            _ => return Said::Question(line.to_owned()),
        })
    }

    /// What may become of the beginning of a line.
    pub(super) fn completions(begun: &str) -> Vec<String> {
        if let Some(begun) = begun.strip_prefix("/transport ") {
            let names = [Transport::Json, Transport::Ndjson, Transport::Sse, Transport::Websocket].map(Transport::name);
            return names.iter().filter(|name| name.starts_with(begun)).map(|name| format!("/transport {name}")).collect();
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

    fn check(line: &str, expected: &Said) {
        assert_eq!(Command::read(line), *expected, "{line}");
    }

    #[test]
    fn lines() {
        check(" ", &Said::Nothing);
        check("/help", &Said::Command(Command::Help));
        check("/model gpt-5 ", &Said::Command(Command::Model(Some("gpt-5".into()))));
        check("/transport websocket", &Said::Command(Command::Transport(Some(Transport::Websocket))));
        assert!(matches!(Command::read("/transport smoke"), Said::Wrong(_)));
        check("/count 10", &Said::Question("/count 10".into()));
        check("//help", &Said::Question("/help".into()));
        check("/usr/bin is a directory", &Said::Question("/usr/bin is a directory".into()));
        check("/stop it", &Said::Question("/stop it".into()));
    }

    #[test]
    fn tab_completes_commands_only() {
        assert_eq!(Command::completions("/co"), ["/cost"]);
        assert_eq!(Command::completions("/transport n"), ["/transport ndjson"]);
        assert_eq!(Command::completions("co"), Vec::<String>::new());
        assert!(NAMES.iter().all(|name| HELP.contains(name)));
    }
}
