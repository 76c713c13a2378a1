//! What a route says of itself. Its method, path and role are those of the table; what all routes have is added to it.

use crate::problem::ProblemKind;
use crate::roles::Role;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};
use warp::http::StatusCode;

/// What operations are grouped by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tag {
    Rows,
    Devices,
    DeadLetters,
    Anomalies,
    Live,
    Process,
    Page,
}

impl Tag {
    pub(super) const ALL: [Tag; 7] = [
        Tag::Rows,
        Tag::Devices,
        Tag::DeadLetters,
        Tag::Anomalies,
        Tag::Live,
        Tag::Process,
        Tag::Page,
    ];

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Tag::Rows => ("rows", "Windows of series and rollups"),
            Tag::Devices => ("devices", "The fleet's devices"),
            Tag::DeadLetters => ("dead letters", "Records that can't be used"),
            Tag::Anomalies => ("anomalies", "What rules have found"),
            Tag::Live => ("live", "What happens now"),
            Tag::Process => ("process", "The process that answers, and this API"),
            Tag::Page => ("page", "For a person in a browser"),
        }
    }

    pub(super) fn value(self) -> Value {
        let (name, description) = self.row();
        json!({"name": name, "description": description})
    }
}

/// What a route says of itself.
pub(crate) struct Operation {
    tag: Tag,
    summary: &'static str,
    description: &'static str,
    parameters: Vec<Value>,
    answers: BTreeMap<u16, Value>,
    problems: BTreeSet<ProblemKind>,
    pub(super) schemas: BTreeMap<String, Value>,
}

impl Operation {
    /// An operation: what it does in a few words, and whatever else a caller should know.
    pub(crate) fn new(tag: Tag, summary: &'static str, description: &'static str) -> Operation {
        Operation {
            tag,
            summary,
            description,
            parameters: Vec::new(),
            answers: BTreeMap::new(),
            problems: BTreeSet::new(),
            schemas: BTreeMap::new(),
        }
    }

    /// A segment of the path, of this schema.
    pub(crate) fn segment(mut self, name: &str, description: &str, example: Value, schema: Value) -> Operation {
        self.parameters.push(json!({
            "name": name, "in": "path", "required": true,
            "description": description, "example": example, "schema": schema,
        }));
        self
    }

    /// The query parameters of a struct, each field with its documentation.
    pub(crate) fn query<P: IntoParams>(mut self) -> Operation {
        let parameters = P::into_params(|| Some(ParameterIn::Query));
        self.parameters.extend(parameters.iter().map(query_parameter));
        self
    }

