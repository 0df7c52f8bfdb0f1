//! Errors in the formats of many upstreams.

use serde_json::json;

use super::*;

fn check(error: &Value, message: &str, status: Option<u16>) {
    let reported = Reported::from_error(error);
    assert_eq!((reported.message.as_deref(), reported.status), (Some(message), status), "{error}");
}

#[test]
fn the_message_is_found_in_every_format() {
    check(&json!({ "error": { "message": "m", "code": 429 } }), "m", Some(429));
    check(&json!({ "error": "m" }), "m", None);
    check(
        &json!([{ "error": { "message": "m", "status": "UNAVAILABLE", "code": 503 } }]),
        "m",
        Some(503),
    );
    check(
        &json!({ "object": "error", "message": "m", "type": "BadRequestError", "param": null, "code": 400 }),
        "m",
        Some(400),
    );
    check(&json!({ "code": 50505, "message": "m", "data": null }), "m", Some(500));
    check(&json!({ "code": 42901, "message": "m" }), "m", Some(429));
    check(&json!({ "code": "40013", "message": "m" }), "m", Some(400));
    check(&json!({ "code": 41234, "message": "m" }), "m", Some(400));
    check(&json!({ "errors": [{ "message": "m" }] }), "m", None);
    check(&json!({ "code": 400, "msg": "m" }), "m", Some(400));
    check(&json!({ "error": { "error": { "message": "m" } } }), "m", None);
    check(&json!({ "message": { "detail": [{ "loc": ["body"], "msg": "m" }] } }), "m", None);
    check(&json!({ "detail": "m" }), "m", None);
    check(&json!({ "base_resp": { "status_code": 1008, "status_msg": "m" } }), "m", Some(402));
    check(
        &json!({ "base_resp": { "status_code": 1002, "status_msg": "m" }, "choices": [] }),
        "m",
        Some(429),
    );
    check(&json!({ "error": "Bad Request", "message": "m", "statusCode": 400 }), "m", Some(400));
    check(&json!({ "error": "invalid_request", "error_description": "m" }), "m", None);
    check(&json!({ "error": true, "message": "m" }), "m", None);
    check(
        &json!({ "status": "error", "message": "error", "error": "no such luck" }),
        "no such luck",
        None,
    );
    check(&json!({ "error": { "message": { "text": "m" } } }), "m", None);
    check(&json!({ "modelStreamErrorException": { "message": "m" } }), "m", None);
    check(&json!({ "text": "m", "error_code": 50_001 }), "m", Some(500));
    check(&json!({ "error_code": 336_003, "error_msg": "m" }), "m", None);
    check(&json!({ "Response": { "Error": { "Code": "X", "Message": "m" } } }), "m", None);
    check(&json!({ "header": { "code": 10_013, "message": "m" } }), "m", None);
}

#[test]
fn the_innermost_error_is_the_most_specific() {
    let raw = "{\"error\":{\"message\":\"supports at most 1 image per prompt\"}}";
    let error = json!({ "error": { "message": "Provider returned error", "code": 400, "metadata": { "raw": raw, "provider_name": "North" } } });
    check(&error, "supports at most 1 image per prompt", Some(400));
    check(
        &json!({ "error": { "message": "{\"error\":{\"message\":\"inner\",\"code\":422}}" } }),
        "inner",
        Some(422),
    );
    check(&json!({ "error": { "message": "outer", "metadata": { "raw": "" } } }), "outer", None);
}

#[test]
fn a_chunk_is_an_error_only_if_it_has_one() {
    let is_error = |value: Value| Reported::in_document(&value).is_some();
    for error in [
        json!({ "object": "error", "message": "m" }),
        json!({ "code": 50505, "message": "m" }),
        json!({ "error": { "message": "m" } }),
        json!({ "detail": "m" }),
        json!({ "success": false, "message": "m" }),
        json!({ "base_resp": { "status_code": 1004, "status_msg": "m" } }),
        json!({ "status": 500, "message": "m" }),
        json!({ "type": "about:blank", "title": "m", "status": 400, "detail": "n" }),
        json!({ "type": "BadRequestError", "detail": "m" }),
        json!({ "code": "InvalidParameter", "message": "m" }),
        json!({ "error": true, "message": "m" }),
        json!({ "text": "m", "error_code": 50_001 }),
        json!({ "throttlingException": { "message": "m" } }),
    ] {
        assert!(is_error(error.clone()), "{error}");
    }
    for other in [
        json!({}),
        json!({ "error": null, "message": "hello" }),
        json!({ "error": [], "choices": [] }),
        json!({ "error": { "message": null } }),
        json!({ "base_resp": { "status_code": 0, "status_msg": "" } }),
        json!({ "code": 0, "message": "ok" }),
        json!({ "id": "x", "created": 1 }),
        json!({ "type": "ping", "status": "processing", "message": "still at it" }),
        json!({ "type": "progress", "detail": "loading the model" }),
        json!({ "choices": [], "base_resp": { "status_code": 0, "status_msg": "" } }),
        json!({ "text": "hello", "choices": [] }),
    ] {
        assert!(!is_error(other.clone()), "{other}");
    }
}

#[test]
fn classes_of_errors_without_a_status() {
    let class = |error: Value| {
        let reported = Reported::from_error(&error);
        (reported.status.unwrap_or_else(|| reported.guessed_status()), reported.is_about_money())
    };
    let minimax =
        |code: u64| class(json!({ "base_resp": { "status_code": code, "status_msg": "m" } })).0;
    assert_eq!([1004, 1008, 2013, 1002].map(minimax), [401, 402, 400, 429]);
    assert_eq!(class(json!({ "code": "InvalidApiKey", "message": "m" })), (401, false));
    assert!(class(json!({ "error": { "code": "1113", "message": "m" } })).1);
    assert_eq!(class(json!({ "code": "Throttling.RateQuota", "message": "m" })), (429, false));
    assert_eq!(
        class(json!({ "message": "Input length 9 exceeds the maximum allowed length 5" })),
        (400, false)
    );
}

#[test]
fn text_has_a_message_and_html_has_none() {
    let message = |text: &str| Reported::from_body(text.as_bytes()).message;
    assert_eq!(
        message("\n upstream connect error \nmore").as_deref(),
        Some("upstream connect error")
    );
    assert_eq!(message("<html><title>502</title>"), None);
    assert_eq!(message(""), None);
    assert_eq!(message("\"overloaded\"").as_deref(), Some("overloaded"));
}
