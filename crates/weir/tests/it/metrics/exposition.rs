//! A parser of Prometheus' text format 0.0.4, as strict as `promtool check metrics`, and stricter where that is lax.

use std::collections::{BTreeMap, BTreeSet};

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// A complete, checked exposition.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) samples: Vec<Sample>,
    kinds: BTreeMap<String, String>,
}

impl Scrape {
    /// Parses and checks a text.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut scrape = Self::default();
        let mut helps = BTreeSet::new();
        let mut current = String::new();
        if !text.ends_with('\n') {
            return Err("the last line has no end".into());
        }
        for line in text.lines() {
            let wrong = |what: &str| format!("{what}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) =
                    rest.split_once(' ').ok_or_else(|| wrong("a help without a text"))?;
                check_name(name).map_err(|what| wrong(&what))?;
                check_escapes(help, false).map_err(|what| wrong(&what))?;
                if !helps.insert(name.to_owned()) {
                    return Err(wrong("a second help, or a metric in two places"));
                }
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) =
                    rest.split_once(' ').ok_or_else(|| wrong("a type without a kind"))?;
                if name != current {
                    return Err(wrong("a type that does not follow its help"));
                }
                check_kind(name, kind).map_err(|what| wrong(&what))?;
                if scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return Err(wrong("a second type"));
                }
            } else if line.is_empty() || line.starts_with('#') {
                return Err(wrong("a line that says nothing"));
            } else {
                let sample = sample(line).map_err(|what| wrong(&what))?;
                let kind =
                    scrape.kinds.get(&current).ok_or_else(|| wrong("a sample before its type"))?;
                check_belongs(&sample, &current, kind).map_err(|what| wrong(&what))?;
                if scrape
                    .samples
                    .iter()
                    .any(|other| other.name == sample.name && other.labels == sample.labels)
                {
                    return Err(wrong("a series that came before"));
                }
                scrape.samples.push(sample);
            }
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    /// The value of the series with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples
            .iter()
            .find(|sample| sample.name == name && sample.labels == labels)
            .map(|sample| sample.value)
    }

    /// The sum of all series of a name whose labels include these.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|sample| sample.value).sum()
    }

    /// All series of a name whose labels include these.
    pub(crate) fn of<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample| {
            labels
                .iter()
                .all(|(name, value)| sample.labels.get(*name).is_some_and(|label| label == value))
        };
        self.samples.iter().filter(move |sample| sample.name == name && has(sample))
    }

    /// The names of all metrics.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// Bucket bounds and counts increase, and the last bucket is infinity and equals the count.
    fn check_histograms(&self) -> Result<(), String> {
        for name in self.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name)
        {
            let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for sample in self.of(&format!("{name}_bucket"), &[]) {
                let mut labels = sample.labels.clone();
                let bound = labels
                    .remove("le")
                    .ok_or_else(|| format!("{name}: a bucket without a bound"))?;
                series.entry(labels).or_default().push((number(&bound)?, sample.value));
            }
            for (labels, buckets) in series {
                let rises =
                    buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
                let last = buckets.last().copied().unwrap_or_default();
                let find = |suffix: &str| {
                    self.samples.iter().find(|sample| {
                        sample.name == format!("{name}{suffix}") && sample.labels == labels
                    })
                };
                let count = find("_count").map(|sample| sample.value);
                if !rises
                    || last.0 != f64::INFINITY
                    || count != Some(last.1)
                    || find("_sum").is_none()
                {
                    return Err(format!("{name}{labels:?}: {buckets:?}, count {count:?}"));
                }
            }
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let mut letters = name.chars();
    let first =
        letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || "_:".contains(letter));
    if first && letters.all(|letter| letter.is_ascii_alphanumeric() || "_:".contains(letter)) {
        return Ok(());
    }
    Err(format!("'{name}' is no name"))
}

