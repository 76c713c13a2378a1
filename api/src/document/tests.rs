//! The document is what stands in `docs/`, and says what the table of routes says.

use super::*;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

#[test]
fn the_document_in_the_docs_is_current() {
    let current = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    let path = path("openapi.json");
    if std::env::var_os("TIDEWATCH_UPDATE").is_some() {
        std::fs::write(&path, current).expect("written");
        return;
    }
    let kept = std::fs::read_to_string(&path).expect("docs/openapi.json");
    let same = kept == current;
    assert!(
        same,
        "docs/openapi.json is not current: TIDEWATCH_UPDATE=1 cargo test -p tidewatch-api --lib document"
    );
}

/// Method, path, role and segments of each route.
type Named = (String, String, Option<String>, Vec<String>);

fn segments(path: &str) -> Vec<String> {
    let segments = path.split('/').filter_map(|segment| segment.strip_prefix('{'));
    segments
        .map(|segment| segment.trim_end_matches('}').to_owned())
        .collect()
}

#[test]
fn the_table_and_the_document_name_the_same_routes_and_roles() {
    let document = document();
    let mut told: Vec<Named> = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let role = operation["x-role"].as_str();
            let needs_token = !operation["security"].as_array().expect("a list").is_empty();
            assert_eq!(needs_token, role.is_some(), "{path}");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_path = parameters.filter(|parameter| parameter["in"] == "path");
            let in_path = in_path.map(|parameter| parameter["name"].as_str().expect("a name").to_owned());
            told.push((
                method.to_uppercase(),
                path.clone(),
                role.map(str::to_owned),
                in_path.collect(),
            ));
        }
    }
    let mut table: Vec<Named> = ROUTES
        .iter()
        .map(|route| {
            let least = route.least.map(|least| least.to_string());
            (
                route.method.to_string(),
                route.path.to_owned(),
                least,
                segments(route.path),
            )
        })
        .collect();
    told.sort();
    table.sort();
    assert_eq!(told, table);
}

#[test]
fn whatever_a_reference_names_is_there() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > ROUTES.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("it is in the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
