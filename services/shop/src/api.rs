//! The versions of the API: where a request names one, and how each of them lives.
//!
//! Handlers are written for the newest; [`v1`](crate::v1) says what the older one sends and gets.

use axum::http::Method;
use mainstay::Result;
use mainstay::clock::Clock;
use mainstay::http::openapi::Documents;
use mainstay::http::{Release, Source, Version, Versions};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi};

use crate::{accounts, analytics, best_sellers, login, orders, products, users};

/// Without emails.
pub(crate) const V1: Version = Version::number(1);
/// The newest.
pub(crate) const V2: Version = Version::number(2);

/// Where the API begins.
pub(crate) const UNDER: &str = "/api";

/// What is sent again with its key is done once.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IdempotencyKey {
    /// Chosen by the client, for one request: a structured string, such as `"8e03978e"`.
    #[param(rename = "Idempotency-Key", required = false, max_length = 255)]
    #[expect(dead_code, reason = "it is read by the layer")]
    key: Option<String>,
}

/// The newest version.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "The shop",
        description = "Users, accounts, products and orders. Amounts are cents."
    ),
    paths(
        users::create,
        users::get,
        users::list,
        accounts::create,
        accounts::get,
        accounts::transfer,
        products::list,
        products::prices,
        best_sellers::list,
        analytics::list,
        orders::create,
        orders::get,
        orders::list,
        login::ask,
        login::enter,
        login::me,
        login::leave,
    )
)]
struct Newest;

/// The documents of the versions. Errors: HTTP-004 where they are not what the handlers take and give.
pub fn documents(versions: &Versions) -> Result<Documents> {
    let described = Newest::openapi();
    let mut newest = utoipa::openapi::OpenApi::default();
    newest.info = described.info.clone();
    let newest = newest.nest(UNDER, described);
    versions
        .documents(newest)
        .changed::<users::Create>(Method::POST, "/api/users")
        .changed::<users::List>(Method::GET, "/api/users")
        .changed::<users::Read>(Method::GET, "/api/users/{id}")
        .build()
}

/// `[api]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// The versions and their dates. Default 1, deprecated on 2026-07-01 until it ends on 2027-07-01, and 2.
    pub releases: Vec<Release>,
}

impl Default for Api {
    fn default() -> Self {
        let v1 = Release::new(V1).deprecated("2026-07-01").sunset("2027-07-01");
        Self { releases: vec![v1, Release::new(V2)] }
    }
}

/// `/api/v1/users`; or `/api/users` with `api-version: 1`, or with `accept: application/vnd.shop.v1+json`.
/// Who names none gets the newest.
///
/// Errors: HTTP-004 where the dates can't be.
pub fn versions(api: &Api, clock: Clock) -> Result<Versions> {
    Versions::builder()
        .named("shop")
        .releases(api.releases.iter().cloned())
        .under(UNDER)
        .source(Source::path())
        .source(Source::header("api-version"))
        .source(Source::media("shop"))
        .default_newest()
        .clock(clock)
        .build()
}
