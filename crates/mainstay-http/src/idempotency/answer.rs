//! An answer as it is stored, and as it comes back.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use mainstay_core::{Code, Error, Result};

use super::IDEMPOTENCY_REPLAYED;
use super::body::{self, Unread};
use super::layer::Options;

/// A row of the table.
pub(super) struct Stored {
    pub(super) fingerprint: Vec<u8>,
    pub(super) answer: Kept,
}

/// What is kept of an answer.
#[derive(Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) status: i32,
    /// `name: value`, a line each.
    pub(super) headers: Vec<u8>,
    pub(super) body: Bytes,
}

/// `response` with its body in memory, and what is stored of it.
///
/// Errors: HTTP-024: too large, or its body broke off.
pub(super) async fn keep(response: Response, options: &Options) -> Result<(Response, Kept)> {
    let max = options.answer_max;
    let (parts, content) = response.into_parts();
    let headers = lines(&parts.headers, &options.headers);
    let Some(room) = max.checked_sub(headers.len()) else { return Err(too_large(max)) };
    let body = body::collect(content, room).await.map_err(|unread| match unread {
        Unread::TooLarge => too_large(max),
        Unread::Broken(error) => {
            Error::new(Code::HttpKeyAnswer, "the answer's body broke off").cause(error)
        }
    })?;
    let kept = Kept { status: i32::from(parts.status.as_u16()), headers, body: body.clone() };
    Ok((Response::from_parts(parts, Body::from(body)), kept))
}

fn too_large(max: usize) -> Error {
    let what = format!("an answer has more than the {max} bytes that are kept for its key");
    Error::new(Code::HttpKeyAnswer, what).why("the work was rolled back")
}

/// No header has a line break in it.
fn lines(headers: &HeaderMap, kept: &[HeaderName]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| kept.contains(name)) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon..].strip_prefix(b": ")?);
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}

impl Stored {
    /// Errors: DB-015, where somebody else wrote the row.
    pub(super) fn into_response(self) -> Result<Response> {
        let damaged = || Error::new(Code::Decode, "a stored answer can't be read");
        let Kept { status, headers, body } = self.answer;
        let mut response = Response::new(Body::from(body));
        let status = u16::try_from(status).ok().and_then(|s| StatusCode::from_u16(s).ok());
        *response.status_mut() = status.ok_or_else(damaged)?;
        for line in headers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (name, value) = header(line).ok_or_else(damaged)?;
            response.headers_mut().append(name, value);
        }
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;
    use crate::idempotency::IdempotencyLayer;

    #[tokio::test]
    async fn an_answer_comes_back_as_it_was() {
        let options = IdempotencyLayer::by(Key::global()).unwrap().answer_max(100).0;
        let answer = || {
            Response::builder()
                .status(201)
                .header("location", "/orders/7")
                .header("link", "<a>")
                .header("link", HeaderValue::from_bytes(b"<\xe4>").unwrap())
                .header("set-cookie", "secret")
        };
        let (first, kept) = keep(answer().body("made".into()).unwrap(), &options).await.unwrap();
        assert_eq!((first.status().as_u16(), first.headers().len()), (201, 4));
        let stored = Stored { fingerprint: Vec::new(), answer: kept };
        let again = stored.into_response().unwrap();
        assert_eq!((again.status().as_u16(), again.headers().len()), (201, 4));
        assert_eq!(again.headers()["location"], "/orders/7");
        let links: Vec<_> = again.headers().get_all("link").iter().map(|v| v.as_bytes()).collect();
        assert_eq!(links, [&b"<a>"[..], b"<\xe4>"]);
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        assert_eq!(body::collect(again.into_body(), 9).await.unwrap(), "made");
        let large = keep(answer().body("x".repeat(100).into()).unwrap(), &options).await;
        assert_eq!(large.unwrap_err().code(), Code::HttpKeyAnswer);
    }

    #[test]
    fn a_damaged_row_is_an_error() {
        for (status, headers) in
            [(0, "a: b\n"), (70_000, ""), (200, "a\n"), (200, "a:b\n"), (200, " : b\n")]
        {
            let answer = Kept { status, headers: headers.into(), body: Bytes::new() };
            assert!(
                Stored { fingerprint: Vec::new(), answer }.into_response().is_err(),
                "{headers:?}"
            );
        }
    }
}
