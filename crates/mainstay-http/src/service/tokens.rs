//! Tokens with a call: those of the request that makes it go there, and those of the answer come back.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_core::Result;
use mainstay_core::scope::Scope;

use super::{Failure, Reply};
use crate::token::told;

/// Those of the current scope. It waits for positions that are not known yet.
pub(super) async fn put(headers: &mut HeaderMap, name: &HeaderName) {
    let Some(scope) = Scope::current() else { return };
    let tokens = scope.tokens().await;
    if !tokens.is_empty()
        && let Ok(value) = HeaderValue::try_from(tokens.to_string())
    {
        headers.insert(name.clone(), value);
    }
}

/// Those of an answer, a failure too: it may have written before it failed.
pub(super) fn take(outcome: &Result<Reply>, name: &HeaderName) {
    let reply = match outcome {
        Ok(reply) => Some(reply),
        Err(error) => error.detail::<Failure>().and_then(|failure| failure.reply.as_ref()),
    };
    let (Some(reply), Some(scope)) = (reply, Scope::current()) else { return };
    match told(reply.headers(), name) {
        Ok(tokens) => tokens.iter().for_each(|token| scope.observe(token)),
        Err(error) => tracing::debug!(code = %error.code(), "a token is passed over: {error}"),
    }
}
