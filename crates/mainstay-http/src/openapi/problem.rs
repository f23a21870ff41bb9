//! The schema of a [`Problem`], and the answers of versions that do not exist, have ended or are off.

use serde_json::{Value, json};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::components::absorb;
use crate::problem::Problem;
use crate::version::described::{Life, Naming};

/// The members that each has; there may be more.
impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str| {
            ObjectBuilder::new().schema_type(Type::String).description(Some(description))
        };
        let status = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
            .description(Some("The HTTP status"));
        let uri = text("What kind of problem it is")
            .format(Some(SchemaFormat::Custom("uri-reference".into())));
        let problem = ObjectBuilder::new()
            .description(Some("A problem of RFC 9457"))
            .property("type", uri)
            .property("title", text("The kind, in words"))
            .property("status", status)
            .property("detail", text("What happened this time"))
            .property("code", text("The code that it and the log have in common"))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)));
        let required = ["type", "title", "status", "detail", "code"];
        required.into_iter().fold(problem, ObjectBuilder::required).into()
    }
}

impl ToSchema for Problem {
    fn name() -> std::borrow::Cow<'static, str> {
        "Problem".into()
    }
}

/// What an operation answers for the sake of its version, where it does not say itself.
pub(super) fn add(
    document: &mut Value,
    operations: &[(String, String)],
    life: &Life,
    naming: &Naming,
) {
    let mut answers = vec![("400", "The version is unknown, malformed, missing or contradicted")];
    if naming.in_media {
        answers.push(("406", "Accept names no version that exists"));
    }
    if life.sunset.is_some() {
        answers.push(("410", "The version has ended; the member `successor` says what to move to"));
    }
    if !life.brownouts.is_empty() {
        answers.push(("503", "The version is switched off until Retry-After"));
    }
    let Ok(schema) = serde_json::to_value(Problem::schema()) else { return };
    let schemas = [("Problem".to_owned(), schema)];
    let reference = absorb(document, &schemas, super::components::reference("Problem"));
    for (path, method) in operations {
        let responses = &mut document["paths"][path.as_str()][method.as_str()]["responses"];
        if responses.is_null() {
            *responses = json!({});
        }
        let Some(responses) = responses.as_object_mut() else { continue };
        for (status, description) in &answers {
            responses.entry(*status).or_insert_with(|| {
                json!({
                    "description": description,
                    "content": { "application/problem+json": { "schema": reference } },
                })
            });
        }
    }
}
