//! Endpoints with their types, written down once.

use std::marker::PhantomData;

use axum::http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, Calling, Service};

/// What a service offers: a method, a path, what goes in (`B`) and what comes out (`R`).
///
/// ```
/// use mainstay_http::service::Endpoint;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Stock { left: u32 }
/// #[derive(Serialize)]
/// struct Reserve { units: u32 }
///
/// const STOCK: Endpoint<Stock> = Endpoint::get("/stock/{sku}");
/// const RESERVE: Endpoint<Stock, Reserve> = Endpoint::post("/stock/{sku}/reservations");
///
/// # async fn example(inventory: &mainstay_http::service::Service) -> mainstay_core::Result<()> {
/// let stock = inventory.call(&STOCK).arg("sku", "a-1").send().await?;
/// let left = inventory
///     .call_with(&RESERVE, &Reserve { units: stock.left.min(2) })
///     .arg("sku", "a-1")
///     .idempotency_key("order-17")
///     .send()
///     .await?;
/// # let _ = left.left;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Endpoint<R, B = ()> {
    method: Method,
    path: &'static str,
    idempotent: Option<bool>,
    types: PhantomData<fn(B) -> R>,
}

impl<R, B> Endpoint<R, B> {
    /// Any method.
    pub const fn new(method: Method, path: &'static str) -> Self {
        Self { method, path, idempotent: None, types: PhantomData }
    }

    /// GET.
    pub const fn get(path: &'static str) -> Self {
        Self::new(Method::GET, path)
    }

    /// POST.
    pub const fn post(path: &'static str) -> Self {
        Self::new(Method::POST, path)
    }

    /// PUT.
    pub const fn put(path: &'static str) -> Self {
        Self::new(Method::PUT, path)
    }

    /// PATCH.
    pub const fn patch(path: &'static str) -> Self {
        Self::new(Method::PATCH, path)
    }

    /// DELETE.
    pub const fn delete(path: &'static str) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// As [`Call::idempotent`].
    #[must_use]
    pub const fn idempotent(mut self, is: bool) -> Self {
        self.idempotent = Some(is);
        self
    }
}

impl Service {
    /// Begins a call of `endpoint`, which takes no body.
    pub fn call<R>(&self, endpoint: &Endpoint<R>) -> Typed<R> {
        Typed { call: self.of(endpoint), result: PhantomData }
    }

    /// Begins a call of `endpoint` with its body.
    pub fn call_with<R, B: Serialize>(&self, endpoint: &Endpoint<R, B>, body: &B) -> Typed<R> {
        Typed { call: self.of(endpoint).json(body), result: PhantomData }
    }

    fn of<R, B>(&self, endpoint: &Endpoint<R, B>) -> Call {
        let call = self.request(endpoint.method.clone(), endpoint.path);
        match endpoint.idempotent {
            Some(is) => call.idempotent(is),
            None => call,
        }
    }
}

/// A [`Call`] that knows what it answers.
#[derive(Debug)]
#[must_use = "a call does nothing until it is sent"]
pub struct Typed<R> {
    call: Call,
    result: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Typed<R> {
    /// As [`Call::arg`].
    pub fn arg(self, name: &'static str, value: impl ToString) -> Self {
        self.with(|call| call.arg(name, value))
    }

    /// As [`Call::query`].
    pub fn query(self, name: impl Into<String>, value: impl ToString) -> Self {
        self.with(|call| call.query(name, value))
    }

    /// As [`Call::idempotency_key`].
    pub fn idempotency_key(self, key: impl AsRef<str>) -> Self {
        self.with(|call| call.idempotency_key(key))
    }

    /// Whatever else a [`Call`] can do.
    pub fn with(self, set: impl FnOnce(Call) -> Call) -> Self {
        Self { call: set(self.call), result: PhantomData }
    }

    /// As [`Call::send`].
    #[track_caller]
    pub fn send(self) -> Calling<R> {
        self.call.send()
    }
}
