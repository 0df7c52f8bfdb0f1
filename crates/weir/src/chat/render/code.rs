//! Colours for code: comments, strings, numbers and keywords, line by line, by families of
//! languages. It is not a parser: unknown languages stay plain. A real one (syntect) would add its
//! grammars, a regular-expression engine and several megabytes.

use super::style::{TerminalColour, TextStyle};
use super::text::{StyledCharacter, cells};

/// The syntax of a family of languages.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    names: &'static [&'static str],
    /// The starts of comments that end with their line.
    comments: &'static [&'static str],
    /// The start and the end of a block comment.
    block: Option<(&'static str, &'static str)>,
    /// The quotes of strings within a line.
    quotes: &'static str,
    /// The quotes of strings over several lines.
    long_quotes: &'static [&'static str],
    words: &'static str,
}

// One keyword of Rust is missing: the tidy test forbids it, even inside a string.
const FAMILIES: &[Family] = &[
    Family {
        names: &["rust", "rs"],
        comments: &["//"],
        block: Some(("/*", "*/")),
        quotes: "\"",
        long_quotes: &[],
        words: "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type use where while",
    },
    Family {
        names: &["js", "javascript", "ts", "typescript", "jsx", "tsx", "mjs", "vue", "svelte"],
        comments: &["//"],
        block: Some(("/*", "*/")),
        quotes: "\"'",
        long_quotes: &["`"],
        words: "abstract any as async await boolean break case catch class const continue debugger default delete do else enum export extends false finally for from function get if implements import in instanceof interface let new null number of private protected public readonly return set static string super switch this throw true try type typeof undefined var void while with yield",
    },
    Family {
        names: &["python", "py", "python3", "ipython"],
        comments: &["#"],
        block: None,
        quotes: "\"'",
        long_quotes: &["\"\"\"", "'''"],
        words: "and as assert async await break case class continue def del elif else except False finally for from global if import in is lambda match None nonlocal not or pass raise return self True try while with yield",
    },
    Family {
        names: &[
            "sh",
            "bash",
            "shell",
            "zsh",
            "console",
            "fish",
            "dockerfile",
            "makefile",
            "make",
            "ruby",
            "rb",
            "perl",
            "r",
            "elixir",
        ],
        comments: &["#"],
        block: None,
        quotes: "\"'",
        long_quotes: &[],
        words: "alias begin break case class continue def defmodule do done echo elif else elsif end ensure esac exit export false fi for FROM COPY RUN function if in local module nil require rescue return RUN self set then true unless until when while yield",
    },
    Family {
        names: &["go", "golang"],
        comments: &["//"],
        block: Some(("/*", "*/")),
        quotes: "\"'",
        long_quotes: &["`"],
        words: "any bool break byte case chan const continue default defer else error fallthrough false for func go goto if import int interface iota map nil package range return rune select string struct switch true type var",
    },
    Family {
        names: &[
            "c", "cpp", "c++", "h", "hpp", "java", "kotlin", "kt", "csharp", "cs", "c#", "swift",
            "scala", "dart", "php", "zig", "objc", "proto",
        ],
        comments: &["//"],
        block: Some(("/*", "*/")),
        quotes: "\"'",
        long_quotes: &[],
        words: "abstract auto bool boolean break byte case catch char class const constexpr continue data default delete do double else enum extends extern false final finally float for foreach fun func function goto guard if implements import include in inline instanceof int interface internal is let long namespace new nil null nullptr object operator override package private protected public return short signed sizeof static string struct super switch template this throw throws true try typedef typename union unsigned using val var virtual void volatile when where while",
    },
    Family {
        names: &["sql", "postgresql", "mysql", "sqlite", "plsql"],
        comments: &["--"],
        block: Some(("/*", "*/")),
        quotes: "'\"",
        long_quotes: &[],
        words: "ADD ALL ALTER AND AS ASC BEGIN BETWEEN BY CASE COMMIT CREATE CROSS DEFAULT DELETE DESC DISTINCT DROP ELSE END EXISTS FROM FULL GROUP HAVING IN INDEX INNER INSERT INTO IS JOIN KEY LEFT LIKE LIMIT NOT NULL ON OR ORDER OUTER PRIMARY REFERENCES RETURNING RIGHT SELECT SET TABLE THEN UNION UNIQUE UPDATE VALUES VIEW WHEN WHERE WITH",
    },
    Family {
        names: &[
            "json",
            "jsonc",
            "json5",
            "ndjson",
            "yaml",
            "yml",
            "toml",
            "ini",
            "conf",
            "nginx",
            "properties",
            "env",
        ],
        comments: &["#", "//"],
        block: None,
        quotes: "\"'",
        long_quotes: &["\"\"\"", "'''"],
        words: "true false null yes no on off",
    },
    Family {
        names: &["html", "xml", "svg", "xhtml"],
        comments: &[],
        block: Some(("<!--", "-->")),
        quotes: "\"'",
        long_quotes: &[],
        words: "",
    },
    Family {
        names: &["css", "scss", "less"],
        comments: &[],
        block: Some(("/*", "*/")),
        quotes: "\"'",
        long_quotes: &[],
        words: "auto none inherit initial flex grid block inline important",
    },
    Family {
        names: &["lua", "haskell", "hs", "ada"],
        comments: &["--"],
        block: None,
        quotes: "\"",
        long_quotes: &[],
        words: "and break case class data deriving do else elseif end false for function if import in instance let local module nil not of or repeat return then true type until where while",
    },
];

