//! What is kept of a request: whose key it is, and which request, both as hashes. They are the same in
//! every process of a fleet, and neither a key nor a body can be read from the table.

use std::fmt;

use axum::extract::OriginalUri;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};

/// A key within its scope.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id([u8; 32]);

/// A request's method, path, query and body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Id {
    pub(super) fn new(scope: &str, key: &str) -> Self {
        Self(digest(&[scope.as_bytes(), key.as_bytes()]))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl Fingerprint {
    pub(super) fn new(parts: &Parts, body: &[u8]) -> Self {
        // Inside a nested router the path is a part alone.
        let original = parts.extensions.get::<OriginalUri>();
        let uri = original.map_or(&parts.uri, |original| &original.0);
        let query = uri.query().unwrap_or_default();
        Self(digest(&[
            parts.method.as_str().as_bytes(),
            uri.path().as_bytes(),
            query.as_bytes(),
            body,
        ]))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    pub(super) fn is(&self, stored: &[u8]) -> bool {
        self.0 == stored
    }
}

/// Each part after its length, so that no part can be taken for one of another.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn of(method: &str, uri: &str, body: &str) -> Fingerprint {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        Fingerprint::new(&request.into_parts().0, body.as_bytes())
    }

    #[test]
    fn each_part_counts_and_none_is_anothers() {
        let all = [
            of("POST", "/a", "x"),
            of("PUT", "/a", "x"),
            of("POST", "/b", "x"),
            of("POST", "/a?x", ""),
            of("POST", "/a", ""),
            of("POST", "/ax", ""),
        ];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(at));
        }
        assert!(of("POST", "/a", "x").is(&of("POST", "http://host/a", "x").bytes()));
    }

    #[test]
    fn a_scope_and_a_key_are_not_another_scope_and_key() {
        assert!(Id::new("ab", "c") != Id::new("a", "bc"));
    }

    /// A fleet of several releases shares the table.
    #[test]
    fn ids_are_the_same_in_every_release() {
        let id = Id::new("all", "key").to_string();
        let hash = Sha256::digest(b"\x03\0\0\0\0\0\0\0all\x03\0\0\0\0\0\0\0key");
        assert_eq!(id, Id(hash.into()).to_string());
    }
}
