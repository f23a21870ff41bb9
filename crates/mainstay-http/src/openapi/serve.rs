//! The documents over HTTP, and the viewer.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, Url};

use super::documents::Documents;
use crate::problem::{Answer, Problem};
use crate::version::described::segment;

impl Documents {
    /// Routes for the documents, `/openapi/v1.json` or `/openapi/2026-03-01.json`, and for a viewer of all of
    /// them at `/docs`, the newest first. The viewer is Swagger UI, whose files are in the binary: it asks
    /// nothing of any other host.
    ///
    /// Links between them are relative, so they may be nested under any path. Merge them beside what
    /// [`Versions::wrap`] gives; inside of it they are well too where they are not [under] the versions'
    /// path. Where versions are under `/`, inside means that who asks must name a version, and is counted as a
    /// user of it.
    ///
    /// ```
    /// # use axum::Router;
    /// # use mainstay_http::{Versions, openapi::Documents};
    /// # fn example(versions: Versions, documents: Documents, routes: Router) -> Router {
    /// versions.wrap(routes).merge(documents.router())
    /// # }
    /// ```
    ///
    /// [`Versions::wrap`]: crate::Versions::wrap
    /// [under]: crate::VersionsBuilder::under
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (json, file) = (self.clone(), self.clone());
        let index = self.clone();
        Router::new()
            .route("/openapi/{file}", get(async move |Path(name)| json.json(name)))
            .route("/docs", get(async || Redirect))
            .route("/docs/", get(async move || index.viewer("index.html")))
            .route("/docs/{*file}", get(async move |Path(name): Path<String>| file.viewer(&name)))
    }

    fn json(&self, name: String) -> Answer<Response> {
        let version = name
            .strip_suffix(".json")
            .and_then(|name| self.versions().find(|version| segment(*version) == name));
        let Some(bytes) = version.and_then(|version| self.bytes(version)) else {
            return Err(Problem::not_found("document", name));
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            // It changes with the time, and with each deployment.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        Ok((headers, bytes).into_response())
    }

    fn viewer(&self, file: &str) -> Answer<Response> {
        let mut versions: Vec<_> = self.versions().collect();
        versions.reverse();
        let named = versions.iter().map(|version| {
            (self.title(*version), format!("../openapi/{}.json", segment(*version)))
        });
        let named: Vec<(String, String)> = named.collect();
        let urls = named.iter().map(|(name, url)| Url::new(name, url));
        // Without `none`, a document of a public host would be sent to a validator elsewhere.
        let config =
            Config::new(urls).validator_url("none").deep_linking(true).show_extensions(true);
        match utoipa_swagger_ui::serve(file, Arc::new(config)) {
            Ok(Some(file)) => {
                let kind = HeaderValue::try_from(file.content_type)
                    .unwrap_or(HeaderValue::from_static("application/octet-stream"));
                Ok(([(header::CONTENT_TYPE, kind)], file.bytes.into_owned()).into_response())
            }
            Ok(None) => Err(Problem::not_found("file", file)),
            Err(error) => {
                tracing::error!("the viewer of the OpenAPI documents: {error}");
                let detail = "the operator has been told";
                Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail))
            }
        }
    }
}

/// To where the viewer's own links are right, wherever it is nested.
struct Redirect;

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        let location = [(header::LOCATION, HeaderValue::from_static("docs/"))];
        (StatusCode::PERMANENT_REDIRECT, location).into_response()
    }
}
