//! A document for each version, of the newest and its changes: golden files, and that they are served.
//! `MAINSTAY_UPDATE_DOCS=1` writes the files anew.

#![allow(dead_code, reason = "what is described here is not served")]

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use axum::routing::get;
use mainstay_core::Code;
use mainstay_core::clock::{Clock, Hand};
use mainstay_http::openapi::{Documents, DocumentsBuilder, diff};
use mainstay_http::{
    Answer, Brownout, Change, Problem, Release, Source, Version, Versions, VersionsBuilder,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

use crate::support::ask;

/// What the oldest version has; its order has the newest one's name.
mod v1 {
    use super::*;

    #[derive(Deserialize, ToSchema)]
    pub struct Order {
        pub name: String,
        pub lines: Vec<Line>,
    }

    #[derive(Deserialize, ToSchema)]
    pub struct Line {
        pub sku: String,
    }
}

/// An order.
#[derive(Deserialize, ToSchema)]
struct Order {
    first: String,
    last: String,
    lines: Vec<Line>,
}

#[derive(Deserialize, ToSchema)]
struct Line {
    sku: String,
    /// How many.
    #[schema(minimum = 1)]
    units: u32,
}

#[derive(Serialize, ToSchema)]
struct Saved {
    id: u64,
}

#[derive(Serialize, ToSchema)]
struct SavedV3 {
    id: String,
    state: State,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    Pending,
    Paid,
}

#[derive(Serialize, ToSchema)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

struct NamesAreSplit;

impl Change for NamesAreSplit {
    const SINCE: Version = Version::number(2);
    type OldRequest = v1::Order;
    type NewRequest = Order;
    type OldResponse = Saved;
    type NewResponse = Saved;

    fn lift(old: v1::Order) -> Answer<Order> {
        let lines = old.lines.into_iter().map(|line| Line { sku: line.sku, units: 1 }).collect();
        Ok(Order { first: String::new(), last: old.name, lines })
    }

    fn lower(new: Saved) -> Answer<Saved> {
        Ok(new)
    }
}

struct IdsAreText;

impl Change for IdsAreText {
    const SINCE: Version = Version::number(3);
    type OldRequest = Order;
    type NewRequest = Order;
    type OldResponse = Saved;
    type NewResponse = SavedV3;

    fn lift(old: Order) -> Answer<Order> {
        Ok(old)
    }

    fn lower(new: SavedV3) -> Answer<Saved> {
        Ok(Saved { id: new.id.parse().unwrap_or(0) })
    }
}

type Create = (NamesAreSplit, IdsAreText);

/// Takes an order.
#[utoipa::path(post, path = "/api/orders", request_body = Order, responses(
    (status = 201, description = "It is taken", body = SavedV3),
    (status = 409, description = "Out of stock", body = Problem, content_type = "application/problem+json"),
))]
fn create() {}

/// Orders, the newest first.
#[utoipa::path(get, path = "/api/orders", params(("limit" = Option<u32>, Query)), responses(
    (status = 200, description = "A page", body = Page<SavedV3>),
))]
fn list() {}

#[utoipa::path(get, path = "/api/orders/{id}", params(("id" = String, Path)), responses(
    (status = 200, description = "The order", body = SavedV3),
))]
fn one() {}

#[utoipa::path(delete, path = "/api/orders/{id}", params(("id" = String, Path)), responses(
    (status = 204, description = "It is gone"),
))]
fn cancel() {}

#[utoipa::path(get, path = "/livez", responses((status = 200, description = "It lives")))]
fn livez() {}

/// As it was before version 3: of everything at once.
#[utoipa::path(get, path = "/api/orders", responses(
    (status = 200, description = "All of them", body = Vec<Saved>),
))]
fn list_all() {}

#[derive(OpenApi)]
#[openapi(
    info(title = "Shop", description = "Orders.", license(name = "MIT")),
    paths(create, list, one, cancel, livez)
)]
struct Newest;

#[derive(OpenApi)]
#[openapi(paths(list_all))]
struct Before3;

fn versions() -> (VersionsBuilder, Hand) {
    let (clock, hand) = Clock::manual();
    let first = Release::new(Version::number(1))
        .deprecated("1970-01-01")
        .sunset("1970-02-01")
        .docs("https://example.com/moving")
        .brownout(Brownout::new("1970-01-20T10:00:00Z", "1970-01-20T10:15:00Z"));
    let builder = Versions::builder()
        .release(first)
        .release(Release::new(Version::number(2)))
        .release(Release::new(Version::number(3)))
        .under("/api")
        .source(Source::path())
        .source(Source::header("api-version"))
        .source(Source::media("shop"))
        .source(Source::query("version"))
        .clock(clock);
    (builder, hand)
}