const COMMENT: TextStyle = TextStyle::PLAIN.dim();
const STRING: TextStyle = TextStyle::PLAIN.colour(TerminalColour::Green);
const NUMBER: TextStyle = TextStyle::PLAIN.colour(TerminalColour::Yellow);
const WORD: TextStyle = TextStyle::PLAIN.colour(TerminalColour::Magenta);

/// Colours the lines of one code block, in order.
#[derive(Clone, Debug)]
pub(crate) struct Painter {
    family: Option<&'static Family>,
    /// The end of the comment or string that an earlier line started.
    open: Option<(&'static str, TextStyle)>,
}

impl Painter {
    /// For the language that a fence names.
    pub(crate) fn new(language: &str) -> Self {
        let language = language.to_ascii_lowercase();
        Self {
            family: FAMILIES.iter().find(|family| family.names.contains(&language.as_str())),
            open: None,
        }
    }

    /// The next line's characters.
    pub(crate) fn line(&mut self, line: &str) -> Vec<StyledCharacter> {
        let Some(family) = self.family else { return cells(line, TextStyle::PLAIN) };
        let mut drawn = Vec::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (length, style) = self.token(family, rest);
            let (token, after) = rest.split_at(length);
            drawn.extend(cells(token, style));
            rest = after;
        }
        drawn
    }

    /// The length of the token at the start of `rest`, in bytes, and its style.
    fn token(&mut self, family: &'static Family, rest: &str) -> (usize, TextStyle) {
        if let Some((end, style)) = self.open {
            return self.until(rest, 0, end, style);
        }
        if let Some((begin, end)) = family.block.filter(|(begin, _)| rest.starts_with(begin)) {
            return self.until(rest, begin.len(), end, COMMENT);
        }
        if let Some(quote) = family.long_quotes.iter().find(|quote| rest.starts_with(**quote)) {
            return self.until(rest, quote.len(), quote, STRING);
        }
        if family.comments.iter().any(|begin| rest.starts_with(begin)) {
            return (rest.len(), COMMENT);
        }
        let first = rest.chars().next().unwrap_or(' ');
        if family.quotes.contains(first) {
            return (string_length(rest, first), STRING);
        }
        if !is_word(first) {
            return (first.len_utf8(), TextStyle::PLAIN);
        }
        let length =
            rest.find(|character| !is_word(character) && character != '.').unwrap_or(rest.len());
        if first.is_ascii_digit() {
            return (rest[..length].trim_end_matches('.').len(), NUMBER);
        }
        let word = &rest[..rest.find(|character| !is_word(character)).unwrap_or(rest.len())];
        let is_key = family.words.split(' ').any(|key| {
            key == word || (family.comments == ["--"] && key.eq_ignore_ascii_case(word))
        });
        (word.len(), if is_key { WORD } else { TextStyle::PLAIN })
    }

    fn until(
        &mut self,
        rest: &str,
        from: usize,
        end: &'static str,
        style: TextStyle,
    ) -> (usize, TextStyle) {
        let found = rest[from..].find(end);
        self.open = if found.is_some() { None } else { Some((end, style)) };
        (found.map_or(rest.len(), |index| from + index + end.len()), style)
    }
}

/// The length of a string within a line. Without a closing quote it is not a string: `'` also has
/// other meanings in Rust and in prose.
fn string_length(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return index + quote.len_utf8(),
            _ => {}
        }
    }
    quote.len_utf8()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
