//! Every kind of value, valid and invalid.

use super::*;

fn typed(text: &str) -> Raw {
    Raw::Typed(text.to_owned())
}

#[test]
fn durations() {
    let check = |text: &str, expected: Option<Duration>| {
        assert_eq!(duration(&typed(text), Duration::ZERO).ok(), expected, "{text}");
    };
    check("500ms", Some(Duration::from_millis(500)));
    check("30s", Some(Duration::from_secs(30)));
    check("2m", Some(Duration::from_mins(2)));
    check("24h", Some(Duration::from_hours(24)));
    check("7d", Some(Duration::from_hours(168)));
    check("0s", Some(Duration::ZERO));
    for wrong in [
        "",
        "30",
        "s",
        "-1s",
        "1.5s",
        "30 seconds",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        check(wrong, None);
    }
    let short = duration(&typed("10ms"), Duration::from_secs(1));
    assert_eq!(short, Err("must be at least 1s, got 10ms".to_owned()));
    let number = duration(&Raw::Number("15".to_owned()), Duration::ZERO);
    assert_eq!(number, Err("expected a duration such as 30s, 500ms, 2m or 1h, got 15".to_owned()));
}

#[test]
fn numbers_of_bytes() {
    let check = |text: &str, expected: Option<u64>| {
        assert_eq!(bytes(&typed(text), 0).ok(), expected, "{text}");
    };
    check("32MiB", Some(32 << 20));
    check("64 kib", Some(64 << 10));
    check("1GiB", Some(1 << 30));
    check("5MB", Some(5_000_000));
    check("123", Some(123));
    for wrong in ["", "MiB", "1.5MiB", "-1", "32 MiBs", "18446744073709551615GiB"] {
        check(wrong, None);
    }
    assert_eq!(
        bytes(&Raw::Number("4096".to_owned()), 8192),
        Err("must be at least 8192 bytes, got 4096".to_owned())
    );
}

#[test]
fn addresses() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(
            address(&typed(text)).ok().map(|address| address.to_string()).as_deref(),
            expected,
            "{text}"
        );
    };
    check("127.0.0.1:8000", Some("127.0.0.1:8000"));
    check("[::]:0", Some("[::]:0"));
    check("localhost:9000", Some("127.0.0.1:9000"));
    for wrong in ["", "8000", ":8000", "127.0.0.1", "example.org:80", "127.0.0.1:70000"] {
        check(wrong, None);
    }
}

#[test]
fn a_quoted_number_in_the_file_is_a_string() {
    assert!(count(&Raw::Text("5".to_owned()), 1).is_err());
    assert_eq!(count(&Raw::Number("5".to_owned()), 1), Ok(5));
    assert_eq!(count(&typed("0"), 1), Err("must be at least 1, got 0".to_owned()));
    assert!(boolean(&Raw::Text("true".to_owned())).is_err());
    assert_eq!(boolean(&Raw::Boolean(false)), Ok(false));
    assert_eq!(boolean(&typed("YES")), Ok(true));
    assert_eq!(boolean(&typed("maybe")), Err("expected true or false, got \"maybe\"".to_owned()));
}

#[test]
fn shares() {
    assert_eq!(share(&typed("0.25")), Ok(0.25));
    assert_eq!(share(&Raw::Number("1".to_owned())), Ok(1.0));
    for wrong in ["-0.1", "1.1", "NaN", "half", ""] {
        assert!(share(&typed(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn rates() {
    assert_eq!(rate(&typed("0")), Ok(0.0));
    assert_eq!(rate(&Raw::Number("12.5".to_owned())), Ok(12.5));
    for wrong in ["-1", "inf", "nan", "fast"] {
        assert!(rate(&typed(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn log_filters() {
    for right in ["info", "OFF", "warn,weir=debug", "error,weir_engine::turn=trace"] {
        assert!(filter(&typed(right)).is_ok(), "{right}");
    }
    for wrong in ["", "inof", "info,", "weir", "weir=loud", "=info"] {
        assert!(filter(&typed(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn hosts_and_origins() {
    assert_eq!(host("Chat.Example.org"), Ok("chat.example.org".to_owned()));
    assert!(host("[::1]:8000").is_ok());
    assert_eq!(origin("https://Chat.example.org/"), Ok("https://chat.example.org".to_owned()));
    assert!(origin("http://localhost:5173").is_ok());
    for wrong in
        ["*", "chat.example.org", "https://", "https://example.org/path", "https://me@example.org"]
    {
        assert!(origin(wrong).is_err(), "{wrong}");
    }
    for wrong in [
        "",
        "https://example.org",
        "example.org/",
        "me@example.org",
        "example.org:",
        "example.org:70000",
    ] {
        assert!(host(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn addresses_of_upstreams() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(base_url(&typed(text)).ok().as_deref(), expected, "{text}");
    };
    check("https://api.openai.com/v1", Some("https://api.openai.com/v1"));
    check("http://localhost:11434/v1/", Some("http://localhost:11434/v1"));
    check("http://[::1]:8080", Some("http://[::1]:8080"));
    let azure = "https://mine.openai.azure.com/openai/deployments/gpt?api-version=2024-10-21";
    check(azure, Some(azure));
    check(&format!("{azure}&api-key=1"), None);
    for wrong in [
        "",
        "api.openai.com/v1",
        "ftp://example.org",
        "/v1",
        "https://",
        "https://example.org/v1?key=1",
        "https://example.org:99999999",
    ] {
        check(wrong, None);
    }
    let secret = base_url(&typed("https://me:hunter2@example.org/v1")).err().unwrap_or_default();
    assert!(secret.contains("api_key") && !secret.contains("hunter2"), "{secret}");
}

#[test]
fn paths_in_the_file_are_relative_to_its_directory() {
    assert_eq!(path(&typed("data"), Path::new("")), Ok(PathBuf::from("data")));
    assert_eq!(path(&typed("data"), Path::new("/etc/weir")), Ok(PathBuf::from("/etc/weir/data")));
    assert_eq!(path(&typed("/data"), Path::new("/etc/weir")), Ok(PathBuf::from("/data")));
    assert!(path(&typed("~/weir"), Path::new("")).is_err());
}

#[test]
fn a_page_is_an_origin_or_one_of_two_words() {
    assert_eq!(page("null"), Ok("null".to_owned()));
    assert_eq!(page("*"), Ok("*".to_owned()));
    assert_eq!(page("https://Chat.example.org/"), Ok("https://chat.example.org".to_owned()));
    assert!(page("everybody").is_err());
}

#[test]
fn a_blank_name_is_none() {
    assert_eq!(optional_text(&Raw::Text(String::new())), Ok(None));
    assert_eq!(optional_text(&Raw::Typed("gpt-5".to_owned())), Ok(Some("gpt-5".to_owned())));
    assert!(optional_text(&Raw::Boolean(true)).is_err());
}
