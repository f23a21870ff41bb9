//! The two ends of a chain of changes at a handler: what it takes, and what it answers with.

use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::changes::{Changes, Reader, Writer};
use super::{ApiVersion, Version};
use crate::problem::{Answer, Problem};

/// Room for what most answers need, so that a writer seldom has to grow.
const ANSWER_BYTES: usize = 512;

/// A request of whatever version, as the newest type of the chain `C`, and the [`Reply`] that answers
/// in the same version.
///
/// The body is JSON (415 otherwise) and as long as axum's `DefaultBodyLimit` allows: 2 MB, 413 beyond.
/// Without a body it is `null`, which is read as `()` or `None`. Versions must be [around the
/// router](super::Versions::wrap).
///
/// ```
/// # use mainstay_http::{Answer, Change, Version};
/// use mainstay_http::{Lifted, Lowered};
/// # struct NamesAreSplit;
/// # impl Change for NamesAreSplit {
/// #     const SINCE: Version = Version::number(2);
/// #     type OldRequest = String;
/// #     type NewRequest = (String, String);
/// #     type OldResponse = u64;
/// #     type NewResponse = String;
/// #     fn lift(old: String) -> Answer<(String, String)> { Ok((old, String::new())) }
/// #     fn lower(new: String) -> Answer<u64> { Ok(new.len() as u64) }
/// # }
///
/// type Create = (NamesAreSplit,); // from the oldest change to the newest
///
/// async fn create(Lifted((first, last), reply): Lifted<Create>) -> Answer<Lowered<Create>> {
///     reply.lower(format!("{first}-{last}"))
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(create));
/// ```
#[derive(Debug)]
pub struct Lifted<C: Changes>(pub C::Request, pub Reply<C>);

/// Answers in the version of the request it came with.
#[derive(Debug)]
pub struct Reply<C> {
    version: Version,
    chain: PhantomData<fn() -> C>,
}

/// A response that was lowered: 200, unless a status is put before it, as in
/// `(StatusCode::CREATED, reply.lower(saved)?)`.
#[derive(Debug)]
pub struct Lowered<C> {
    json: Vec<u8>,
    chain: PhantomData<fn() -> C>,
}

impl<C: Changes> Reply<C> {
    /// The newest response as the caller's version has it.
    pub fn lower(self, newest: C::Response) -> Answer<Lowered<C>> {
        let json = C::write(self.version, newest, ToJson)?;
        Ok(Lowered { json, chain: PhantomData })
    }

    /// The caller's version.
    pub fn version(&self) -> Version {
        self.version
    }
}

impl<C: Changes, S: Send + Sync> FromRequest<S> for Lifted<C> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let version = ApiVersion::of(request.extensions())?.version();
        let is_json = is_json(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            Problem::new(rejection.status(), "Body not readable", rejection.body_text())
        })?;
        if !bytes.is_empty() && !is_json {
            let detail = "the body must be JSON, and its content-type say so";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "JSON expected", detail));
        }
        let body = if bytes.is_empty() { b"null".as_slice() } else { &bytes };
        let request = C::read(version, OfJson { body, version })?;
        Ok(Self(request, Reply { version, chain: PhantomData }))
    }
}

/// `application/json` and what ends in `+json`, with whatever parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or("").trim();
    let ends = |with: &str| {
        let tail = essence.len().checked_sub(with.len()).and_then(|from| essence.get(from..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(with))
    };
    essence.eq_ignore_ascii_case("application/json") || ends("+json")
}

struct OfJson<'a> {
    body: &'a [u8],
    version: Version,
}

impl Reader for OfJson<'_> {
    fn read<T: DeserializeOwned>(self) -> Answer<T> {
        serde_json::from_slice(self.body).map_err(|error| {
            let (status, title) = if error.is_data() {
                (StatusCode::UNPROCESSABLE_ENTITY, "Invalid value")
            } else {
                (StatusCode::BAD_REQUEST, "Malformed JSON")
            };
            Problem::new(status, title, format!("in version {}: {error}", self.version))
        })
    }
}

struct ToJson;

impl Writer for ToJson {
    type Written = Vec<u8>;

    fn write<T: Serialize>(self, value: &T) -> Answer<Vec<u8>> {
        let mut json = Vec::with_capacity(ANSWER_BYTES);
        serde_json::to_writer(&mut json, value).map_err(|error| {
            tracing::error!("an answer of type {} is no JSON: {error}", std::any::type_name::<T>());
            let detail = "the operator has been told";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail)
        })?;
        Ok(json)
    }
}

impl<C> IntoResponse for Lowered<C> {
    fn into_response(self) -> Response {
        let kind = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, kind)], self.json).into_response()
    }
}
