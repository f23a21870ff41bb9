//! Errors as RFC 9457 problems: what the caller can act on is told, what only the operator can act
//! on is logged under the same code.

mod error;
mod rejection;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay_core::{Code, Error};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

/// Members that RFC 9457 and this crate define.
const DEFINED: [&str; 6] = ["type", "title", "status", "detail", "instance", "code"];

/// What a handler returns.
pub type Answer<T> = Result<T, Problem>;

/// An error on its way to the caller: `application/problem+json` of RFC 9457, with the error's
/// [`Code`] as the member `code`.
///
/// It is made by the service, or of a Mainstay [`Error`] by `?`: what is the caller's to correct is
/// told in words that hold no SQL and no value of others; the rest is logged with its whole report,
/// and the caller learns the status and the code alone.
///
/// ```
/// use axum::http::StatusCode;
/// use mainstay_http::Problem;
///
/// let problem = Problem::new(StatusCode::CONFLICT, "Out of stock", "3 are left, 5 were ordered")
///     .with_type("https://example.com/problems/out-of-stock")
///     .with("left", 3);
/// assert_eq!(
///     serde_json::to_string(&problem).unwrap(),
///     r#"{"type":"https://example.com/problems/out-of-stock","title":"Out of stock","status":409,"#
///         .to_owned()
///         + r#""detail":"3 are left, 5 were ordered","code":"APP-001","left":3}"#,
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    kind: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: Cow<'static, str>,
    code: Code,
    extensions: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    /// A problem of the type `about:blank` and the code APP-001.
    pub fn new(
        status: StatusCode,
        title: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            status,
            kind: Cow::Borrowed("about:blank"),
            title: title.into(),
            detail: detail.into(),
            code: Code::User,
            extensions: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// 404.
    pub fn not_found(what: &str, id: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", format!("there is no {what} {id}"))
    }

    /// 409.
    pub fn conflict(
        title: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::CONFLICT, title, detail)
    }

    /// 422.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid value", detail)
    }

    /// The URI that names its type.
    pub fn with_type(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.0.kind = uri.into();
        self
    }

    /// The code that it and the log have in common.
    pub fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// A further member. One that RFC 9457 defines, and `code`, stay as they are.
    pub fn with(mut self, member: impl Into<String>, value: impl Into<Value>) -> Self {
        let member = member.into();
        if !DEFINED.contains(&member.as_str()) {
            self.0.extensions.insert(member, value.into());
        }
        self
    }

    /// A header of the answer, in place of one of that name.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Retry-After, in whole seconds, rounded up. Without it a 503 says 1.
    pub fn retry_after(self, after: Duration) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)))
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.0.title
    }

    /// What happened this time.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// As an error that ends a transaction and comes out of it as this problem again.
    pub fn into_error(self) -> Error {
        Error::wrap(self)
    }
}

/// Rounded up: who comes back a moment early is refused again.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.title, self.0.detail)
    }
}

impl std::error::Error for Problem {}

/// The members in RFC 9457's order, then the code, then the others.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Inner { status, kind, title, detail, code, extensions, .. } = &*self.0;
        let mut map = serializer.serialize_map(Some(5 + extensions.len()))?;
        map.serialize_entry("type", kind)?;
        map.serialize_entry("title", title)?;
        map.serialize_entry("status", &status.as_u16())?;
        map.serialize_entry("detail", detail)?;
        map.serialize_entry("code", code.as_str())?;
        for (name, value) in extensions {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // What is made of text, numbers and JSON can't fail to be JSON.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.0.status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.extend(self.0.headers);
        if self.0.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
        }
        response
    }
}
