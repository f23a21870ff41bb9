//! Idempotency keys: a request that is sent again, for whatever reason, has its effect once and gets the
//! answer that the first one got.
//!
//! [`IdempotencyLayer`] reads the header, [`Idempotent`] runs the work. The key, what the work writes and
//! publishes, and the answer are committed in one transaction: there is no moment at which one is there
//! without the others, whoever is killed. What reaches others than the database (a payment provider, a
//! mail) is not covered: send it from the outbox, or give the other side a key of its own.
//!
//! ```
//! use axum::extract::State;
//! use axum::http::StatusCode;
//! use axum::response::Response;
//! use axum::{Json, Router, routing::post};
//! use mainstay_db::Db;
//! use mainstay_http::idempotency::{IdempotencyLayer, Idempotent};
//! use mainstay_http::{Answer, Key};
//!
//! async fn order(State(db): State<Db>, once: Idempotent, Json(item): Json<String>) -> Answer<Response> {
//!     once.run(&db, move |tx| {
//!         let item = item.clone();
//!         async move {
//!             let insert = tx.query("INSERT INTO orders (item) VALUES ($1)").bind(item);
//!             insert.execute().await?;
//!             Ok((StatusCode::CREATED, Json("ordered")))
//!         }
//!     })
//!     .await
//! }
//!
//! # fn app(db: Db) -> mainstay_core::Result<Router> {
//! let keys = IdempotencyLayer::by(Key::header("x-api-key"))?.required();
//! let app = Router::new().route("/orders", post(order)).layer(keys).with_state(db);
//! # Ok(app) }
//! ```

mod answer;
mod body;
mod flight;
mod guard;
mod header;
mod layer;
mod observed;
mod refusal;
mod request;
mod run;
mod schema;
mod service;
mod sweep;
mod table;

use axum::http::HeaderName;

pub use guard::Idempotent;
pub use layer::IdempotencyLayer;
pub use schema::{install, schema};
pub use service::Idempotency;
pub use table::clean;

/// The header with the key: a string of draft-ietf-httpapi-idempotency-key-header-07, in double quotes.
/// One without them is understood too.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header that says, with `true`, that an answer is a stored one.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
