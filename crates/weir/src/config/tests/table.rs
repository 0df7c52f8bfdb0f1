//! The table of settings and the example file made from it.

use super::*;

#[test]
fn no_setting_has_two_definitions() {
    let mut names: Vec<String> = SETTINGS
        .iter()
        .flat_map(|one| one.all_variables().into_iter().chain([one.path.to_owned()]))
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(SETTINGS.iter().all(|definition| !definition.help.is_empty()));
}

#[test]
fn the_committed_example_is_up_to_date() -> TestResult {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weir.example.toml");
    assert_eq!(
        fs::read_to_string(path)?,
        example(),
        "write it again: cargo run -- config --example > weir.example.toml"
    );
    Ok(())
}

#[test]
fn the_example_means_the_defaults_with_and_without_its_comment_marks() -> TestResult {
    let plain = of_file(&example())?;
    let text = example();
    let settings_part = text.split("# Upstreams, in order").next().unwrap_or_default();
    // A commented setting has one word before its equals sign; prose has more.
    let unmarked = settings_part.lines().map(|line| {
        match line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")) {
            Some((key, value)) if !key.contains(' ') => format!("{key} = {value}\n"),
            Some(_) | None => format!("{line}\n"),
        }
    });
    let all = of_file(&unmarked.collect::<String>())?;
    assert!(
        all.in_force.iter().all(|row| row.source != ValueSource::Default),
        "{:?}",
        all.in_force
    );
    assert_eq!(plain.server, all.server);
    assert_eq!(plain.engine, all.engine);
    assert_eq!(plain.provider, all.provider);
    assert_eq!(plain.log, all.log);
    assert_eq!(plain.tls, all.tls);
    assert_eq!(all.data, DataLocation::Directory("/var/lib/weir".into()));
    Ok(())
}
