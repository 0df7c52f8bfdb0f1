//! Generated values satisfy their schemas, within bounds.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn check(schema: &Value, said: &str, expected: &Value) {
    assert_eq!(&generate(schema, said), expected);
}

#[test]
fn objects_have_their_required_properties_first() {
    let schema = json!({
        "type": "object",
        "properties": {
            "unit": { "type": "string", "enum": ["celsius", "fahrenheit"] },
            "city": { "type": "string" },
            "note": { "type": "string" },
            "days": { "type": ["integer", "null"], "minimum": 1, "maximum": 7 },
        },
        "required": ["city", "unit", "days"],
    });
    check(
        &schema,
        "What is the weather in New York tomorrow?",
        &json!({ "city": "New York", "unit": "celsius", "days": 1 }),
    );
    check(
        &schema,
        "12 days in Rome, Fahrenheit",
        &json!({ "city": "Rome, Fahrenheit", "unit": "fahrenheit", "days": 7 }),
    );
    check(&schema, "北京的天气怎么样", &json!({ "city": "北京", "unit": "celsius", "days": 1 }));
    check(&schema, "今天上海天气怎么样", &json!({ "city": "上海", "unit": "celsius", "days": 1 }));
}

#[test]
fn keywords_are_respected() {
    check(&json!({}), "hi", &json!("hi"));
    check(&json!({ "const": 5 }), "hi", &json!(5));
    check(&json!({ "anyOf": [{ "type": "null" }, { "type": "boolean" }] }), "hi", &json!(true));
    check(
        &json!({ "type": "array", "items": { "type": "number", "exclusiveMinimum": 3 }, "minItems": 2 }),
        "",
        &json!([3.5, 3.5]),
    );
    check(&json!({ "type": "string", "maxLength": 3 }), "hello", &json!("hel"));
    check(&json!({ "type": "string", "minLength": 4 }), "hi", &json!("hixx"));
    check(&json!({ "type": "integer", "multipleOf": 5, "minimum": 7 }), "", &json!(10));
    let parts = json!([{ "properties": { "a": { "type": "integer" } } }, { "properties": { "b": { "type": "boolean" } } }]);
    check(&json!({ "type": "object", "allOf": parts }), "2", &json!({ "a": 2, "b": true }));
    check(
        &json!({ "type": "object", "properties": { "expression": { "type": "string" } } }),
        "what is (2+3)*4?",
        &json!({ "expression": "(2+3)*4" }),
    );
}

#[test]
fn large_values_are_not_copied() {
    let nulls = |count: usize| Value::Array(vec![Value::Null; count]);
    let merged = |count| json!({ "allOf": [{ "const": 1 }, { "enum": [nulls(count)] }] });
    check(&merged(MAX_COPIES / 2), "hi", &json!(1));
    check(&merged(MAX_COPIES + 1), "hi", &Value::Null);
    check(&json!({ "const": nulls(MAX_COPIES + 1) }), "hi", &Value::Null);
}

#[test]
fn a_recursive_schema_terminates() {
    let node = json!({ "type": "object", "properties": { "next": { "type": "array", "items": { "$ref": "#" } } }, "required": ["next"] });
    assert!(generate(&node, "hi").is_object());
    let wide =
        json!({ "type": "object", "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#" } } });
    assert!(generate(&wide, "hi").is_object());
}

#[expect(clippy::disallowed_methods, reason = "the time of the machine is what is measured")]
/// Checks the size of a document, and the time it takes even without optimisations.
fn check_cost(schema: &Value, said: &str) {
    let start = Instant::now();
    let length = generate(schema, said).to_string().len();
    let took = start.elapsed();
    assert!(
        length < 500_000 && took < Duration::from_millis(500),
        "{length} bytes in {took:?}: {:.200}",
        schema.to_string()
    );
}

#[test]
fn no_schema_multiplies_the_cost() {
    let many: Map<String, Value> =
        (0..5_000).map(|number| (format!("p{number}"), json!({ "$ref": "#" }))).collect();
    let names: Vec<String> = (0..5_000).map(|number| format!("p{number}")).collect();
    let all: Vec<Value> = (0..500)
        .map(|number| json!({ "properties": { (format!("p{number}")): { "$ref": "#" } } }))
        .collect();
    for schema in [
        json!({ "type": "string", "minLength": 99_999_999_999_u64 }),
        json!({ "type": "array", "minItems": 9, "items": { "$ref": "#" } }),
        json!({ "type": "array", "minItems": 100, "items": { "type": "array", "minItems": 100, "items": { "type": "string", "minLength": 60_000 } } }),
        json!({ "type": "array", "prefixItems": vec![json!({ "$ref": "#" }); 5_000] }),
        json!({ "type": "object", "properties": many }),
        json!({ "type": "object", "properties": many, "required": names }),
        json!({ "type": "object", "allOf": all }),
        json!({ "allOf": [{ "$ref": "#" }, { "allOf": all }] }),
        json!({ "anyOf": vec![json!({ "type": vec!["null"; 1_000] }); 1_000] }),
        json!({ "type": "array", "minItems": 100, "items": { "enum": names } }),
        json!({ "type": "array", "minItems": 100, "items": { "const": "x".repeat(200_000) } }),
        json!({ "type": "array", "minItems": 100, "items": { "default": vec![0; 100_000] } }),
        json!({ "type": "array", "minItems": 100, "items": { "$ref": format!("#{}", "/items".repeat(100_000)) } }),
        json!({ "type": "array", "minItems": 100, "items": { "type": "string", "format": "expression" } }),
    ] {
        check_cost(&schema, &"what is 1+2 in New York? ".repeat(4_000));
    }
}

/// Any schema with these keywords, some of which multiply.
fn any_schema() -> impl Strategy<Value = Value> {
    let number = || prop_oneof![0_u64..5, Just(100), Just(u64::MAX)];
    let leaf = prop_oneof![
        Just(json!({ "$ref": "#" })),
        Just(json!({ "$ref": "#/items" })),
        Just(json!({ "$ref": "#/properties/a" })),
        Just(json!({})),
        number().prop_map(|least| json!({ "type": "string", "minLength": least })),
        number()
            .prop_map(|least| json!({ "type": "integer", "minimum": least, "multipleOf": least })),
        Just(json!({ "enum": ["one", 2, null, { "a": ["b"] }] })),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            (number(), inner.clone()).prop_map(
                |(least, items)| json!({ "type": "array", "minItems": least, "items": items })
            ),
            list.clone().prop_map(|items| json!({ "prefixItems": items, "type": "array" })),
            list.clone().prop_map(|all| json!({ "allOf": all })),
            list.clone().prop_map(|any| json!({ "anyOf": any })),
            prop::collection::hash_map("[a-c]", inner, 0..4)
                .prop_map(|properties| json!({ "properties": properties })),
        ]
    })
}

proptest! {
    #[test]
    fn any_schema_is_cheap(schema in any_schema(), said in "\\PC{0,40}") {
        check_cost(&schema, &said);
    }
}