    /// What a query parameter may be, where that isn't known to its struct. Of a list it is what the items may be.
    pub(crate) fn choices<'a>(mut self, name: &str, choices: impl IntoIterator<Item = &'a str>) -> Operation {
        let mut parameters = self.parameters.iter_mut();
        let parameter = parameters.find(|parameter| parameter["name"] == name);
        let schema = &mut parameter.expect("the struct has the parameter")["schema"];
        let schema = match schema.get("items") {
            Some(_) => &mut schema["items"],
            None => schema,
        };
        schema["enum"] = choices.into_iter().collect();
        self
    }

    /// An answer of JSON.
    pub(crate) fn json<T: ToSchema>(mut self, status: StatusCode, description: &str, example: Value) -> Operation {
        let content = self.json_content::<T>(example);
        let answer = json!({"description": description, "content": content});
        self.answers.insert(status.as_u16(), answer);
        self
    }

    /// An answer of some other type.
    pub(crate) fn content(mut self, status: StatusCode, description: &str, content_type: &str) -> Operation {
        let schema = match content_type.starts_with("text/") {
            true => json!({"type": "string"}),
            false => json!({}),
        };
        let content = Map::from_iter([(content_type.to_owned(), json!({"schema": schema}))]);
        let answer = json!({"description": description, "content": content});
        self.answers.insert(status.as_u16(), answer);
        self
    }

    /// An answer without a body.
    pub(crate) fn empty(mut self, status: StatusCode, description: &str) -> Operation {
        self.answers
            .insert(status.as_u16(), json!({"description": description}));
        self
    }

    /// Problems that it may answer, beside those that any request may get.
    pub(crate) fn problems(mut self, kinds: &[ProblemKind]) -> Operation {
        self.problems.extend(kinds);
        self
    }

    fn json_content<T: ToSchema>(&mut self, example: Value) -> Value {
        let mut nested = Vec::new();
        T::schemas(&mut nested);
        let nested = nested.iter().map(|(name, schema)| (name.clone(), value(schema)));
        self.schemas.extend(nested);
        let name = T::name();
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        self.schemas.extend([schema::<T>(&name)]);
        json!({"application/json": {"schema": reference, "example": example}})
    }

    pub(super) fn query_names(&self) -> Vec<String> {
        let parameters = self.parameters.iter();
        let queries = parameters.filter(|parameter| parameter["in"] == "query");
        queries
            .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// The operation as the document has it.
    pub(super) fn value(&self, name: &str, least: Option<Role>) -> Value {
        let problems = self.problems_by_status().into_iter().map(|(status, kinds)| {
            let reference = format!("#/components/responses/{}", response_name(&kinds));
            (status, json!({"$ref": reference}))
        });
        let answers = self.answers.clone().into_iter().chain(problems);
        let responses: BTreeMap<String, Value> = answers.map(|(status, answer)| (status.to_string(), answer)).collect();
        let (security, needs) = match least {
            Some(least) => (json!([{"token": []}]), format!("Needs the role `{least}`.")),
            None => (json!([]), "Needs no token.".to_owned()),
        };
        let mut entry = json!({
            "operationId": name,
            "tags": [self.tag.row().0],
            "summary": self.summary,
            "description": format!("{}\n\n{needs}", self.description),
            "security": security,
            "responses": responses,
        });
        if let Some(least) = least {
            entry["x-role"] = least.to_string().into();
        }
        if !self.parameters.is_empty() {
            entry["parameters"] = self.parameters.clone().into();
        }
        entry
    }

    fn problems_by_status(&self) -> BTreeMap<u16, Vec<ProblemKind>> {
        let mut by_status: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
        for kind in &self.problems {
            by_status.entry(kind.status().as_u16()).or_default().push(*kind);
        }
        by_status
    }

    /// The answers that its problems are, each under a name that says which these are.
    pub(super) fn problem_responses(&self) -> impl Iterator<Item = (String, Value)> {
        let by_status = self.problems_by_status().into_values();
        by_status.map(|kinds| (response_name(&kinds), problem_response(&kinds)))
    }
}

fn response_name(kinds: &[ProblemKind]) -> String {
    let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
    names.join("Or")
}

fn problem_response(kinds: &[ProblemKind]) -> Value {
    let described: Vec<String> = kinds
        .iter()
        .map(|kind| format!("{} (`{}`).", kind.title(), kind.name()))
        .collect();
    let types: Vec<String> = kinds.iter().map(|kind| kind.urn()).collect();
    let schema = json!({
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"type": "object", "properties": {"type": {"type": "string", "enum": types}}},
        ],
    });
    json!({
        "description": described.join(" "),
        "content": {"application/problem+json": {"schema": schema}},
    })
}

/// A schema under a name.
pub(super) fn schema<T: ToSchema>(name: &str) -> (String, Value) {
    (name.to_owned(), value(&T::schema()))
}

/// A query parameter, which is there or not, but never null.
fn query_parameter(parameter: &Parameter) -> Value {
    let mut parameter = value(parameter);
    if let Some(types) = parameter["schema"].get_mut("type")
        && let Some(other) = types.as_array().into_iter().flatten().find(|one| *one != "null")
    {
        *types = other.clone();
    }
    parameter
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("what a document is made of is JSON")
}
