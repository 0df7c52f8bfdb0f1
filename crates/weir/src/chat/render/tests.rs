//! The rows of complete texts, and that no split of a text changes them.

use std::time::Duration;

use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};

use super::style::{Paint, RenderOptions, TextStyle};
use super::text::width;
use super::{Markdown, rows};

const LOOK: RenderOptions =
    RenderOptions { columns: 40, paint: Paint::Weights, base: TextStyle::PLAIN };

fn draw(text: &str, look: &RenderOptions) -> String {
    let mut markdown = Markdown::default();
    let rows = markdown.push(text, look);
    rows + &markdown.end(look)
}

/// The text without its escape sequences.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

fn check(text: &str, expected: &str) {
    assert_eq!(plain(&draw(text, &LOOK)).trim_end(), expected.trim_matches('\n'), "{text}");
}

#[test]
fn text_after_a_gap_keeps_its_column() {
    let check = |text: &str, columns: usize, expected: &[&str]| {
        let rows = rows(text, TextStyle::PLAIN, columns, Paint::Weights);
        assert_eq!(rows.iter().map(|row| plain(row)).collect::<Vec<_>>(), expected, "{text}");
    };
    check(
        "/model [NAME]   list the models, or switch to another",
        36,
        &["/model [NAME]   list the models, or", "                switch to another"],
    );
    check(
        "/模型   列出模型，或者换一个模型来回答",
        25,
        &["/模型   列出模型，或者换", "        一个模型来回答"],
    );
    check("/model [NAME]   show the models", 24, &["/model [NAME]   show the", "models"]);
    check("One.  Two sentences, no column", 20, &["One.  Two sentences,", "no column"]);
    check("   indented and nothing else", 40, &["   indented and nothing else"]);
}

#[test]
fn headings_paragraphs_and_rules() {
    check(
        "# One\ntext\nof two lines\n\n## Two ##\n---\nMade\n===\n",
        "One\n\ntext of two lines\n\nTwo\n\n────────────────────────────────────────\n\nMade",
    );
    assert_eq!(draw("# A", &LOOK), "\x1b[1;4mA\x1b[0m\n");
    check("#hash and # hash", "#hash and # hash");
}

#[test]
fn words_are_wrapped_and_chinese_breaks_anywhere_but_before_a_comma() {
    check(
        "aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii",
        "aaaa bbbb cccc dddd eeee ffff gggg hhhh\niiii",
    );
    check(
        "一二三四五六七八九十一二三四五六七八九十，一",
        "一二三四五六七八九十一二三四五六七八九\n十，一",
    );
    check("第一行\n第二行", "第一行第二行");
    check("one\ntwo  \nthree\\\nfour", "one two\nthree\nfour");
    check(&"x".repeat(45), &format!("{}\nxxxxx", "x".repeat(40)));
}

#[test]
fn lists_nest_count_and_have_no_empty_rows() {
    check(
        "Text:\n- a\n- b\n  - c\n    more\n- [x] d\n- [ ] e\n\nEnd",
        "Text:\n\n• a\n• b\n  • c more\n• [x] d\n• [ ] e\n\nEnd",
    );
    check("1. a\n1. b\n  - c\n1. d", "1. a\n2. b\n   • c\n3. d");
    check("3) a\n4) b", "3) a\n4) b");
    check("1. **A**: x\n\n2. **B**: y\n\n   more", "1. A: x\n\n2. B: y\n\n   more");
    check(
        "- a word and a word and a word and a word and",
        "• a word and a word and a word and a\n  word and",
    );
    check("It was in\n1986. A great year", "It was in 1986. A great year");
    check("-\n- b", "•\n• b");
}

#[test]
fn code_keeps_its_lines_in_any_block() {
    check("```rust\nlet x = 1;\n\n    y\n```\nend", "  rust\n  let x = 1;\n\n      y\n\nend");
    check("- a:\n  ```\n  x\n  ```\n- b", "• a:\n    x\n• b");
    check("1. a\n   ```\ncode\n   ```\n2. b", "1. a\n     code\n2. b");
    check("````\n```\n````", "  ```");
    check("```\nnever closed", "  never closed");
    let long = "x".repeat(50);
    check(&format!("```\n{long}\n```"), &format!("  {long}"));
}

#[test]
fn code_is_coloured() {
    let look = RenderOptions { paint: Paint::Colours, ..LOOK };
    let drawn = draw("```rust\nlet a = \"b\"; // c\n/* d\ne */ f(12)\n```", &look);
    for piece in [
        "\x1b[35mlet\x1b[0m",
        "\x1b[32m\"b\"\x1b[0m",
        "\x1b[2m// c\x1b[0m",
        "\x1b[2m/* d\x1b[0m",
        "\x1b[2me */\x1b[0m",
        "\x1b[33m12\x1b[0m",
    ] {
        assert!(drawn.contains(piece), "{piece:?} in {drawn:?}");
    }
    assert!(draw("```sql\nselect 1 -- all\n```", &look).contains("\x1b[35mselect\x1b[0m"));
}

