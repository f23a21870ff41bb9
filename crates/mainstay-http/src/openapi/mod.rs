//! OpenAPI: a document for each version of an API, derived from the newest one and the typed changes; a
//! viewer that serves them; and what [breaks](diff()) between two documents.
//!
//! The newest document is utoipa's: this reads no handler and no type that does not implement `ToSchema`.
//!
//! ```
//! # #[cfg(feature = "openapi")] {
//! use axum::http::Method;
//! use mainstay_http::openapi::Documents;
//! use mainstay_http::{Answer, Change, Version, Versions};
//! use serde::{Deserialize, Serialize};
//! use utoipa::{OpenApi, ToSchema};
//!
//! #[derive(Deserialize, ToSchema)] struct OrderV1 { name: String }
//! #[derive(Deserialize, ToSchema)] struct Order { first: String, last: String }
//! #[derive(Serialize, ToSchema)] struct Saved { id: u64 }
//!
//! struct NamesAreSplit;
//!
//! impl Change for NamesAreSplit {
//!     const SINCE: Version = Version::number(2);
//!     type OldRequest = OrderV1;
//!     type NewRequest = Order;
//!     type OldResponse = Saved;
//!     type NewResponse = Saved;
//!
//!     fn lift(old: OrderV1) -> Answer<Order> {
//!         Ok(Order { first: String::new(), last: old.name })
//!     }
//!
//!     fn lower(new: Saved) -> Answer<Saved> {
//!         Ok(new)
//!     }
//! }
//!
//! #[utoipa::path(post, path = "/orders", request_body = Order, responses((status = 201, body = Saved)))]
//! async fn create() {}
//!
//! #[derive(OpenApi)]
//! #[openapi(paths(create))]
//! struct Newest;
//!
//! # fn main() -> mainstay_core::Result<()> {
//! let versions = Versions::numbered(2)?;
//! let documents: Documents = versions
//!     .documents(Newest::openapi())
//!     .changed::<(NamesAreSplit,)>(Method::POST, "/orders")
//!     .build()?;
//! let oldest = documents.value(Version::number(1)).unwrap();
//! assert_eq!(
//!     oldest["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"],
//!     "#/components/schemas/OrderV1",
//! );
//! let routes = documents.router::<()>(); // /openapi/v1.json, /openapi/v2.json, /docs
//! # let _ = routes;
//! # Ok(()) }
//! # main().unwrap();
//! # }
//! ```

#[cfg(feature = "openapi")]
mod builder;
#[cfg(feature = "openapi")]
mod components;
#[cfg(feature = "openapi")]
mod derive;
mod diff;
#[cfg(feature = "openapi")]
mod documents;
#[cfg(feature = "openapi")]
mod life;
#[cfg(feature = "openapi")]
mod ordered;
#[cfg(feature = "openapi")]
mod problem;
#[cfg(feature = "openapi")]
mod serve;
#[cfg(feature = "openapi")]
mod types;

pub use diff::{Difference, Differences, diff};

#[cfg(feature = "openapi")]
pub use builder::DocumentsBuilder;
#[cfg(feature = "openapi")]
pub use documents::Documents;
#[cfg(feature = "openapi")]
pub use types::{Described, Exchange};

/// What can be done at a path.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