fn described(versions: &Versions) -> DocumentsBuilder {
    let [two, three] = [2, 3].map(Version::number);
    versions
        .documents(Newest::openapi())
        .changed::<Create>(Method::POST, "/api/orders")
        .replaced(Method::GET, "/api/orders", three, &Before3::openapi())
        .since(Method::GET, "/api/orders/{id}", two)
        .until(Method::DELETE, "/api/orders/{id}", three)
}

fn documents() -> (Documents, Versions, Hand) {
    let (builder, hand) = versions();
    let versions = builder.build().unwrap();
    (described(&versions).build().unwrap(), versions, hand)
}

fn of(documents: &Documents, version: u32) -> Value {
    documents.value(Version::number(version)).unwrap()
}

#[test]
fn each_version_is_what_its_golden_file_says() {
    let (documents, _, _) = documents();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden");
    let update = std::env::var_os("MAINSTAY_UPDATE_DOCS").is_some();
    documents.golden(folder, update).unwrap_or_else(|error| panic!("{}", error.report()));
}

#[test]
fn a_golden_file_that_differs_says_what_breaks() {
    let (documents, versions, _) = documents();
    let folder = tempfile::tempdir().unwrap();
    let missing = documents.golden(folder.path(), false).unwrap_err();
    assert_eq!(missing.code(), Code::OpenApi);
    documents.golden(folder.path(), true).unwrap();
    documents.golden(folder.path(), false).unwrap();
    let without = described(&versions).since(Method::POST, "/api/orders", Version::number(3));
    let error = without.build().unwrap().golden(folder.path(), false).unwrap_err();
    assert_eq!(error.code(), Code::OpenApi);
    let report = error.report();
    assert!(report.contains("v1.json") && report.contains("operation-removed"), "{report}");
}

#[test]
fn older_versions_have_the_older_types_and_operations() {
    let (documents, _, _) = documents();
    let [one, two, three] = [1, 2, 3].map(|version| of(&documents, version));
    let sends = |document: &Value| {
        let schema = "/paths/~1orders/post/requestBody/content/application~1json/schema/$ref";
        document.pointer(schema).unwrap().clone()
    };
    let gets = |document: &Value| {
        let schema = "/paths/~1orders/post/responses/201/content/application~1json/schema/$ref";
        document.pointer(schema).unwrap().clone()
    };
    let order = json!("#/components/schemas/Order");
    assert_eq!([sends(&one), sends(&two), sends(&three)], [order.clone(), order.clone(), order]);
    let saved = json!("#/components/schemas/Saved");
    assert_eq!(
        [gets(&one), gets(&two), gets(&three)],
        [saved.clone(), saved, json!("#/components/schemas/SavedV3")]
    );
    let names = |document: &Value, schema: &str| -> Vec<String> {
        let properties = document["components"]["schemas"][schema]["properties"].as_object();
        properties.unwrap().keys().cloned().collect()
    };
    assert_eq!(names(&one, "Order"), ["lines", "name"]);
    assert_eq!(names(&one, "Line"), ["sku"], "what an older type holds is of the older one too");
    assert_eq!(names(&two, "Order"), ["first", "last", "lines"]);
    let has =
        |document: &Value, path: &str, method: &str| document["paths"][path].get(method).is_some();
    let byid = [&one, &two, &three].map(|document| {
        (has(document, "/orders/{id}", "get"), has(document, "/orders/{id}", "delete"))
    });
    assert_eq!(byid, [(false, true), (true, true), (true, false)]);
    let limited = |document: &Value| {
        let parameters = document["paths"]["/orders"]["get"]["parameters"].as_array().unwrap();
        parameters.iter().any(|parameter| parameter["name"] == "limit")
    };
    assert_eq!([&one, &two, &three].map(limited), [false, false, true]);
    assert!(one["components"]["schemas"].get("SavedV3").is_none(), "nothing refers to it");
}

#[test]
fn a_document_is_valid_and_says_where_it_is() {
    let (documents, _, _) = documents();
    for version in 1..=3 {
        let document = of(&documents, version);
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], version.to_string());
        assert_eq!(document["servers"][0]["url"], format!("/api/v{version}"));
        assert_eq!(document["paths"]["/livez"]["servers"][0]["url"], "/");
        structure(&document);
        let create = &document["paths"]["/orders"]["post"];
        let media = format!("application/vnd.shop.v{version}+json");
        assert!(create["requestBody"]["content"].get(&media).is_some());
        assert!(create["responses"]["201"]["content"].get(&media).is_some());
        let named: Vec<_> = create["parameters"].as_array().unwrap().iter().collect();
        assert_eq!(named[0]["name"], "api-version");
        assert_eq!(named[0]["schema"]["enum"], json!([version.to_string()]));
        assert_eq!(create["responses"].get("410").is_some(), version == 1, "{version}");
        let problem = &create["responses"]["400"]["content"]["application/problem+json"]["schema"];
        assert_eq!(problem["$ref"], "#/components/schemas/Problem");
        // It is read by what reads any document, and is the same as itself.
        assert!(diff(&document, &document).unwrap().is_empty());
    }
}