#[test]
fn tables_have_aligned_columns() {
    check(
        "|A|B|\n|---|--:|\n|一二|1|\n|x|`22`|\n\nend",
        "A    │  B\n─────┼───\n一二 │  1\nx    │ 22\n\nend",
    );
    check(
        "| Name | What it is |\n|---|---|\n| a | some words that need more room than is here |\n| b | c |",
        "Name │ What it is\n─────┼──────────────────────────────────\na    │ some words that need more room\n     │ than is here\n─────┼──────────────────────────────────\nb    │ c",
    );
    check("a | b\nno table", "a | b no table");
    check("|a \\| b|c|\n|-|-|\n|d|", "a | b │ c\n──────┼──\nd     │");
    let narrow = RenderOptions { columns: 20, ..LOOK };
    let text = "|Transport|Direction|Browser|\n|-|-|-|\n|SSE|one|EventSource|\n|WS|both|WebSocket|";
    assert_eq!(
        plain(&draw(text, &narrow)),
        "Transport: SSE\nDirection: one\nBrowser: EventSource\n────────────\nTransport: WS\nDirection: both\nBrowser: WebSocket\n"
    );
}

#[test]
fn quotes_have_bars() {
    check("> a\nlazy\n>\n> - b\n\nend", "│ a lazy\n│\n│ • b\n\nend");
    check("a\n> b", "a\n\n│ b");
}

#[test]
fn emphasis_works_beside_chinese_punctuation() {
    check("**简而言之：**SSE", "简而言之：SSE");
    check(
        "a ** b, 2 * 3 * 4, snake_case_word, \\*no\\*",
        "a ** b, 2 * 3 * 4, snake_case_word, *no*",
    );
    check(
        "***both*** `a *b*` ~~gone~~ _it_ [x](https://a.b/c) <https://d.e>",
        "both a *b* gone it x (https://a.b/c)\nhttps://d.e",
    );
    check("[bad](javascript:alert)", "bad");
    assert_eq!(draw("**b**", &LOOK), "\x1b[1mb\x1b[0m\n");
}

#[test]
fn control_characters_are_removed() {
    let drawn = draw("a\u{1b}[2Jb\u{7}\u{9b}31m\u{202e}c\n\n```\n\u{1b}]0;t\u{7}\n```", &LOOK);
    assert!(!drawn.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{drawn:?}");
}

#[test]
fn growing_text_shows_no_delimiters() {
    let live = |text: &str| {
        let mut markdown = Markdown::default();
        let mut rows = plain(&markdown.push(text, &LOOK));
        rows.extend(markdown.live(&LOOK).iter().map(|row| plain(row) + "\n"));
        rows
    };
    assert_eq!(live("some **bold"), "some bold\n");
    assert_eq!(live("some `code"), "some code\n");
    assert_eq!(live("```rust\nlet\n``"), "  rust\n  let\n");
    assert_eq!(live("|a|b|\n"), "a │ b\n──┼──\n");
    assert_eq!(live("- a\n- b"), "• a\n• b\n");
    assert_eq!(
        live(&format!("```\n{}", "x".repeat(41))),
        format!("  {}\n{}\n", "x".repeat(38), "x".repeat(3))
    );
}

/// Text that is likely to be Markdown.
fn markdown() -> impl Strategy<Value = String> {
    let marks = prop::sample::select(vec![
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        "# ",
        "- ",
        "1. ",
        "> ",
        "```",
        "```rust\n",
        "|",
        "|a|b|\n|-|-|\n",
        "**",
        "*",
        "`",
        "_",
        "[",
        "](https://x.y)",
        "---",
        "===",
        "\t",
        "    ",
        "\\",
        "~~",
        "👩‍👩‍👧",
        "é",
        "\"",
        "/*",
        "[x] ",
        "\u{1b}[31m",
    ]);
    let piece = prop_oneof!["[a-z]{1,8}", "[一二三，。]{1,6}", marks.prop_map(String::from)];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_split_changes_the_rows(text in markdown(), cuts in prop::collection::vec(0_usize..400, 0..12), columns in 12_usize..80) {
        let look = RenderOptions { columns, ..LOOK };
        let mut ends: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(*cut)).collect();
        ends.sort_unstable();
        let mut split = Markdown::default();
        let mut rows = String::new();
        let mut from = 0;
        for end in ends.into_iter().chain([text.len()]) {
            rows += &split.push(&text[from..end], &look);
            // Looking changes nothing.
            for row in split.live(&look) {
                prop_assert!(width(&plain(&row)) <= columns + 60, "{row:?}");
            }
            from = end;
        }
        rows += &split.end(&look);
        prop_assert_eq!(rows, draw(&text, &look));
    }
}

/// A text of about this many bytes.
type Input = Box<dyn Fn(usize) -> String>;

/// The largest ratio of costs for four times the text: twice that of linear work, for caches and
/// noise.
const MOST: f64 = 6.0;

