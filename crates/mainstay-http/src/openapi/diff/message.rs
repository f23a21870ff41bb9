//! Parameters, bodies, answers and their headers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{At, Comparing, Side, target};
use crate::version::Version;

const JSON: &str = "application/json";
/// Headers that OpenAPI says elsewhere.
const ELSEWHERE: [&str; 3] = ["accept", "authorization", "content-type"];

/// Where a parameter is and what it is called; in a path its place counts, not its name.
type Key = (String, String);

impl<'a> Comparing<'a> {
    pub(super) fn parameters(
        &mut self,
        (old, old_path): ([&'a Value; 2], &str),
        (new, new_path): ([&'a Value; 2], &str),
    ) {
        let olds = parameters(self.old, old, old_path);
        let news = parameters(self.new, new, new_path);
        for (key, old) in &olds {
            let place = told(old);
            match news.get(key) {
                Some(new) => self.parameter(old, new, &place),
                None => self.note(true, "parameter-removed", &place, "it is gone".to_owned()),
            }
        }
        for (key, new) in news.iter().filter(|(key, _)| !olds.contains_key(*key)) {
            let place = told(new);
            if is_required(new) && key.0 != "path" {
                self.note(true, "parameter-required", &place, "it is new and required".to_owned());
            } else {
                self.note(false, "parameter-added", &place, "it is new".to_owned());
            }
        }
    }

    fn parameter(&mut self, old: &'a Value, new: &'a Value, place: &str) {
        match (is_required(old), is_required(new)) {
            (false, true) => {
                self.note(true, "parameter-required", place, "it is required now".to_owned());
            }
            (true, false) => {
                self.note(
                    false,
                    "parameter-optional",
                    place,
                    "it is no longer required".to_owned(),
                );
            }
            _ => {}
        }
        let (before, after) = (written(old), written(new));
        if before != after {
            let what = format!("it is written as {after}, and was as {before}");
            self.note(true, "parameter-written", place, what);
        }
        if let (Some(old), Some(new)) = (schema(old), schema(new)) {
            self.root(old, new, &At::new(Side::Request, place));
        }
    }

    pub(super) fn request_body(&mut self, old: Option<&'a Value>, new: Option<&'a Value>) {
        let old = old.map(|body| target(self.old, body));
        let new = new.map(|body| target(self.new, body));
        let place = "request body";
        let required = |body: &Value| body["required"] == true;
        match (old, new) {
            (None, None) => {}
            (Some(_), None) => {
                self.note(true, "body-removed", place, "it is gone".to_owned());
            }
            (None, Some(new)) if required(new) => {
                self.note(true, "body-required", place, "it is new and required".to_owned());
            }
            (None, Some(_)) => self.note(false, "body-added", place, "it is new".to_owned()),
            (Some(old), Some(new)) => {
                match (required(old), required(new)) {
                    (false, true) => {
                        self.note(true, "body-required", place, "it is required now".to_owned());
                    }
                    (true, false) => {
                        let what = "it is no longer required".to_owned();
                        self.note(false, "body-optional", place, what);
                    }
                    _ => {}
                }
                self.content(old, new, &At::new(Side::Request, place));
            }
        }
    }

    /// Only those of success can be missed; errors may come and go.
    pub(super) fn responses(&mut self, old: &'a Value, new: &'a Value) {
        let olds = answers(self.old, old);
        let news = answers(self.new, new);
        for (status, old) in &olds {
            let place = format!("response {status}");
            let range = format!("{}XX", status.get(..1).unwrap_or_default());
            let same = [status.as_str(), &range, "default"];
            match same.iter().find_map(|status| news.get(*status)) {
                Some(new) => {
                    self.headers(old, new, &place);
                    self.content(old, new, &At::new(Side::Response, place));
                }
                None if is_success(status) => {
                    self.note(true, "response-removed", &place, "it is gone".to_owned());
                }
                None => {}
            }
        }
        for status in news.keys().filter(|status| is_success(status)) {
            let range = format!("{}XX", &status[..1]);
            if !olds.contains_key(status) && !olds.contains_key(&range) {
                let place = format!("response {status}");
                self.note(false, "response-added", &place, "it is new".to_owned());
            }
        }
    }

    fn headers(&mut self, old: &'a Value, new: &'a Value, place: &str) {
        let named = |document: &'a Value, answer: &'a Value| -> BTreeMap<String, &'a Value> {
            let headers = answer.get("headers").and_then(Value::as_object);
            let headers = headers.into_iter().flatten();
            headers.map(|(name, of)| (name.to_ascii_lowercase(), target(document, of))).collect()
        };
        let news = named(self.new, new);
        for (name, old) in named(self.old, old) {
            let place = format!("{place} header `{name}`");
            match news.get(&name) {
                None => self.note(true, "header-removed", &place, "it is gone".to_owned()),
                Some(new) => {
                    if let (Some(old), Some(new)) = (schema(old), schema(new)) {
                        self.root(old, new, &At::new(Side::Response, place));
                    }
                }
            }
        }
    }

    fn content(&mut self, old: &'a Value, new: &'a Value, at: &At) {
        let (olds, news) = (media(old), media(new));
        let mut compared: Vec<(&Value, &Value)> = Vec::new();
        for (kind, old) in &olds {
            let Some(new) = news.get(kind).or_else(|| wider(kind, &news)) else {
                let what = format!("the media type {kind} is gone");
                self.note(true, "media-type-removed", &at.place, what);
                continue;
            };
            // The vendor's media type beside JSON has the same schema.
            if let (Some(old), Some(new)) = (old.get("schema"), new.get("schema"))
                && !compared.contains(&(old, new))
            {
                compared.push((old, new));
                let place = if kind == JSON || olds.len() == 1 {
                    String::new()
                } else {
                    format!(" ({kind})")
                };
                self.root(old, new, &At::new(at.side, format!("{}{place}", at.place)));
            }
        }
        for kind in news.keys().filter(|kind| !olds.contains_key(*kind)) {
            if wider(kind, &olds).is_none() {
                let what = format!("the media type {kind} is new");
                self.note(false, "media-type-added", &at.place, what);
            }
        }
    }

    fn root(&mut self, old: &'a Value, new: &'a Value, at: &At) {
        self.seen.clear();
        self.schema(&vec![old], &vec![new], at);
    }
}

/// Those of the path that the operation does not say itself, and the operation's; without those that name
/// the version.
fn parameters<'a>(
    document: &'a Value,
    from: [&'a Value; 2],
    path: &str,
) -> BTreeMap<Key, &'a Value> {
    let places: Vec<&str> =
        path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or(rest)).collect();
    let mut found = BTreeMap::new();
    let all = from.into_iter().filter_map(|of| of.get("parameters")?.as_array());
    for parameter in all.flatten().map(|parameter| target(document, parameter)) {
        let text = |name: &str| parameter[name].as_str().unwrap_or_default();
        let (place, name) = (text("in"), text("name"));
        let name = match place {
            "header" => name.to_ascii_lowercase(),
            "path" => {
                places.iter().position(|known| *known == name).unwrap_or_default().to_string()
            }
            _ => name.to_owned(),
        };
        let elsewhere = place == "header" && ELSEWHERE.contains(&name.as_str());
        if !elsewhere && parameter["x-api-version"] != true {
            found.insert((place.to_owned(), name), parameter);
        }
    }
    found
}

fn told(parameter: &Value) -> String {
    let text = |name: &str| parameter[name].as_str().unwrap_or_default();
    format!("{} parameter `{}`", text("in"), text("name"))
}

fn is_required(parameter: &Value) -> bool {
    parameter["required"] == true
}

/// `style`, and whether it is exploded.
fn written(parameter: &Value) -> String {
    let usual = match parameter["in"].as_str() {
        Some("query" | "cookie") => "form",
        _ => "simple",
    };
    let style = parameter["style"].as_str().unwrap_or(usual);
    let exploded = parameter["explode"].as_bool().unwrap_or(style == "form");
    format!("{style}{}", if exploded { ", exploded" } else { "" })
}

fn schema(of: &Value) -> Option<&Value> {
    let content = || of.get("content")?.as_object()?.values().next()?.get("schema");
    of.get("schema").or_else(content)
}

fn answers<'a>(document: &'a Value, operation: &'a Value) -> BTreeMap<String, &'a Value> {
    let answers = operation.get("responses").and_then(Value::as_object).into_iter().flatten();
    let answers = answers.filter(|(status, _)| !status.starts_with("x-"));
    let status = |status: &str| {
        if status == "default" { status.to_owned() } else { status.to_ascii_uppercase() }
    };
    answers.map(|(code, answer)| (status(code), target(document, answer))).collect()
}

fn is_success(status: &str) -> bool {
    status.starts_with(['2', '3'])
}

/// By the type alone: without its parameters, and with whatever version where one is named.
fn media(of: &Value) -> BTreeMap<String, &Value> {
    let content = of.get("content").and_then(Value::as_object).into_iter().flatten();
    content.map(|(kind, media)| (essence(kind), media)).collect()
}

fn essence(kind: &str) -> String {
    let kind = kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase();
    let Some((head, suffix)) = kind.rsplit_once('+') else { return kind };
    match head.rsplit_once('.') {
        Some((vendor, version)) if version.parse::<Version>().is_ok() => {
            format!("{vendor}.VERSION+{suffix}")
        }
        _ => kind,
    }
}

/// `application/*` or `*/*`.
fn wider<'a, 'm>(kind: &str, known: &'m BTreeMap<String, &'a Value>) -> Option<&'m &'a Value> {
    let (family, _) = kind.split_once('/')?;
    known.get(&format!("{family}/*")).or_else(|| known.get("*/*"))
}
