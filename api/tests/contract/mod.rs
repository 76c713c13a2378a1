//! Whether answers are what the document says: status, content type, and every field of the body.

use crate::common::Answer;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The document, and which of its operations have been asked.
pub(crate) struct Contract {
    document: Value,
    asked: RefCell<BTreeSet<String>>,
}

impl Default for Contract {
    fn default() -> Contract {
        Contract {
            document: tidewatch_api::document(),
            asked: RefCell::default(),
        }
    }
}

impl Contract {
    /// Checks the answer to a request, `METHOD target`, if the document has its operation.
    pub(crate) fn check(&self, request: &str, answer: &Answer) {
        let (method, target) = request.split_once(' ').expect("a method and a target");
        let path = target.split('?').next().unwrap_or(target);
        let paths = self.document["paths"].as_object().expect("paths");
        let Some((_, methods)) = paths.iter().find(|(pattern, _)| matches(pattern, path)) else {
            return;
        };
        let method = method.replace("HEAD", "GET").to_lowercase();
        let Some(operation) = methods.get(&method) else { return };
        let id = operation["operationId"].as_str().expect("a name").to_owned();
        self.asked.borrow_mut().insert(id);
        // Not modified is an answer to every question whether it is.
        if answer.status == 304 {
            return;
        }
        let responses = &operation["responses"];
        let response = self.resolved(&responses[answer.status.to_string()]);
        assert!(!response.is_null(), "{request}: {} isn't documented", answer.status);
        let Some(content_type) = answer.header("content-type") else {
            return;
        };
        let content = &response["content"];
        let content = content.get(content_type).or_else(|| content.get("*/*"));
        let content = content.unwrap_or_else(|| panic!("{request}: {content_type} isn't documented"));
        if content_type.ends_with("json")
            && let Ok(body) = serde_json::from_str(&answer.body)
        {
            self.described(request, &[&content["schema"]], &body);
        }
    }

    /// No operation is without a case.
    pub(crate) fn assert_all_were_asked(&self) {
        let methods = self.document["paths"].as_object().expect("paths").values();
        let operations = methods.flat_map(|methods| methods.as_object().expect("methods").values());
        let all: BTreeSet<String> = operations
            .map(|operation| operation["operationId"].as_str().expect("a name").to_owned())
            .collect();
        let missing: Vec<_> = all.difference(&self.asked.borrow()).cloned().collect();
        assert!(missing.is_empty(), "no table asks {missing:?}");
    }

    /// Fails when a value has a field, or is of a type, that no schema knows.
    fn described(&self, at: &str, schemas: &[&Value], value: &Value) {
        let mut parts = Vec::new();
        schemas.iter().for_each(|schema| self.parts(schema, &mut parts));
        let wanted: &[&str] = match value {
            Value::Null => &["null"],
            Value::Bool(_) => &["boolean"],
            Value::Number(number) if number.is_f64() => &["number"],
            Value::Number(_) => &["integer", "number"],
            Value::String(_) => &["string"],
            Value::Array(_) => &["array"],
            Value::Object(_) => &["object"],
        };
        let is = |part: &&Value| match &part["type"] {
            Value::String(one) => wanted.contains(&one.as_str()),
            Value::Array(several) => several.iter().any(|one| wanted.contains(&one.as_str().unwrap_or(""))),
            _ => false,
        };
        let parts: Vec<&Value> = parts.into_iter().filter(is).collect();
        assert!(!parts.is_empty(), "{at}: {value} isn't documented");
        match value {
            Value::Object(fields) => {
                let open = parts.iter().all(|part| part.get("properties").is_none());
                for (name, value) in fields {
                    let known = parts.iter().filter_map(|part| {
                        part["properties"]
                            .get(name)
                            .or_else(|| part.get("additionalProperties"))
                    });
                    let known: Vec<&Value> = known.collect();
                    if !(open && known.is_empty()) {
                        self.described(&format!("{at} {name}"), &known, value);
                    }
                }
            }
            Value::Array(items) => {
                let known: Vec<&Value> = parts.iter().map(|part| &part["items"]).collect();
                items.iter().for_each(|item| self.described(at, &known, item));
            }
            _ => {}
        }
    }

    /// The schemas that a schema is made of.
    fn parts<'a>(&'a self, schema: &'a Value, found: &mut Vec<&'a Value>) {
        let schema = self.resolved(schema);
        let several = ["allOf", "oneOf", "anyOf"].map(|name| schema[name].as_array());
        match several.into_iter().flatten().next() {
            Some(several) => several.iter().for_each(|one| self.parts(one, found)),
            None => found.push(schema),
        }
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(&reference[1..]).expect("it is there"),
            None => value,
        }
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let same = |(wanted, got): (&&str, &&str)| wanted == got || (wanted.starts_with('{') && !got.is_empty());
    pattern.len() == path.len() && pattern.iter().zip(&path).all(same)
}
