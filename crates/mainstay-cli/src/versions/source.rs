//! JSON from a file, from standard input or from a service.

use std::io::Read;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_http::service::Service;
use serde::de::DeserializeOwned;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Of documents and reports; more is refused.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What `from` holds: a URL, `-` for standard input, or else a file. Errors: APP-003 where it can't be read
/// or is no JSON of that kind, with its place; those of a call to a service.
pub(super) async fn read<T: DeserializeOwned>(from: &str) -> Result<T> {
    let bytes = if from.starts_with("http://") || from.starts_with("https://") {
        fetch(from).await?
    } else {
        let unreadable =
            |error| Error::new(Code::Argument, format!("{from} can't be read")).cause(error);
        let mut bytes = Vec::new();
        let bound = BYTES_MAX as u64 + 1;
        if from == "-" {
            std::io::stdin().take(bound).read_to_end(&mut bytes).map_err(unreadable)?;
        } else {
            let file = std::fs::File::open(from).map_err(unreadable)?;
            file.take(bound).read_to_end(&mut bytes).map_err(unreadable)?;
        }
        if bytes.len() > BYTES_MAX {
            let what = format!("{from} is larger than {BYTES_MAX} bytes");
            return Err(Error::new(Code::Argument, what));
        }
        bytes
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!("{from}:{}:{}: not what is expected", error.line(), error.column());
        Error::new(Code::Argument, what).cause(error)
    })
}

async fn fetch(url: &str) -> Result<Vec<u8>> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = match rest.find(['/', '?']) {
        Some(end) => rest.split_at(end),
        None => (rest, "/"),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let service = Service::builder(authority, [format!("{scheme}://{authority}")])
        .timeout(TIMEOUT)
        .max_body(BYTES_MAX)
        .redirects(3)
        .build()
        .map_err(|error| error.note(format!("in {url}")))?;
    // Braces are the templates of that client's paths.
    let path = path.replace('{', "%7B").replace('}', "%7D");
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let reply = service.get(format!("{path}{query}")).reply().await?;
    if !reply.status().is_success() {
        let what = format!("{url} answers {}", reply.status());
        return Err(Error::new(Code::Argument, what).fix("see that the URL is the one meant"));
    }
    Ok(reply.bytes().to_vec())
}
