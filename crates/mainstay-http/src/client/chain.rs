//! The addresses that proxies have written, nearest first.
//!
//! Each proxy adds at the right what it saw itself, so only what is read from the right can be
//! believed; a caller can write anything at the left. Nothing is read further than it is asked for,
//! which bounds the work by the number of proxies, whatever a caller sends.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::node;

/// Bytes of one entry, at most: `Forwarded` may name a host beside the address.
const ENTRY_MAX: usize = 512;

/// Which header the proxies write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    XForwardedFor,
    Forwarded,
}

impl Header {
    fn name(self) -> HeaderName {
        match self {
            Header::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Header::Forwarded => HeaderName::from_static("forwarded"),
        }
    }

    fn read(self, entry: &[u8]) -> Option<IpAddr> {
        let entry = std::str::from_utf8(entry).ok()?.trim();
        match self {
            Header::XForwardedFor => node::address(entry),
            Header::Forwarded => node::forwarded(entry),
        }
    }
}

/// The addresses from the right; the first entry that is none ends them, since what is left of it
/// was written by nobody knows whom.
pub(super) fn addresses(headers: &HeaderMap, header: Header) -> impl Iterator<Item = IpAddr> {
    let values = headers.get_all(header.name()).into_iter().rev();
    values
        .flat_map(move |value| Entries::of(value, header))
        .map_while(move |entry| header.read(entry?))
}

/// The entries of one value from the right; `None` for one that is too long.
struct Entries<'a> {
    rest: Option<&'a [u8]>,
    quotes: bool,
}

impl<'a> Entries<'a> {
    fn of(value: &'a HeaderValue, header: Header) -> Self {
        Self { rest: Some(value.as_bytes()), quotes: header == Header::Forwarded }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let window = &rest[rest.len().saturating_sub(ENTRY_MAX + 1)..];
        // Also of quotes the ones at the right are believed: an open one that a caller left at the
        // left can't swallow what a proxy has added.
        let mut quoted = false;
        let comma = window.iter().rposition(|byte| {
            quoted ^= self.quotes && *byte == b'"';
            *byte == b',' && !quoted
        });
        match comma {
            Some(at) => {
                let at = rest.len() - window.len() + at;
                self.rest = Some(&rest[..at]);
                Some(Some(&rest[at + 1..]))
            }
            None if window.len() < rest.len() => Some(None),
            None => Some(Some(rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(header: Header, values: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header.name(), HeaderValue::from_str(value).unwrap());
        }
        addresses(&headers, header).map(|a| a.to_string()).collect()
    }

    #[test]
    fn several_headers_are_one_list_read_from_the_right() {
        let read = |values: &[&str]| read(Header::XForwardedFor, values);
        assert_eq!(read(&["1.1.1.1, 2.2.2.2", "3.3.3.3"]), ["3.3.3.3", "2.2.2.2", "1.1.1.1"]);
        assert_eq!(read(&["1.1.1.1, nobody, 2.2.2.2"]), ["2.2.2.2"]);
        assert_eq!(read(&["1.1.1.1", "", "2.2.2.2"]), ["2.2.2.2"]);
        assert_eq!(read(&["1.1.1.1,"]), [""; 0]);
        let long = format!("1.1.1.1,{}2.2.2.2, 3.3.3.3", " ".repeat(600));
        assert_eq!(read(&[&long]), ["3.3.3.3"]);
    }

    #[test]
    fn a_quote_left_open_by_the_caller_swallows_nothing() {
        let read = |values: &[&str]| read(Header::Forwarded, values);
        let forged = r#"for="1.1.1.1, for=2.2.2.2;proto=https"#;
        assert_eq!(read(&[forged]), ["2.2.2.2"]);
        assert_eq!(
            read(&[r#"for=1.1.1.1, for="[2001:db8::1]:80";host="a,b""#]),
            ["2001:db8::1", "1.1.1.1"]
        );
    }

    proptest! {
        /// Whatever a caller sends, what the proxy has added comes first.
        #[test]
        fn the_proxys_own_entry_comes_first(forged in "[ -~]{0,700}", own in any::<[u8; 4]>()) {
            let own = IpAddr::from(own).to_string();
            for (header, entry) in
                [(Header::XForwardedFor, own.clone()), (Header::Forwarded, format!("for=\"{own}\""))]
            {
                let joined = format!("{forged}, {entry}");
                prop_assert_eq!(&read(header, &[&joined])[0], &own);
                prop_assert_eq!(&read(header, &[&forged, &entry])[0], &own);
            }
        }
    }
}
