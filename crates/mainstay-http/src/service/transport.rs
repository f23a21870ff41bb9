//! One exchange with one target, by hyper's pooled client: whole, bounded, with redirects if wanted.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use mainstay_core::Result;

use super::failure::Cause;
use super::target::Target;
use super::tls::{self, Connector, Trust, connector};

/// Idle connections that are kept, and for how long: less than servers keep them.
const IDLE_MAX: usize = 128;
const IDLE_TIME: Duration = Duration::from_secs(15);
/// The largest head of an answer.
const HEAD_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Transport {
    client: Client<Connector, Body>,
    pub(super) max_body: usize,
    pub(super) redirects: u8,
}

/// What is sent, once and maybe again.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: &'a Bytes,
}

/// How an exchange failed: what it was, in a few words, and by what.
pub(super) type Broken = (Cause, String, Option<BoxError>);

impl Transport {
    /// `trust` is for the targets over https, if there are any. Errors: HTTP-004 where TLS can't be set
    /// up at all.
    pub(super) fn new(
        connect_timeout: Duration,
        max_body: usize,
        redirects: u8,
        trust: Trust,
    ) -> Result<Self> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(connect_timeout));
        http.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_MAX)
            .http1_max_buf_size(HEAD_MAX)
            .build(connector(http, trust)?);
        Ok(Self { client, max_body, redirects })
    }

    pub(super) async fn exchange(
        &self,
        target: &Target,
        message: Message<'_>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Broken> {
        let mut path = format!("{}{}", target.prefix, message.path);
        let follows = matches!(*message.method, Method::GET | Method::HEAD);
        for hop in 0.. {
            let response = self.send(target, &path, &message).await?;
            let place = moved(&response).filter(|_| follows && self.redirects > 0);
            let Some(place) = place else {
                let (parts, body) = response.into_parts();
                let body = self.read(body).await?;
                return Ok((parts.status, parts.headers, body));
            };
            if hop >= self.redirects {
                let note = format!("it redirected {} times and would again", self.redirects);
                return Err((Cause::Redirects, note, None));
            }
            path = within(target, &place)?;
        }
        Err((Cause::Redirects, "it redirects without end".to_owned(), None))
    }

    async fn send(
        &self,
        target: &Target,
        path: &str,
        message: &Message<'_>,
    ) -> Result<Response<Incoming>, Broken> {
        let uri = Uri::builder()
            .scheme(target.scheme.clone())
            .authority(target.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|e| (Cause::Redirects, "there is no such path".to_owned(), Some(e.into())))?;
        let mut request = Request::new(Body::from(message.body.clone()));
        *request.method_mut() = message.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = message.headers.clone();
        self.client.request(request).await.map_err(|error| {
            let (cause, note) = match tls::distrust(&error) {
                Some(why) => (Cause::Untrusted, why),
                None if error.is_connect() => (Cause::Connect, "no connection".to_owned()),
                None => {
                    let (cause, note) = understood(&error);
                    (cause, note.to_owned())
                }
            };
            (cause, note, Some(error.into()))
        })
    }

    /// The whole body, no larger than allowed.
    async fn read(&self, mut body: Incoming) -> Result<Bytes, Broken> {
        let large = || {
            let note = format!("the body is larger than {} bytes", self.max_body);
            (Cause::TooLarge, note, None)
        };
        if body.size_hint().lower() > self.max_body as u64 {
            return Err(large());
        }
        let mut whole = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|error| {
                let (cause, note) = understood(&error);
                (cause, note.to_owned(), Some(error.into()))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > self.max_body {
                return Err(large());
            }
            // Most bodies come in one piece.
            if whole.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.into())
    }
}

/// Whether it was not HTTP, or there was no more of it.
fn understood(error: &(dyn StdError + 'static)) -> (Cause, &'static str) {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(hyper) = error.downcast_ref::<hyper::Error>()
            && hyper.is_parse()
        {
            return (Cause::Garbage, "its answer is not HTTP");
        }
        next = error.source();
    }
    (Cause::Lost, "the connection broke off")
}

/// Where an answer sends whoever asked.
fn moved(response: &Response<Incoming>) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let place = response.headers().get(header::LOCATION)?;
    Some(String::from_utf8_lossy(place.as_bytes()).into_owned())
}

/// The path at the same target: elsewhere, nobody said that the call's headers may go.
fn within(target: &Target, place: &str) -> Result<String, Broken> {
    let elsewhere = || (Cause::Redirects, "it redirects to somewhere else".to_owned(), None);
    let uri: Uri = place.parse().map_err(|_| elsewhere())?;
    let same = match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) => {
            *scheme == target.scheme && *authority == target.authority
        }
        (None, None) => place.starts_with('/'),
        _ => false,
    };
    let path = uri.path_and_query().filter(|_| same).ok_or_else(elsewhere)?;
    Ok(path.as_str().to_owned())
}
