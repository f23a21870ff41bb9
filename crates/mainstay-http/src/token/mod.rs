//! Reading one's own writes over several requests: what a request wrote comes back with its answer as a token, and the
//! next request that brings it reads from no replica that lacks it.
//!
//! Which cluster was written to, and which replica has it, is `mainstay-route`'s business: this carries text.

mod cookie;
mod service;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mainstay_core::scope::Scope;
use mainstay_core::token::Tokens;
use mainstay_core::{Code, Error, Result};
use tower_layer::Layer;

pub use service::{Carried, Carrying};

use crate::problem::Problem;

/// The header in which tokens come and go, unless another is chosen.
pub const TOKEN_HEADER: HeaderName = HeaderName::from_static("mainstay-token");

const COOKIE: &str = "mainstay_token";
/// As far behind as a replica may be that is still read from: one that is further is out.
const MAX_AGE: Duration = Duration::from_secs(60);
const MAX_AGES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));

/// Carries the tokens of what a request wrote to its caller, and takes them from the next request.
///
/// **A cookie**, for browsers: `HttpOnly; SameSite=Lax; Path=/`, with a Max-Age of 60 s. It is set only by an answer
/// that has something new to say. A cookie that can't be understood, or is too long, is passed over, with a line in
/// the log at level debug: no visitor gets an error for it.
///
/// **A header**, `Mainstay-Token`, for programs: each answer has it, as soon as there is something to say, and a program
/// sends the last one that it was given. It carries on what the request came with, also what other services' clusters
/// gave out. One that can't be understood is 400 with ROUTE-003, and the handler is not called.
///
/// A request may write to several clusters, such as shards with replicas: their tokens go together, of up to 64 clusters
/// in up to 3,072 bytes. They only move forward. They tell nothing of what was written, and are not signed: who makes one
/// up is read to from the primary.
///
/// Add it last, around [`ScopeLayer`](crate::ScopeLayer) too: then an answer that the deadline cut short also says what
/// may have been written until then. What is written while a body is streamed comes too late for the answer's head.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_http::{ScopeLayer, TokenLayer};
///
/// let app: Router = Router::new()
///     .route("/", get(async || "hello"))
///     .layer(ScopeLayer::new())
///     .layer(TokenLayer::cookie());
/// # let _ = app;
/// ```
#[derive(Clone, Debug)]
pub struct TokenLayer(Arc<Options>);

#[derive(Clone, Debug)]
struct Options {
    cookie: Option<String>,
    header: Option<HeaderName>,
    max_age: Duration,
    secure: bool,
}

impl TokenLayer {
    fn new(cookie: bool, header: bool) -> Self {
        Self(Arc::new(Options {
            cookie: cookie.then(|| COOKIE.to_owned()),
            header: header.then_some(TOKEN_HEADER),
            max_age: MAX_AGE,
            secure: false,
        }))
    }

    /// By a cookie, `mainstay_token`.
    pub fn cookie() -> Self {
        Self::new(true, false)
    }

    /// By a header, `Mainstay-Token`.
    pub fn header() -> Self {
        Self::new(false, true)
    }

    /// By both; a request may bring either, or both.
    pub fn cookie_and_header() -> Self {
        Self::new(true, true)
    }

    fn changed(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Another name of the cookie. Errors: HTTP-004 where no cookie can be called so.
    pub fn cookie_name(self, name: &str) -> Result<Self> {
        if !cookie::is_name(name) {
            return Err(Error::new(Code::HttpOption, format!("no cookie can be called {name:?}"))
                .fix("take letters, digits, - and _"));
        }
        Ok(self.changed(|options| options.cookie = Some(name.to_owned())))
    }

    /// Another name of the header. A browser's program may read it only if `Access-Control-Expose-Headers` names it.
    pub fn header_name(self, name: HeaderName) -> Self {
        self.changed(|options| options.header = Some(name))
    }

    /// How long the cookie is kept. From 1 s to an hour; default 60 s, which is how far behind a replica may be that is
    /// read from (`lag_max`): after that long there is none that lacks it. With another `lag_max`, that.
    pub fn max_age(self, time: Duration) -> Self {
        self.changed(|options| options.max_age = time.clamp(MAX_AGES.0, MAX_AGES.1))
    }

    /// Whether the cookie is sent over https alone. Default false: it is no secret.
    pub fn secure(self, is: bool) -> Self {
        self.changed(|options| options.secure = is)
    }
}

impl<S> Layer<S> for TokenLayer {
    type Service = Carried<S>;

    fn layer(&self, inner: S) -> Carried<S> {
        Carried { inner, options: Arc::clone(&self.0) }
    }
}

impl Options {
    /// What a request came with: put into its scope, and that of the cookie given back.
    fn take(&self, headers: &HeaderMap, scope: &Scope) -> std::result::Result<Tokens, Problem> {
        let explicit = match &self.header {
            Some(name) => told(headers, name).map_err(|error| malformed(name, &error))?,
            None => Tokens::default(),
        };
        let came = self.cookie.as_ref().map(|name| cookie::read(headers, name)).unwrap_or_default();
        explicit.iter().chain(came.iter()).for_each(|token| scope.observe(token));
        Ok(came)
    }

    /// What is to be said with an answer.
    fn put(&self, headers: &mut HeaderMap, tokens: &Tokens, came: &Tokens) {
        if tokens.is_empty() {
            return;
        }
        if let Some(name) = &self.header
            && let Ok(value) = HeaderValue::try_from(tokens.to_string())
        {
            headers.insert(name.clone(), value);
        }
        if let Some(name) = self.cookie.as_ref().filter(|_| tokens != came) {
            cookie::write(headers, name, tokens, self.max_age, self.secure);
        }
    }
}

/// The tokens in all lines of a header. Errors: ROUTE-003.
pub(crate) fn told(headers: &HeaderMap, name: &HeaderName) -> Result<Tokens> {
    let mut all = Tokens::default();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| {
            Error::new(Code::RouteToken, "this is no token of a position").why("it is no ASCII")
        })?;
        text.trim().parse::<Tokens>()?.iter().for_each(|token| all.add(token.clone()));
    }
    Ok(all)
}

fn malformed(name: &HeaderName, error: &Error) -> Problem {
    let why = error.reason().unwrap_or("send what the last answer had in it, or leave it out");
    let detail = format!("the header {name} can't be used: {why}");
    Problem::new(StatusCode::BAD_REQUEST, "Malformed header", detail)
        .with_code(Code::RouteToken)
        .with("header", name.as_str())
}