/// What the specification requires of every part that is there.
fn structure(document: &Value) {
    let text = |value: &Value, name: &str| assert!(value[name].is_string(), "{name}: {value}");
    text(&document["info"], "title");
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with('/'), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            if method == "servers" {
                continue;
            }
            ids.extend(operation["operationId"].as_str().map(str::to_owned));
            for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
                text(parameter, "name");
                text(parameter, "in");
                let in_path = parameter["in"] == "path";
                let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
                assert!(!in_path || (parameter["required"] == true && path.contains(&name)));
                assert!(parameter["schema"].is_object());
            }
            let responses = operation["responses"].as_object().unwrap();
            assert!(!responses.is_empty());
            for (status, response) in responses {
                assert!(status.parse::<u16>().is_ok_and(|status| (100..600).contains(&status)));
                text(response, "description");
            }
            if let Some(body) = operation.get("requestBody") {
                assert!(body["content"].as_object().is_some_and(|content| !content.is_empty()));
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "each id is of one operation");
    references(document, document);
}

fn references(root: &Value, value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(root, item)),
        Value::Object(map) => {
            if let Some(to) = map.get("$ref") {
                let to = to.as_str().unwrap().strip_prefix('#').unwrap();
                assert!(root.pointer(to).is_some(), "{to}");
            }
            map.values().for_each(|value| references(root, value));
        }
        _ => {}
    }
}

#[test]
fn a_life_is_told_as_of_now() {
    let (documents, _, hand) = documents();
    let first = of(&documents, 1);
    assert_eq!(
        first["info"]["x-lifecycle"],
        json!({
            "stage": "deprecated",
            "deprecated": "1970-01-01T00:00:00Z",
            "sunset": "1970-02-01T00:00:00Z",
            "successor": "3",
            "docs": "https://example.com/moving",
            "brownouts": [{ "from": "1970-01-20T10:00:00Z", "until": "1970-01-20T10:15:00Z" }],
        })
    );
    let told = first["info"]["description"].as_str().unwrap();
    assert!(told.starts_with("Orders.\n\nVersion 1 has been deprecated since"), "{told}");
    assert_eq!(first["paths"]["/orders"]["post"]["deprecated"], true);
    assert!(first["paths"]["/livez"]["get"].get("deprecated").is_none(), "it is of no version");
    let newest = of(&documents, 3);
    assert_eq!(newest["info"]["x-lifecycle"]["stage"], "current");
    assert_eq!(newest["info"]["description"], "Orders.");
    assert!(newest["paths"]["/orders"]["post"].get("deprecated").is_none());
    hand.advance(Duration::from_secs(31 * 24 * 3600));
    assert_eq!(of(&documents, 1)["info"]["x-lifecycle"]["stage"], "sunset");
}

#[test]
fn what_can_not_be_described_is_told() {
    let (builder, _hand) = versions();
    let versions = builder.build().unwrap();
    let begun = || versions.documents(Newest::openapi());
    let [one, two, nine] = [1, 2, 9].map(Version::number);
    let wrong = [
        (begun().changed::<Create>(Method::POST, "/orders"), "no operation POST /orders"),
        (begun().changed::<Create>(Method::PUT, "/api/orders"), "no operation PUT /api/orders"),
        (begun().since(Method::POST, "/api/orders", nine), "version 9"),
        (begun().until(Method::POST, "/api/orders", nine), "version 9"),
        (
            begun().since(Method::POST, "/api/orders", two).until(Method::POST, "/api/orders", one),
            "came with version 2",
        ),
        (
            begun().replaced(Method::POST, "/api/orders", two, &Before3::openapi()),
            "no operation POST",
        ),
        (begun().changed::<(Other,)>(Method::POST, "/api/orders"), "takes Order"),
    ];
    for (builder, told) in wrong {
        let error = builder.build().unwrap_err();
        assert_eq!(error.code(), Code::HttpOption);
        assert!(error.report().contains(told), "{told}: {}", error.report());
    }
    let error = begun().changed::<(Told,)>(Method::POST, "/api/orders").build().unwrap_err();
    assert!(error.report().contains("gives SavedV3, and its changes end with Saved"));
    let few = Versions::numbered(2).unwrap();
    let unborn = few.documents(Newest::openapi()).changed::<Create>(Method::POST, "/api/orders");
    assert!(unborn.build().unwrap_err().report().contains("version 3"));
}

struct Other;

impl Change for Other {
    const SINCE: Version = Version::number(2);
    type OldRequest = Line;
    type NewRequest = Line;
    type OldResponse = Saved;
    type NewResponse = Saved;