/// `promtool`'s rules for names.
fn check_kind(name: &str, kind: &str) -> Result<(), String> {
    let is_total = name.ends_with("_total");
    match kind {
        "counter" if !is_total => Err("a counter's name ends in _total".into()),
        "gauge" | "histogram" if is_total => Err("only a counter's name ends in _total".into()),
        "gauge" | "counter"
            if ["_bucket", "_sum", "_count"].iter().any(|suffix| name.ends_with(suffix)) =>
        {
            Err("a name that looks like a part of a histogram".into())
        }
        "counter" | "gauge" | "histogram"
            if ["milliseconds", "minutes", "kilobytes"].iter().any(|unit| name.contains(unit)) =>
        {
            Err("units are seconds and bytes".into())
        }
        "counter" | "gauge" | "histogram" => Ok(()),
        other => Err(format!("there is no kind '{other}'")),
    }
}

fn check_belongs(sample: &Sample, metric: &str, kind: &str) -> Result<(), String> {
    let suffix =
        sample.name.strip_prefix(metric).ok_or("a sample among those of another metric")?;
    let has_bound = sample.labels.contains_key("le");
    let belongs = match kind {
        "histogram" => {
            (suffix == "_bucket" && has_bound)
                || (["_sum", "_count"].contains(&suffix) && !has_bound)
        }
        _ => suffix.is_empty() && !has_bound && sample.value.is_finite(),
    };
    let never_falls = kind != "gauge";
    if belongs && !(never_falls && sample.value < 0.0) {
        Ok(())
    } else {
        Err(format!("no sample of a {kind} '{metric}'"))
    }
}

/// `\\` and `\n`, and in labels `\"`; nothing else follows a backslash.
fn check_escapes(text: &str, in_label: bool) -> Result<(), String> {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' {
            match letters.next() {
                Some('\\' | 'n') => {}
                Some('"') if in_label => {}
                other => return Err(format!("a backslash before {other:?}")),
            }
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
            text.parse().map_err(|_| format!("'{text}' is no number"))
        }
        _ => Err(format!("'{text}' is no number")),
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("a sample without a value")?;
    let (name, mut rest) = line.split_at(end);
    check_name(name)?;
    let mut labels = Labels::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inside.split_once("=\"").ok_or("a label without a value")?;
            check_name(label)?;
            if label.contains(':') || label.starts_with("__") {
                return Err(format!("'{label}' is no label"));
            }
            let end = end_of_value(after).ok_or("a value without an end")?;
            check_escapes(&after[..end], true)?;
            if labels.insert(label.to_owned(), unescaped(&after[..end])).is_some() {
                return Err(format!("the label '{label}' twice"));
            }
            match after[end + 1..].split_at(1) {
                (",", more) => inside = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                _ => return Err("neither a comma nor a brace after a label".into()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    Ok(Sample { name: name.to_owned(), labels, value: number(value)? })
}

/// The first unescaped quote.
fn end_of_value(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => {
                letters.next().map_or('\\', |escaped| if escaped == 'n' { '\n' } else { escaped })
            }
            letter => letter,
        });
    }
    plain
}

#[test]
fn the_parser_itself_is_strict() {
    let good = "# HELP a_total What.\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\\\n\"} 1\n";
    assert_eq!(Scrape::read(good).unwrap().value("a_total", &[("b", "c\"\\\n")]), Some(1.0));
    for bad in [
        "a_total 1\n",
        "# HELP a What.\n# TYPE a counter\na 1\n",
        "# HELP a What.\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a What.\n# TYPE a gauge\nb 1\n",
        "# HELP a What.\n# TYPE a gauge\na{b=\"\\x\"} 1\n",
        "# HELP a What.\n# TYPE a gauge\na{b=\"x\" 1\n",
        "# HELP a What.\n# TYPE a gauge\na{b=\"x\",b=\"y\"} 1\n",
        "# HELP a What.\n# TYPE a gauge\na 1",
        "# HELP a What.\n# TYPE a gauge\na one\n",
        "# HELP a What.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
        "# HELP a What.\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
        "# HELP a What.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
    ] {
        assert!(Scrape::read(bad).is_err(), "{bad}");
    }
}
