//! What happens to a request before the router sees it, and to its answer afterwards.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::uri::Uri;
use axum::http::{HeaderMap, Method, Response, header};
use axum::response::IntoResponse;

use super::extract::{ApiVersion, Consumer};
use super::known::{self, Known};
use super::layer::Route;
use super::resolve::Resolved;
use super::source::Read;
use super::versions::Inner;
use super::{Stage, refusal};
use crate::limit::is_preflight;

/// What a client is called that does not say.
const UNNAMED: &str = "(unnamed)";

pub(super) enum Admitted {
    /// It may go on, and is of no version.
    Unversioned,
    Version(Pass),
    Refused(Box<Response<Body>>),
}

/// What is kept of a request for its answer.
pub(super) struct Pass {
    resolved: Resolved,
    /// As it came, with the version in its path.
    uri: Uri,
    method: Method,
    client: String,
}

impl Inner {
    pub(super) fn admit(&self, parts: &mut Parts) -> Admitted {
        let resolved = match self.resolve(&parts.uri, &parts.headers) {
            Ok(Some(resolved)) => resolved,
            Ok(None) => return Admitted::Unversioned,
            Err(wrong) if !is_preflight(parts) => {
                let mut response = refusal::misnamed(self, &wrong).into_response();
                self.vary(response.headers_mut());
                return Admitted::Refused(Box::new(response));
            }
            // A browser asks without the header that it asks about. Whatever answers knows no versions.
            Err(_) => {
                if let Some(cut) = self.cut(parts.uri.path()) {
                    rewrite(parts, cut);
                }
                return Admitted::Unversioned;
            }
        };
        let known = &self.known[resolved.place];
        let (uri, method) = (parts.uri.clone(), parts.method.clone());
        let pass = Pass { resolved, uri, method, client: self.client(parts) };
        let stage = if known.ages() { known.stage(self.now()) } else { young(known) };
        if !is_preflight(parts)
            && let Some(refused) = self.refuse(known, stage, &pass)
        {
            return Admitted::Refused(Box::new(refused));
        }
        if let Some(cut) = resolved.cut {
            rewrite(parts, cut);
        }
        parts.extensions.insert(ApiVersion { version: known.version, stage });
        Admitted::Version(pass)
    }

    /// Of a version that has ended or is switched off.
    fn refuse(&self, known: &Known, stage: Stage, pass: &Pass) -> Option<Response<Body>> {
        let problem = if stage == Stage::Sunset {
            refusal::gone(self, known)
        } else {
            if known.windows.is_empty() {
                return None;
            }
            let now = self.now();
            let window = known.brownout(now).filter(|window| window.refuses())?;
            refusal::brownout(self, known, now, window.until)
        };
        self.usage.count(known.version, &route(&pass.method, "unknown"), &pass.client, true);
        observe(known, "refused");
        let mut response = problem.into_response();
        self.write(pass, response.headers_mut());
        Some(response)
    }

    /// Onto the answer of a request that went on.
    pub(super) fn tell(&self, pass: &Pass, response: &mut Response<Body>) {
        let known = &self.known[pass.resolved.place];
        let matched = response.extensions_mut().remove::<Route>();
        let path = matched.as_ref().map_or("unknown", |route| route.0.as_str());
        let consumer = response.extensions_mut().remove::<Consumer>();
        let client = consumer.as_ref().map_or(pass.client.as_str(), |consumer| &consumer.0);
        self.usage.count(known.version, &route(&pass.method, path), client, false);
        observe(known, "answered");
        let headers = response.headers_mut();
        self.write(pass, headers);
        if pass.resolved.in_accept
            && let Some(media) = &known.media
            && headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
        {
            headers.insert(header::CONTENT_TYPE, media.clone());
        }
    }

    fn write(&self, pass: &Pass, headers: &mut HeaderMap) {
        let known = &self.known[pass.resolved.place];
        self.vary(headers);
        let named = self.sources.iter().find_map(|source| match source {
            Read::Header(name) => Some(name),
            _ => None,
        });
        if let Some(name) = named {
            headers.insert(name.clone(), known.told.clone());
        }
        if known.is_ending() {
            known.tell(headers, self.successor(known, pass));
        }
    }

    /// The same resource in the successor's version, where its URI can say so.
    fn successor(&self, known: &Known, pass: &Pass) -> Option<String> {
        let successor = self.known[known.successor?].version;
        let path = pass.uri.path();
        if let Some(cut) = pass.resolved.cut {
            return known::in_path(path, cut, successor);
        }
        self.sources.iter().find_map(|source| match source {
            Read::Path => known::in_path(path, (self.under.len(), self.under.len()), successor),
            Read::Query(name) => known::in_query(path, name, successor),
            Read::Header(_) | Read::Media(_) => None,
        })
    }

    fn vary(&self, headers: &mut HeaderMap) {
        if let Some(vary) = &self.vary {
            headers.append(header::VARY, vary.clone());
        }
    }

    fn client(&self, parts: &Parts) -> String {
        let agent = || {
            let agent = parts.headers.get(header::USER_AGENT)?.to_str().ok()?;
            agent.split_ascii_whitespace().next()
        };
        match &self.who {
            Some(who) => who(parts).unwrap_or_else(|| UNNAMED.to_owned()),
            None => agent().unwrap_or(UNNAMED).to_owned(),
        }
    }
}

/// Of a version that time does not change.
fn young(known: &Known) -> Stage {
    if known.is_beta() { Stage::Beta } else { Stage::Current }
}

fn rewrite(parts: &mut Parts, cut: (usize, usize)) {
    if let Some(uri) = known::without(&parts.uri, cut) {
        parts.uri = uri;
    }
}

/// A method that somebody made up is no route of ours.
fn route(method: &Method, path: &str) -> String {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    let method = if KNOWN.contains(method) { method.as_str() } else { "OTHER" };
    format!("{method} {path}")
}

/// `mainstay.http.versions`: a counter by `version` and `outcome`, answered or refused.
fn observe(known: &Known, outcome: &'static str) {
    tracing::trace!(version = %known.version, outcome, "version");
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "mainstay.http.versions",
        "version" => known.version.to_string(), "outcome" => outcome
    )
    .increment(1);
}