/// The processor time of this thread, which excludes other threads.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The time of rendering: the least of several runs.
fn cost(text: &str, draw: &dyn Fn(&str)) -> f64 {
    let since = |start: Duration| used().saturating_sub(start);
    // Long enough to measure, and short enough not to be interrupted each time.
    let (start, mut times) = (used(), 0_u32);
    while times == 0 || since(start) < Duration::from_millis(1) {
        draw(text);
        times += 1;
    }
    let run = |_| {
        let start = used();
        (0..times).for_each(|_| draw(text));
        (since(start) / times).as_secs_f64()
    };
    (0..3).map(run).fold(f64::INFINITY, f64::min).max(1e-9)
}

/// The least ratio of costs. A noisy machine gets several attempts; quadratic code fails all of
/// them.
fn ratio(short: &str, long: &str, draw: &dyn Fn(&str)) -> f64 {
    let mut least = f64::INFINITY;
    for _attempt in 0..20 {
        least = least.min(cost(long, draw) / cost(short, draw));
        if least < MOST {
            break;
        }
    }
    least
}

#[test]
fn four_times_the_text_costs_four_times_as_much() {
    let pieces = [
        "[",
        "![",
        "![](",
        "[]",
        "*",
        "**",
        "_",
        "`",
        "~",
        "<",
        "\\",
        "\\*",
        "*a ",
        "**a",
        "**a**",
        "***a ",
        "_a_",
        "__a",
        "~~a",
        "`` `",
        "*`",
        "*a``b`",
        "**a *b ",
        "*a **b `c",
        "*_`[~",
        "[a](http://b.c) ",
        "[a](http://b",
        "[a](",
        "[a](b \"",
        "[^1]: a\n",
        "<http://",
        "http://a)",
        "> ",
        "> a\n",
        "- ",
        "1. ",
        "- a\n",
        "- a\n\n",
        "|",
        "|\n",
        "|a|b|\n|-|-|\n",
        "```\n",
        "# a #\n",
        "    a\n",
        "\t",
        "  \n",
        "a",
        "word ",
        "字",
        "*a [b](",
        "```rust\n\"'/*\n",
        "e\u{301}",
    ];
    let mut inputs: Vec<(String, Input)> = Vec::new();
    for piece in pieces {
        inputs.push((
            format!("{piece:?} again and again"),
            Box::new(move |size| piece.repeat(size / piece.len())),
        ));
    }
    let mut add =
        |name: &str, input: fn(usize) -> String| inputs.push((name.to_owned(), Box::new(input)));
    add("brackets after a URL", |size| format!("http://a{}", ")".repeat(size)));
    add("a heading and spaces", |size| format!("#{0}x{0}y", " ".repeat(size)));
    add("brackets and as many ends", |size| "[".repeat(size / 2) + &"]".repeat(size / 2));
    add("brackets and as many links", |size| "[".repeat(size / 5) + &"](a)".repeat(size / 5));
    add("a link and open brackets", |size| format!("[a]({}", "(".repeat(size)));
    add("a wide table", |size| {
        format!("{}\n{}\n{}", "|a".repeat(size / 6), "|-".repeat(size / 6), "|b\n".repeat(size / 6))
    });
    add("a table", |size| format!("|a|b|\n|-|-|\n{}", "|1|2|\n".repeat(size / 6)));
    add("a table with a long cell", |size| {
        format!("|a|b|\n|-|-|\n|{}|2|\n", "word ".repeat(size / 5))
    });
    add("a long cell beside many columns", |size| {
        format!("|{}{}\n|-{}|\n", "a".repeat(size), "|b".repeat(size / 3), "|-".repeat(size / 3))
    });
    add("a long title in many rows", |size| {
        format!(
            "|{}{}\n|-{}|\n{}",
            "a".repeat(size),
            "|bbbbbb".repeat(9),
            "|-".repeat(9),
            "|c\n".repeat(size / 3)
        )
    });
    add("a fence and spaces", |size| format!("```{}x`", " ".repeat(size)));
    add("open strings in code", |size| format!("```rust\n{}", "\"a'".repeat(size / 3)));
    add("open comments in code", |size| format!("```rust\n{}", "/*".repeat(size / 2)));
    add("runs of backticks of all lengths", |size| {
        let runs = (1..).scan(0, |sum, length| {
            *sum += length;
            (*sum < size).then_some(length)
        });
        "*".to_owned() + &runs.map(|length| "`".repeat(length) + " ").collect::<String>()
    });
    let whole: &dyn Fn(&str) = &|text| drop(draw(text, &LOOK));
    let live: &dyn Fn(&str) = &|text| {
        let mut markdown = Markdown::default();
        markdown.push(text, &LOOK);
        drop(markdown.live(&LOOK));
    };
    for (name, input) in inputs {
        let (short, long) = (input(1500), input(6000));
        for (way, draw) in [("whole", whole), ("growing", live)] {
            let ratio = ratio(&short, &long, draw);
            assert!(ratio < MOST, "{name}, {way}: {ratio:.1}");
        }
    }
}