    fn lift(old: Line) -> Answer<Line> {
        Ok(old)
    }

    fn lower(new: Saved) -> Answer<Saved> {
        Ok(new)
    }
}

struct Told;

impl Change for Told {
    const SINCE: Version = Version::number(2);
    type OldRequest = Order;
    type NewRequest = Order;
    type OldResponse = Saved;
    type NewResponse = Saved;

    fn lift(old: Order) -> Answer<Order> {
        Ok(old)
    }

    fn lower(new: Saved) -> Answer<Saved> {
        Ok(new)
    }
}

/// An answer that several operations may have.
#[derive(utoipa::ToResponse)]
#[response(description = "It is taken")]
struct Taken(#[allow(unused)] SavedV3);

#[utoipa::path(post, path = "/api/orders", request_body = Order, responses(
    (status = 201, response = Taken),
))]
fn create_by_reference() {}

#[derive(OpenApi)]
#[openapi(paths(create_by_reference), components(responses(Taken), schemas(SavedV3)))]
struct ByReference;

#[test]
fn an_answer_that_is_referred_to_changes_too() {
    let (builder, _hand) = versions();
    let documents = builder.build().unwrap().documents(ByReference::openapi());
    let documents = documents.changed::<Create>(Method::POST, "/api/orders").build().unwrap();
    let schema = |version| {
        let answer = of(&documents, version)["paths"]["/orders"]["post"]["responses"]["201"].take();
        answer["content"]["application/json"]["schema"].clone()
    };
    assert_eq!(schema(1)["$ref"], "#/components/schemas/Saved");
    assert_eq!(schema(2), schema(1));
    assert_ne!(schema(3), schema(2));
}

#[test]
fn a_version_that_is_named_in_one_way_alone_must_be() {
    let releases = || [1, 2].map(|n| Release::new(Version::number(n)));
    let versions = Versions::builder()
        .releases(releases())
        .source(Source::header("api-version"))
        .default_version(Version::number(2));
    let documents = versions.build().unwrap().documents(Newest::openapi()).build().unwrap();
    let required = |version| {
        let document = of(&documents, version);
        assert_eq!(document["servers"][0]["url"], "/");
        document["paths"]["/api/orders"]["post"]["parameters"][0]["required"].clone()
    };
    assert_eq!((required(1), required(2)), (json!(true), json!(false)));
    assert_eq!(of(&documents, 1)["paths"]["/livez"]["servers"][0]["url"], "/");
}

#[tokio::test]
async fn documents_and_viewer_are_served_inside_and_outside() {
    let (documents, versions, hand) = documents();
    let routes = || Router::new().route("/api/orders", get(async || "orders"));
    let outside = versions.wrap(routes()).merge(documents.router());
    let inside = versions.wrap(routes().merge(documents.router()));
    let nested = Router::new().nest("/help", documents.router());
    for (app, at) in [(outside, ""), (inside, ""), (nested, "/help")] {
        let first = ask(&app, &format!("GET {at}/openapi/v1.json"), &[]).await;
        assert_eq!(
            (first.status.as_u16(), first.header("content-type")),
            (200, "application/json".into())
        );
        assert_eq!(first.json(), of(&documents, 1));
        assert_eq!(ask(&app, &format!("GET {at}/openapi/v4.json"), &[]).await.status, 404);
        assert_eq!(ask(&app, &format!("GET {at}/openapi/v1"), &[]).await.status, 404);
        let moved = ask(&app, &format!("GET {at}/docs"), &[]).await;
        assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "docs/".into()));
        let page = ask(&app, &format!("GET {at}/docs/"), &[]).await;
        assert!(
            page.text.contains("swagger-ui")
                && page.header("content-type").starts_with("text/html")
        );
        assert!(!page.text.contains("https://"), "it needs no other host");
        let settings = ask(&app, &format!("GET {at}/docs/swagger-initializer.js"), &[]).await.text;
        let place =
            |name: &str| settings.find(name).unwrap_or_else(|| panic!("{name}: {settings}"));
        let [three, two, one] = ["v3", "v2", "v1"].map(|v| place(&format!("../openapi/{v}.json")));
        assert!(three < two && two < one, "{settings}");
        assert!(settings.contains("version 1 (deprecated)") && settings.contains("\"none\""));
        assert_eq!(ask(&app, &format!("GET {at}/docs/nothing.js"), &[]).await.status, 404);
    }
    let app = Router::new().merge(documents.router());
    hand.advance(Duration::from_secs(31 * 24 * 3600));
    let ended = ask(&app, "GET /openapi/v1.json", &[]).await.json();
    assert_eq!(ended["info"]["x-lifecycle"]["stage"], "sunset", "it is written anew");
}
