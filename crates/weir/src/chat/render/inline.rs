//! Inline Markdown: emphasis, code and links, by the same rules as the page. They are more lenient
//! than CommonMark's, under which emphasis fails next to Chinese punctuation. Linear in the text.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use unicode_width::UnicodeWidthChar;

use super::style::{TerminalColour, TextStyle};
use super::text::{StyledCharacter, cells};

/// Deeper nesting is shown as it was written.
const DEEP: usize = 12;

/// Longer link texts and targets are not links.
const LONGEST_LINK: usize = 2048;

/// Whether the text still grows: if so, an unclosed delimiter counts as open, so that it is not
/// shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    Grows,
    Whole,
}

/// The characters of a text, each in its style. Only hard line breaks are kept.
pub(crate) fn draw(text: &str, base: TextStyle, growth: Growth) -> Vec<StyledCharacter> {
    let text: Vec<char> = text.chars().collect();
    let mut drawn = Vec::new();
    Reader::new(&text, growth, 0).draw(base, &mut drawn);
    drawn
}

struct Reader<'a> {
    text: &'a [char],
    growth: Growth,
    depth: usize,
    /// Where each bracket is closed, found once for all of them.
    brackets: OnceCell<HashMap<usize, usize>>,
    /// By length, where runs of backticks start.
    ticks: OnceCell<HashMap<usize, Vec<usize>>>,
    /// The end of the last place where an unfinished link could have ended.
    last_end: OnceCell<usize>,
    /// Delimiters and their lengths that nothing after this point closes.
    dead: RefCell<Vec<(char, usize)>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [char], growth: Growth, depth: usize) -> Self {
        let (brackets, ticks, last_end) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { text, growth, depth, brackets, ticks, last_end, dead: RefCell::default() }
    }

    fn draw(&self, style: TextStyle, drawn: &mut Vec<StyledCharacter>) {
        let mut plain = String::new();
        let mut index = 0;
        while let Some(&character) = self.text.get(index) {
            let mut inside = Vec::new();
            let taken = if self.depth > DEEP {
                None
            } else {
                self.span(index, style, &mut inside, &mut plain)
            };
            if let Some(end) = taken {
                if !inside.is_empty() {
                    drawn.extend(cells(&std::mem::take(&mut plain), style));
                    drawn.append(&mut inside);
                }
                index = end;
            } else {
                plain.push(character);
                index += 1;
            }
        }
        drawn.extend(cells(&plain, style));
    }

    /// The span that starts at `index`, and where it ends: styled cells go inside, other text to
    /// `plain`.
    fn span(
        &self,
        index: usize,
        style: TextStyle,
        inside: &mut Vec<StyledCharacter>,
        plain: &mut String,
    ) -> Option<usize> {
        match self.text[index] {
            '\\' => {
                let next = *self.text.get(index + 1)?;
                if next != '\n' && !next.is_ascii_punctuation() {
                    return None;
                }
                plain.push(next);
                Some(index + 2)
            }
            '\n' => {
                let spaces = plain.len() - plain.trim_end_matches(' ').len();
                plain.truncate(plain.len() - spaces);
                // Two preceding spaces make a hard break; between Chinese characters a soft break
                // is dropped.
                if spaces >= 2 {
                    plain.push('\n');
                } else if !(self.is_wide(index.checked_sub(1)) && self.is_wide(Some(index + 1))) {
                    plain.push(' ');
                }
                Some(index + 1)
            }
            '`' => Some(self.code(index, style, inside, plain)),
            '*' | '_' | '~' => Some(self.emphasis(index, style, inside, plain)),
            '[' => self.link(index, style, inside),
            '!' if self.text.get(index + 1) == Some(&'[') => self.link(index + 1, style, inside),
            '<' => {
                let end = index
                    + 1
                    + self.text[index + 1..]
                        .iter()
                        .take(LONGEST_LINK)
                        .position(|character| matches!(character, '<' | '>' | ' ' | '\n'))?;
                if self.text[end] != '>' {
                    return None;
                }
                let target: String = self.text[index + 1..end].iter().collect();
                if !is_web(&target) || target.contains(char::is_whitespace) {
                    return None;
                }
                inside.extend(cells(&target, style.underline()));
                Some(end + 1)
            }
            _ => None,
        }
    }

    fn code(
        &self,
        index: usize,
        style: TextStyle,
        inside: &mut Vec<StyledCharacter>,
        plain: &mut String,
    ) -> usize {
        let ticks = self.run(index);
        let from = index + ticks;
        let close = self.closing_ticks(from, ticks);
        if close.is_none() && self.growth == Growth::Whole {
            plain.extend(std::iter::repeat_n('`', ticks));
            return from;
        }
        let end = close.unwrap_or(self.text.len());
        let body: String = self.text[from..end]
            .iter()
            .map(|character| if *character == '\n' { ' ' } else { *character })
            .collect();
        // The spaces between backticks in the code and those around it are not part of the code.
        let is_padded = body.len() > 2
            && body.starts_with(' ')
            && body.ends_with(' ')
            && !body.trim().is_empty();
        let body = if is_padded { &body[1..body.len() - 1] } else { &body };
        inside.extend(cells(body, style.colour(TerminalColour::Cyan)));
        close.map_or(end, |close| close + ticks)
    }

    fn emphasis(
        &self,
        index: usize,
        style: TextStyle,
        inside: &mut Vec<StyledCharacter>,
        plain: &mut String,
    ) -> usize {
        let mark = self.text[index];
        let run = self.run(index);
        let size = if mark == '~' { run.min(2) } else { run.clamp(1, 2) };
        let after = self.text.get(index + run);
        let is_in_word = mark == '_' && index > 0 && is_word(self.text[index - 1]);
        let is_closing = after.map_or(self.growth == Growth::Whole, |next| next.is_whitespace());
        if run > 3 || (mark == '~' && size == 1) || is_in_word || is_closing {
            plain.extend(std::iter::repeat_n(mark, run));
            return index + run;
        }
        let from = index + size;
        let close = self.close_of(from, mark, size);
        if close.is_none() && (self.growth == Growth::Whole || size < 2) {
            plain.extend(std::iter::repeat_n(mark, size));
            return from;
        }
        let style = match (mark, size) {
            ('~', _) => style.strike(),
            (_, 2) => style.bold(),
            _ => style.italic(),
        };
        let end = close.unwrap_or(self.text.len());
        let growth = if close.is_some() { Growth::Whole } else { self.growth };
        Reader::new(&self.text[from..end], growth, self.depth + 1).draw(style, inside);
        close.map_or(end, |close| close + size)
    }

    /// `[text](target)`: the text, followed by the target if it differs.
    fn link(
        &self,
        index: usize,
        style: TextStyle,
        inside: &mut Vec<StyledCharacter>,
    ) -> Option<usize> {
        let close = self.closing_bracket(index)?;
        if self.text.get(close + 1) != Some(&'(') {
            return None;
        }
        let reader = Reader::new(&self.text[index + 1..close], Growth::Whole, self.depth + 1);
        let Some((target, end)) = self.target(close + 2) else {
            let is_growing = self.growth == Growth::Grows && self.last_end() <= close + 2;
            if !is_growing {
                return None;
            }
            reader.draw(style.underline(), inside);
            return Some(self.text.len());
        };
        if !is_web(&target) {
            reader.draw(style, inside);
            return Some(end);
        }
        let text: String = reader.text.iter().collect();
        if text.is_empty() || text == target {
            inside.extend(cells(&target, style.underline()));
        } else {
            reader.draw(style.underline(), inside);
            inside.extend(cells(&format!(" ({target})"), style.dim()));
        }
        Some(end)
    }

    /// The target that starts at `from`, after `(`, and where the link ends. A title is skipped.
    fn target(&self, from: usize) -> Option<(String, usize)> {
        let mut deep = 0_usize;
        for (offset, character) in self.text.get(from..)?.iter().take(LONGEST_LINK).enumerate() {
            match character {
                '(' => deep += 1,
                ')' if deep == 0 => {
                    let all: String = self.text[from..from + offset].iter().collect();
                    let target = all
                        .split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .trim_matches(['<', '>'])
                        .to_owned();
                    return Some((target, from + offset + 1));
                }
                ')' => deep -= 1,
                // A target never contains the start of another link.
                '\n' | '[' => return None,
                _ => {}
            }
        }
        None
    }

    fn is_wide(&self, index: Option<usize>) -> bool {
        index
            .and_then(|index| self.text.get(index))
            .is_some_and(|character| character.width() == Some(2))
    }

    fn run(&self, index: usize) -> usize {
        let mark = self.text[index];
        self.text[index..].iter().take_while(|character| **character == mark).count()
    }

    /// The next run of this many backticks.
    fn closing_ticks(&self, from: usize, ticks: usize) -> Option<usize> {
        let begins = self.ticks.get_or_init(|| runs_of_ticks(self.text)).get(&ticks)?;
        begins.get(begins.partition_point(|begin| *begin < from)).copied()
    }

    fn last_end(&self) -> usize {
        *self.last_end.get_or_init(|| {
            let last = self.text.iter().rposition(|character| matches!(character, ')' | '\n'));
            last.map_or(0, |last| last + 1)
        })
    }

    /// Where a delimiter is closed. If nothing closes it from here on, nothing does later either.
    fn close_of(&self, from: usize, mark: char, size: usize) -> Option<usize> {
        if self.dead.borrow().contains(&(mark, size)) {
            return None;
        }
        let close = self.closing_mark(from, mark, size);
        if close.is_none() {
            self.dead.borrow_mut().push((mark, size));
        }
        close
    }

    fn closing_mark(&self, from: usize, mark: char, size: usize) -> Option<usize> {
        let mut index = from;
        while index < self.text.len() {
            let character = self.text[index];
            if character == '\\' {
                index += 2;
            } else if character == '`' {
                let run = self.run(index);
                index = self.closing_ticks(index + run, run).unwrap_or(index) + run;
            } else if character == mark {
                let run = self.run(index);
                let end = index + run;
                let is_in_word =
                    mark == '_' && self.text.get(end).is_some_and(|next| is_word(*next));
                let closes = index > from && !self.text[index - 1].is_whitespace() && !is_in_word;
                // `**` inside `*…*` belongs to an inner span; of three, the outer takes its own
                // from the end.
                if closes && (if size == 2 { run >= 2 } else { run == 1 || run >= 3 }) {
                    return Some(end - size);
                }
                index = end;
            } else {
                index += 1;
            }
        }
        None
    }

    fn closing_bracket(&self, index: usize) -> Option<usize> {
        let close = *self.brackets.get_or_init(|| pairs(self.text)).get(&index)?;
        (close - index < LONGEST_LINK).then_some(close)
    }
}

/// From each `[` to its `]`.
fn pairs(text: &[char]) -> HashMap<usize, usize> {
    let (mut pairs, mut open, mut at) = (HashMap::new(), Vec::new(), 0);
    while let Some(character) = text.get(at) {
        match character {
            '\\' => at += 1,
            '[' => open.push(at),
            ']' => drop(open.pop().and_then(|from| pairs.insert(from, at))),
            _ => {}
        }
        at += 1;
    }
    pairs
}

/// By length, where runs of backticks start.
fn runs_of_ticks(text: &[char]) -> HashMap<usize, Vec<usize>> {
    let (mut runs, mut at) = (HashMap::<usize, Vec<usize>>::new(), 0);
    while at < text.len() {
        let run = text[at..].iter().take_while(|character| **character == '`').count();
        if run > 0 {
            runs.entry(run).or_default().push(at);
        }
        at += run.max(1);
    }
    runs
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn is_web(target: &str) -> bool {
    let lower = target.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}
