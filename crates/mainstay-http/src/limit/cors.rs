//! What lets a browser's script read a refusal.

use axum::http::{HeaderMap, HeaderValue, header};

use super::Families;

/// The origins whose scripts may read a refusal and its headers.
///
/// It speaks of refusals alone: for answers of handlers there is tower-http's `CorsLayer`, which
/// overwrites what is said here where it is around this layer.
///
/// ```
/// use mainstay_http::Cors;
///
/// let cors = Cors::origins(["https://app.example.com"]).credentials();
/// # let _ = cors;
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    /// `None` is any.
    origins: Option<Vec<String>>,
    credentials: bool,
}

impl Cors {
    /// These origins, each as a browser writes it: scheme, host, and port where it is not the usual one.
    pub fn origins<T: Into<String>>(origins: impl IntoIterator<Item = T>) -> Self {
        let origins = origins.into_iter().map(Into::into).collect();
        Self { origins: Some(origins), credentials: false }
    }

    /// Whatever origin asks, save `null`, which is nobody's.
    pub fn mirror() -> Self {
        Self { origins: None, credentials: false }
    }

    /// Also where the request was sent with cookies.
    pub fn credentials(mut self) -> Self {
        self.credentials = true;
        self
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        match &self.origins {
            Some(origins) => origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()),
            None => origin != "null",
        }
    }

    /// Onto a refusal of a request from `origin`.
    pub(super) fn apply(
        &self,
        headers: &mut HeaderMap,
        origin: Option<&HeaderValue>,
        families: Families,
    ) {
        // Also where none is allowed: a cache must not keep it for those who are.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let exposed = HeaderValue::from_static(families.exposed());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}
