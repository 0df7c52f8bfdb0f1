//! The description at `/openapi.json` matches the router, and every reference in it resolves.

#![expect(clippy::unwrap_used, reason = "a description that cannot be read fails the test")]

use std::collections::BTreeSet;

use serde_json::Value;

const ROUTER: &str = include_str!("../src/router.rs");

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

type Route = (String, String);

fn description() -> Value {
    serde_json::from_str(include_str!("../src/openapi.json")).unwrap()
}

/// The paths of the router with their methods. A wildcard is an ordinary parameter in a
/// description.
fn routed() -> BTreeSet<Route> {
    ROUTER.split(".route(").skip(1).flat_map(of_line).collect()
}

/// `"/path", get(one).delete(other))`
fn of_line(line: &str) -> Vec<Route> {
    let line = line.lines().next().unwrap();
    let path = line.split('"').nth(1).unwrap().replace("{*", "{");
    let called = line
        .split('(')
        .filter_map(|before| before.rsplit(|letter: char| !letter.is_ascii_alphabetic()).next());
    called
        .filter(|word| METHODS.contains(word))
        .map(|method| (path.clone(), method.to_owned()))
        .collect()
}

/// The described operations, each with its path and method.
fn described(description: &Value) -> Vec<(Route, &Value)> {
    let paths = description["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(|(method, operation)| ((path.clone(), method.clone()), operation))
        })
        .collect()
}

/// All values below `key`, at any depth.
fn below<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, inside)| {
                let mut found = below(inside, key);
                found.extend((name == key).then_some(inside));
                found
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(|value| below(value, key)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[test]
fn every_route_is_described_and_no_other() {
    let description = description();
    let described: BTreeSet<Route> =
        described(&description).into_iter().map(|(route, _)| route).collect();
    assert_eq!(described, routed());
    assert!(
        described.contains(&("/v1/responses/{id}".into(), "delete".into())),
        "the router was not understood"
    );
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let description = description();
    let references: BTreeSet<&str> =
        below(&description, "$ref").into_iter().map(|to| to.as_str().unwrap()).collect();
    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap_or(reference);
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for mapping in below(&description, "mapping") {
        for target in mapping.as_object().unwrap().values() {
            assert!(references.contains(target.as_str().unwrap()), "{target} is no alternative");
        }
    }
    for room in ["schemas", "responses", "headers"] {
        for name in description["components"][room].as_object().unwrap().keys() {
            assert!(
                references.contains(format!("#/components/{room}/{name}").as_str()),
                "nobody needs {room}/{name}"
            );
        }
    }
}

#[test]
fn every_operation_has_a_name_a_tag_that_is_explained_and_its_parameters() {
    let description = description();
    let tags: BTreeSet<&str> = description["tags"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|tag| tag["name"].as_str())
        .collect();
    let mut names = BTreeSet::new();
    for ((path, method), operation) in described(&description) {
        let place = format!("{method} {path}");
        assert!(
            names.insert(operation["operationId"].as_str().unwrap()),
            "{place}: its name is taken"
        );
        assert!(
            operation["tags"]
                .as_array()
                .unwrap()
                .iter()
                .all(|tag| tags.contains(tag.as_str().unwrap())),
            "{place}: an unknown tag"
        );
        let succeeds = ["101", "200", "204", "308"]
            .iter()
            .any(|status| operation["responses"].get(status).is_some());
        assert!(succeeds, "{place}: it never succeeds");
        let given = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let given: BTreeSet<&str> = given
            .filter(|one| one["in"] == "path")
            .filter_map(|one| one["name"].as_str())
            .collect();
        let wanted: BTreeSet<&str> =
            path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        assert_eq!(given, wanted, "{place}: the parameters in its path");
    }
}

#[test]
fn every_event_of_the_vocabulary_is_described() {
    let description = description();
    let described: BTreeSet<String> =
        description["components"]["schemas"]["Event"]["discriminator"]["mapping"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
    let vocabulary: BTreeSet<String> =
        protocol::event::EventKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(described, vocabulary);
}

#[test]
fn every_key_of_a_response_is_described() {
    let create = protocol::dialect::responses::read_create(
        &serde_json::json!({ "model": "demo", "input": "hello" }),
    )
    .unwrap();
    let response =
        protocol::response::Response::accepted(protocol::id::ResponseId::new("resp_1"), 0, &create);
    let response = serde_json::to_value(response).unwrap();
    let keys: BTreeSet<&str> = response.as_object().unwrap().keys().map(String::as_str).collect();
    let description = description();
    let schema = &description["components"]["schemas"]["Response"];
    let required: BTreeSet<&str> =
        schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(required, keys);
    assert_eq!(
        schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        keys
    );
}
