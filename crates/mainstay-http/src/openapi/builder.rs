//! What the documents are derived from, and the checks before they are.

use std::fmt;

use axum::http::Method;
use mainstay_core::{Code, Error, Result};
use serde_json::Value;
use utoipa::openapi::OpenApi;

use super::components::referred;
use super::derive;
use super::documents::Documents;
use super::types::{Described, Exchange};
use crate::version::{Version, Versions};

/// Made by [`Versions::documents`].
#[derive(Clone)]
pub struct DocumentsBuilder {
    pub(super) versions: Versions,
    newest: OpenApi,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    verb: Method,
    pub(super) path: String,
    /// In lower case, as documents have it.
    pub(super) method: String,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Changed { since: Vec<Version>, exchange: fn(Version) -> Exchange, name: &'static str },
    Since(Version),
    Until(Version),
    Replaced { since: Version, old: Value },
}

impl Versions {
    /// Begins the documents of these versions. `newest` describes every operation that any version has, each
    /// in its newest types, at the path that the router has for it: with [`under`]'s path, without a version.
    ///
    /// [`under`]: crate::VersionsBuilder::under
    pub fn documents(&self, newest: OpenApi) -> DocumentsBuilder {
        DocumentsBuilder { versions: self.clone(), newest, rules: Vec::new() }
    }
}

impl DocumentsBuilder {
    /// The changes of an operation, as its handler has them: older versions send and get the older types.
    /// That is its JSON request and its JSON answers with a status of 2xx.
    pub fn changed<C: Described>(self, method: Method, path: impl Into<String>) -> Self {
        let (since, name) = (C::since(), std::any::type_name::<C>());
        self.rule(method, path, What::Changed { since, exchange: C::exchange, name })
    }

    /// An operation that came with `version`: older ones do not have it.
    pub fn since(self, method: Method, path: impl Into<String>, version: Version) -> Self {
        self.rule(method, path, What::Since(version))
    }

    /// An operation that was removed in `version`: older ones alone have it.
    pub fn until(self, method: Method, path: impl Into<String>, version: Version) -> Self {
        self.rule(method, path, What::Until(version))
    }

    /// An operation that another handler answers since `version`, as with [`Since`](crate::Since): older
    /// versions have the operation of that method and path in `old`.
    pub fn replaced(
        self,
        method: Method,
        path: impl Into<String>,
        version: Version,
        old: &OpenApi,
    ) -> Self {
        let old = serde_json::to_value(old).unwrap_or_default();
        self.rule(method, path, What::Replaced { since: version, old })
    }

    fn rule(mut self, verb: Method, path: impl Into<String>, what: What) -> Self {
        let method = verb.as_str().to_ascii_lowercase();
        self.rules.push(Rule { verb, path: path.into(), method, what });
        self
    }

    /// The documents. Errors: HTTP-004 where an operation is not in the document, a version does not exist, an
    /// operation ends before it begins, its newest types are not what its changes end with, or two paths
    /// are one without what versions are under.
    pub fn build(self) -> Result<Documents> {
        let newest = serde_json::to_value(&self.newest).map_err(|error| {
            Error::new(Code::HttpOption, "the newest document is no JSON").cause(error)
        })?;
        for rule in &self.rules {
            self.check(rule, &newest)?;
        }
        let naming = self.versions.naming();
        let derived = self
            .versions
            .lives()
            .into_iter()
            .map(|life| derive::derive(&self.versions, &newest, &self.rules, &naming, life))
            .collect::<Result<Vec<_>>>()?;
        Ok(Documents::new(self.versions, derived))
    }

    fn check(&self, rule: &Rule, newest: &Value) -> Result<()> {
        let Rule { path, method, what, .. } = rule;
        let told = rule.told();
        let Some(operation) = rule.find(newest) else { return Err(missing(rule, newest)) };
        match what {
            What::Since(version) | What::Until(version) => {
                self.versions.must_have(*version, &format!("{told} came or went with"))?;
            }
            What::Replaced { since, old } => {
                self.versions.must_have(*since, &format!("{told} was replaced in"))?;
                if rule.find(old).is_none() {
                    return Err(missing(rule, old)
                        .note(format!("in the document of what was before version {since}")));
                }
            }
            What::Changed { since, exchange, name } => {
                for version in since {
                    let what = format!("{told} changed in");
                    self.versions
                        .must_have(*version, &what)
                        .map_err(|e| e.note(format!("in {name}")))?;
                }
                let Some(newest) = since.last().map(|version| exchange(*version)) else {
                    return Ok(());
                };
                let request = newest.request.and_then(|request| request.name);
                let body = operation.get("requestBody").into_iter();
                ends_with(&told, "takes", body, request.as_deref(), name)?;
                let answers = operation.get("responses").and_then(Value::as_object);
                let answers = answers.into_iter().flatten();
                let good = answers.filter(|(status, _)| status.starts_with('2'));
                let good = good.map(|(_, answer)| answer);
                ends_with(&told, "gives", good, newest.response.name.as_deref(), name)?;
            }
        }
        let same = |other: &&Rule| other.path == *path && other.method == *method;
        for other in self.rules.iter().filter(same) {
            if let (What::Since(since), What::Until(until)) = (what, &other.what)
                && since >= until
            {
                let what = format!("{told} came with version {since}, and went with {until}");
                return Err(Error::new(Code::HttpOption, what));
            }
        }
        Ok(())
    }
}

impl Rule {
    /// `POST /orders`.
    pub(super) fn told(&self) -> String {
        format!("{} {}", self.verb, self.path)
    }

    pub(super) fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        document.get("paths")?.get(&self.path)?.get(&self.method)
    }
}

/// That what the document says by name is what the chain `name` ends with.
fn ends_with<'a>(
    told: &str,
    does: &str,
    messages: impl Iterator<Item = &'a Value>,
    ends: Option<&str>,
    name: &str,
) -> Result<()> {
    for message in messages {
        let schema = message.pointer("/content/application~1json/schema");
        if let (Some(ends), Some(has)) = (ends, schema.and_then(referred))
            && ends != has
        {
            let what = format!("{told} {does} {has}, and its changes end with {ends}");
            return Err(Error::new(Code::HttpOption, what)
                .why(format!("the chain is {name}"))
                .fix("give the chain that the handler has"));
        }
    }
    Ok(())
}

fn missing(rule: &Rule, document: &Value) -> Error {
    let what = format!("the document has no operation {}", rule.told());
    let paths = document["paths"].as_object();
    let known: Vec<&str> = paths.into_iter().flatten().map(|(path, _)| path.as_str()).collect();
    Error::new(Code::HttpOption, what)
        .why(format!("its paths are {}", known.join(", ")))
        .fix("write the path as #[utoipa::path] has it, and name the handler in paths(..)")
}

impl fmt::Debug for DocumentsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentsBuilder").field("rules", &self.rules).finish_non_exhaustive()
    }
}
