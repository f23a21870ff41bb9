//! One call as the program writes it.

use std::borrow::Cow;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use mainstay_core::error::Place;
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Reply, Service, Trace, path, run, tokens};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A call that is being written: awaited, it is a [`Reply`]; by [`send`](Self::send), a value.
///
/// Whatever is wrong with it is told when it is sent. Cancel safe: dropped while it is under way, its
/// connection is closed and its places come back; the other side may have done it all the same.
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited or sent"]
pub struct Call {
    service: Service,
    method: Method,
    template: Cow<'static, str>,
    args: Vec<(&'static str, String)>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    safe: bool,
    timeout: Option<Duration>,
    wrong: Option<Error>,
}

/// A call ready to be made.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) method: Method,
    /// The path as the program wrote it: of few values.
    pub(super) template: Cow<'static, str>,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// It may be done twice.
    pub(super) safe: bool,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
    pub(super) trace: Trace,
    pub(super) place: Place,
}

/// What a call becomes.
pub type Calling<R> = Pin<Box<dyn Future<Output = Result<R>> + Send>>;

impl Call {
    pub(super) fn new(service: Service, method: Method, template: Cow<'static, str>) -> Self {
        let safe = method.is_idempotent();
        Self {
            service,
            method,
            template,
            args: Vec::new(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            safe,
            timeout: None,
            wrong: None,
        }
    }

    /// What `{name}` in the path stands for: one segment, whatever it holds.
    #[expect(clippy::needless_pass_by_value, reason = "a number is passed as it is")]
    pub fn arg(mut self, name: &'static str, value: impl ToString) -> Self {
        self.args.push((name, value.to_string()));
        self
    }

    /// One more parameter of the query.
    #[expect(clippy::needless_pass_by_value, reason = "a number is passed as it is")]
    pub fn query(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }

    /// A header, in place of one of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => self.is_wrong(&format!("no header can be {name:?} with this value")),
        }
        self
    }

    /// A JSON body.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => self.body = body.into(),
            Err(error) => self.is_wrong(&format!("its body can't be JSON: {error}")),
        }
        self.typed("application/json")
    }

    /// A body of any kind.
    pub fn body(mut self, kind: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.typed(kind)
    }

    fn typed(mut self, kind: &'static str) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        self
    }

    /// The header `Idempotency-Key`, by which the other side does it once however often it is asked: so
    /// it may be tried again. One key for one thing to be done, not for one attempt.
    pub fn idempotency_key(mut self, key: impl AsRef<str>) -> Self {
        match HeaderValue::try_from(key.as_ref()) {
            Ok(key) if !key.is_empty() => {
                self.headers.insert(IDEMPOTENCY_KEY, key);
                self.safe = true;
            }
            _ => self.is_wrong("its idempotency key is empty or can't be a header"),
        }
        self
    }

    /// Says that doing it twice is as good as once, where its method does not say so, or the contrary.
    /// Default: GET, HEAD, OPTIONS, TRACE, PUT and DELETE are, POST and PATCH are not.
    pub fn idempotent(mut self, is: bool) -> Self {
        self.safe = is;
        self
    }

    /// How long it may take, in place of the service's timeout.
    pub fn timeout(mut self, within: Duration) -> Self {
        self.timeout = Some(within);
        self
    }

    /// Makes the call, and reads the answer as JSON. Errors: as awaiting it; HTTP-036 where the answer
    /// is a refusal (4xx), HTTP-035 where it is a redirect or not such JSON.
    #[track_caller]
    pub fn send<R: DeserializeOwned>(self) -> Calling<R> {
        let place = Place::here();
        let reply = self.reply();
        Box::pin(async move { reply.await?.value().map_err(|error| error.at(place)) })
    }

    /// Makes the call. An answer is a reply, a refusal too. Errors: HTTP-030 to HTTP-035, with a
    /// [`Failure`](super::Failure), where no target answers or it answers that it failed (5xx, 429);
    /// HTTP-037 where the call can't be made as it is written.
    #[track_caller]
    pub fn reply(self) -> Calling<Reply> {
        let place = Place::here();
        // Told here, at the caller's place; the call itself begins when it is first polled.
        #[cfg(feature = "db")]
        mainstay_db::network_call(&format!(
            "{} {} {}",
            self.method,
            self.service.name(),
            self.template
        ));
        Box::pin(async move {
            let service = self.service.clone();
            let mut order = self.order(place)?;
            let Some(header) = &service.0.tokens else {
                return run::call(&service.0, &order).await;
            };
            tokens::put(&mut order.headers, header).await;
            let reply = run::call(&service.0, &order).await;
            tokens::take(&reply, header);
            reply
        })
    }

    fn order(mut self, place: Place) -> Result<Order> {
        if let Some(wrong) = self.wrong {
            return Err(wrong.at(place));
        }
        let inner = &self.service.0;
        let mut path = path::fill(&self.template, &self.args).map_err(|error| error.at(place))?;
        for (name, value) in &self.query {
            path::add_query(&mut path, name, value);
        }
        for (name, value) in &inner.headers {
            self.headers.entry(name).or_insert_with(|| value.clone());
        }
        let begun = inner.clock.now();
        let deadline = begun + self.timeout.unwrap_or(inner.timeout);
        let limit = Scope::current().and_then(|scope| scope.deadline());
        Ok(Order {
            deadline: limit.map_or(deadline, |limit| limit.min(deadline)),
            trace: Trace::current().unwrap_or_else(|| Trace::begin(&inner.rng)),
            method: self.method,
            template: self.template,
            path,
            headers: self.headers,
            body: self.body,
            safe: self.safe,
            begun,
            place,
        })
    }

    fn is_wrong(&mut self, why: &str) {
        let what = format!("{} {} {}: {why}", self.method, self.service.name(), self.template);
        self.wrong.get_or_insert_with(|| Error::new(Code::ServiceCall, what));
    }
}

impl IntoFuture for Call {
    type Output = Result<Reply>;
    type IntoFuture = Calling<Reply>;

    #[track_caller]
    fn into_future(self) -> Calling<Reply> {
        self.reply()
    }
}
