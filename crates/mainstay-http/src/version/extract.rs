//! The version of a request, for its handler.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};
use mainstay_core::Code;

use super::{Stage, Version};
use crate::problem::Problem;

/// The version of a request, which [`Versions`](super::Versions) around the router put there: an
/// extractor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersion {
    pub(super) version: Version,
    pub(super) stage: Stage,
}

impl ApiVersion {
    /// Which.
    pub fn version(self) -> Version {
        self.version
    }

    /// Where it stood when the request came.
    pub fn stage(self) -> Stage {
        self.stage
    }

    /// Whether it is this version or a newer one: `version.is_since(Version::number(2))`.
    pub fn is_since(self, version: Version) -> bool {
        self.version >= version
    }

    /// Of a request's extensions; a 500 without one, since whoever asks relies on it.
    pub(super) fn of(extensions: &Extensions) -> Result<Self, Problem> {
        extensions.get::<Self>().copied().ok_or_else(|| {
            tracing::error!(
                "HTTP-004: a handler needs the version of a request that has none; put \
                 Versions::wrap around the router, and the route under its path"
            );
            let detail = "the operator has been told";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail)
                .with_code(Code::HttpOption)
        })
    }
}

impl<S: Sync> FromRequestParts<S> for ApiVersion {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(&parts.extensions)
    }
}

/// Who used a version, told by what is inside and knows: an authentication layer or a handler puts it
/// into the answer's extensions. It is shown to operators, so it must be no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer(pub std::sync::Arc<str>);
