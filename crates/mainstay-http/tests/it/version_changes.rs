//! Old requests and new responses, through typed changes.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use mainstay_core::Code;
use mainstay_http::{Answer, Change, Lifted, Lowered, Problem, Version};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{self, ask};
use crate::version::numbers;

/// Version 1: one name, a price in whole units.
#[derive(Deserialize)]
struct OrderV1 {
    name: String,
    price: u32,
}

/// Versions 2 and 3: two names, and cents.
#[derive(Deserialize)]
struct OrderV2 {
    first: String,
    last: String,
    cents: u32,
}

/// Version 4: the currency too.
#[derive(Deserialize)]
struct OrderV4 {
    first: String,
    last: String,
    cents: u32,
    currency: String,
}

#[derive(Serialize)]
struct SavedV1 {
    id: u64,
}

#[derive(Serialize)]
struct SavedV2 {
    id: String,
}

#[derive(Serialize)]
struct SavedV4 {
    id: String,
    told: String,
}

struct NamesAreSplit;

impl Change for NamesAreSplit {
    const SINCE: Version = Version::number(2);
    type OldRequest = OrderV1;
    type NewRequest = OrderV2;
    type OldResponse = SavedV1;
    type NewResponse = SavedV2;

    fn lift(old: OrderV1) -> Answer<OrderV2> {
        let Some((first, last)) = old.name.split_once(' ') else {
            return Err(Problem::invalid("a name has two parts"));
        };
        Ok(OrderV2 { first: first.into(), last: last.into(), cents: old.price * 100 })
    }

    fn lower(new: SavedV2) -> Answer<SavedV1> {
        Ok(SavedV1 { id: new.id.parse().unwrap_or(0) })
    }
}

struct CurrencyIsNamed;

impl Change for CurrencyIsNamed {
    const SINCE: Version = Version::number(4);
    type OldRequest = OrderV2;
    type NewRequest = OrderV4;
    type OldResponse = SavedV2;
    type NewResponse = SavedV4;

    fn lift(old: OrderV2) -> Answer<OrderV4> {
        let OrderV2 { first, last, cents } = old;
        Ok(OrderV4 { first, last, cents, currency: "EUR".into() })
    }

    fn lower(new: SavedV4) -> Answer<SavedV2> {
        Ok(SavedV2 { id: new.id })
    }
}

type Create = (NamesAreSplit, CurrencyIsNamed);

async fn create(
    Path(id): Path<String>,
    Lifted(order, reply): Lifted<Create>,
) -> Answer<impl IntoResponse> {
    let told = format!("{} {} {} {}", order.first, order.last, order.cents, order.currency);
    Ok((StatusCode::CREATED, reply.lower(SavedV4 { id, told })?))
}

/// Without a body: what is asked has not changed, what is answered has.
struct CountIsObject;

#[derive(Serialize)]
struct Counted {
    count: u32,
}

impl Change for CountIsObject {
    const SINCE: Version = Version::number(3);
    type OldRequest = ();
    type NewRequest = ();
    type OldResponse = u32;
    type NewResponse = Counted;

    fn lift((): ()) -> Answer<()> {
        Ok(())
    }

    fn lower(new: Counted) -> Answer<u32> {
        Ok(new.count)
    }
}

async fn count(Lifted((), reply): Lifted<(CountIsObject,)>) -> Answer<Lowered<(CountIsObject,)>> {
    reply.lower(Counted { count: 7 })
}

fn routes() -> Router {
    Router::new()
        .route("/orders/{id}", post(create))
        .route("/count", get(count))
        .layer(DefaultBodyLimit::max(200))
}

async fn sent(version: u32, kind: &str, body: impl Into<Body>) -> support::Answer {
    let app = numbers(5).build().unwrap().wrap(routes());
    let mut request = Request::post(format!("/v{version}/orders/17"));
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    support::send(&app, request.body(body.into()).unwrap()).await
}

async fn created(version: u32, body: Value) -> (u16, Value) {
    let answer = sent(version, "application/json", body.to_string()).await;
    assert_eq!(answer.header("content-type"), "application/json");
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn one_handler_serves_every_version() {
    let v1 = json!({"name": "Ada Lovelace", "price": 3});
    let v2 = json!({"first": "Ada", "last": "Lovelace", "cents": 350});
    let v4 = json!({"first": "Ada", "last": "Lovelace", "cents": 350, "currency": "GBP"});
    assert_eq!(created(1, v1).await, (201, json!({"id": 17})));
    // What did not change in 3 is as in 2, and in 5 as in 4.
    assert_eq!(created(2, v2.clone()).await, (201, json!({"id": "17"})));
    assert_eq!(created(3, v2).await, (201, json!({"id": "17"})));
    let newest = (201, json!({"id": "17", "told": "Ada Lovelace 350 GBP"}));
    assert_eq!(created(4, v4.clone()).await, newest);
    assert_eq!(created(5, v4).await, newest);
}

#[tokio::test]
async fn without_a_body_there_is_nothing_to_lift() {
    let app = numbers(5).build().unwrap().wrap(routes());
    assert_eq!(ask(&app, "GET /v2/count", &[]).await.text, "7");
    assert_eq!(ask(&app, "GET /v3/count", &[]).await.text, r#"{"count":7}"#);
}

#[tokio::test]
async fn a_body_is_judged_by_its_own_version() {
    let v2 = json!({"first": "Ada", "last": "Lovelace", "cents": 350}).to_string();
    let wrong = sent(1, "application/json", v2.clone()).await;
    assert_eq!(wrong.status, 422);
    let detail = wrong.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("in version 1: missing field `name`"), "{detail}");
    let impossible = json!({"name": "Plato", "price": 3}).to_string();
    let answer = sent(1, "application/json", impossible).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["detail"]),
        (422, &"a name has two parts".into())
    );
    assert_eq!(sent(2, "application/json", "{").await.status, 400);
    assert_eq!(sent(2, "application/json", "").await.status, 422);
    assert_eq!(sent(2, "application/json", vec![b' '; 201]).await.status, 413);
    assert_eq!(sent(2, "application/json", vec![b' '; 200]).await.status, 400);
    for kind in ["", "text/plain", "application/jsonx", "json"] {
        assert_eq!(sent(2, kind, v2.clone()).await.status, 415, "{kind}");
    }
    for kind in
        ["application/json; charset=utf-8", "Application/JSON", "application/vnd.shop.v2+json"]
    {
        assert_eq!(sent(2, kind, v2.clone()).await.status, 201, "{kind}");
    }
}

#[tokio::test]
async fn without_versions_around_it_a_handler_is_told_so() {
    let request = Request::post("/orders/17").body(Body::empty()).unwrap();
    let answer = support::send(&routes(), request).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"HTTP-004".into()));
}

#[test]
fn changes_of_versions_that_do_not_exist_do_not_start() {
    assert!(numbers(4).build().unwrap().check::<Create>().is_ok());
    let error = numbers(3).build().unwrap().check::<Create>().unwrap_err();
    assert_eq!(error.code(), Code::HttpOption);
    assert!(error.report().contains("version 4") && error.report().contains("CurrencyIsNamed"));
}
