//! The start of a line of Markdown: fences, headings, rules, quotes, list items, table cells.

use super::table::Alignment;

/// A fence that starts a code block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) indent: usize,
    pub(super) mark: char,
    pub(super) length: usize,
    pub(super) language: String,
}

/// The marker of a list item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListMarker<'a> {
    pub(super) indent: usize,
    /// The bullet, or what follows the number.
    pub(super) mark: char,
    pub(super) number: Option<u64>,
    /// The column at which its text starts.
    pub(super) content: usize,
    pub(super) text: &'a str,
}

pub(super) fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Replaces each leading tab of a line by four spaces.
pub(super) fn expand(line: &str) -> String {
    let text = line.trim_start_matches([' ', '\t']);
    let space = &line[..line.len() - text.len()];
    space.replace('\t', "    ") + text
}

pub(super) fn fence(line: &str) -> Option<Fence> {
    let text = line.trim_start_matches(' ');
    let mark = text.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let length = text.chars().take_while(|character| *character == mark).count();
    let info = text[length..].trim();
    if length < 3 || info.contains('`') {
        return None;
    }
    let language = info.split_whitespace().next().unwrap_or_default().to_owned();
    Some(Fence { indent: indent(line), mark, length, language })
}

impl Fence {
    /// Whether `line` ends the code block.
    pub(super) fn is_closed_by(&self, line: &str) -> bool {
        let text = line.trim();
        text.chars().all(|character| character == self.mark) && text.len() >= self.length
    }
}

pub(super) fn heading(line: &str) -> Option<(usize, &str)> {
    let text = line.trim_start_matches(' ');
    let level = text.chars().take_while(|character| *character == '#').count();
    let rest = &text[level..];
    if indent(line) > 3
        || level == 0
        || level > 6
        || !(rest.is_empty() || rest.starts_with([' ', '\t']))
    {
        return None;
    }
    let rest = rest.trim();
    let bare = rest.trim_end_matches('#');
    Some((
        level,
        if bare.is_empty() || bare.ends_with([' ', '\t']) { bare.trim_end() } else { rest },
    ))
}

pub(super) fn is_rule(line: &str) -> bool {
    let marks: String = line.chars().filter(|character| !character.is_whitespace()).collect();
    let is_one = |mark: char| marks.len() >= 3 && marks.chars().all(|character| character == mark);
    indent(line) <= 3 && (is_one('-') || is_one('*') || is_one('_'))
}

/// The text of a line of a quote.
pub(super) fn quoted(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches(' ').strip_prefix('>')?;
    (indent(line) <= 3).then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

pub(super) fn item(line: &str) -> Option<ListMarker<'_>> {
    let text = line.trim_start_matches(' ');
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, mark) = match digits {
        0 => (None, text.chars().next().filter(|mark| matches!(mark, '-' | '*' | '+'))?),
        1..=9 => (
            text[..digits].parse().ok(),
            text[digits..].chars().next().filter(|mark| matches!(mark, '.' | ')'))?,
        ),
        _ => return None,
    };
    let after = &text[digits + 1..];
    if !after.is_empty() && !after.starts_with(' ') {
        return None;
    }
    let spaces = indent(after);
    let content =
        indent(line) + digits + 1 + if after.trim().is_empty() { 1 } else { spaces.min(4) };
    Some(ListMarker {
        indent: indent(line),
        mark,
        number,
        content,
        text: after.trim_start_matches(' '),
    })
}

/// Whether `line` starts another block in the middle of a paragraph.
pub(super) fn starts(line: &str) -> bool {
    fence(line).is_some() || heading(line).is_some() || is_rule(line) || quoted(line).is_some()
}

/// Whether `line` starts a list in the middle of a paragraph: "1986. A great year" does not.
pub(super) fn starts_item(line: &str) -> bool {
    item(line).is_some_and(|item| {
        !item.text.trim().is_empty() && item.number.is_none_or(|number| number == 1)
    })
}

/// The level of the heading that a line of `=` or `-` makes of the paragraph above it.
pub(super) fn underline(line: &str) -> Option<usize> {
    let text = line.trim_end();
    let text = text.trim_start_matches(' ');
    let is_all = |mark: char| text.chars().all(|character| character == mark);
    match text.len() {
        _ if indent(line) > 3 => None,
        1.. if is_all('=') => Some(1),
        2.. if is_all('-') => Some(2),
        _ => None,
    }
}

/// The cells of a table row.
pub(super) fn row(line: &str) -> Vec<String> {
    let text = line.trim();
    let text = text.strip_prefix('|').unwrap_or(text);
    let mut cells = vec![String::new()];
    let mut is_escaped = false;
    for character in text.chars() {
        let Some(cell) = cells.last_mut() else { break };
        match character {
            '|' if is_escaped => {
                cell.pop();
                cell.push('|');
            }
            '|' => cells.push(String::new()),
            other => cell.push(other),
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    if cells.len() > 1 && cells.last().is_some_and(|cell| is_blank(cell)) {
        cells.pop();
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

/// The alignments of a table's columns, if `line` is its delimiter row.
pub(super) fn sides(line: &str) -> Option<Vec<Alignment>> {
    let side = |cell: &String| {
        let dashes = cell.strip_prefix(':').unwrap_or(cell);
        let dashes = dashes.strip_suffix(':').unwrap_or(dashes);
        if dashes.is_empty() || !dashes.chars().all(|character| character == '-') {
            return None;
        }
        Some(match (cell.starts_with(':'), cell.ends_with(':')) {
            (true, true) => Alignment::Middle,
            (false, true) => Alignment::Right,
            (_, false) => Alignment::Left,
        })
    };
    row(line).iter().map(side).collect()
}
