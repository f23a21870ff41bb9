//! The headers that may name a version, found in one pass. To look each of them up costs some 20 ns of
//! hashing, most of all where it is not there; to pass by the few headers of a request costs one or two each.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Of more headers than these each is looked up: that costs no more then.
const FEW: usize = 16;

/// What a request has of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) accept: Lines<'a>,
    pub(super) content_type: Lines<'a>,
    /// Of the header that was asked for.
    pub(super) named: Lines<'a>,
}

/// The lines of one header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lines<'a> {
    None,
    One(&'a HeaderValue),
    /// They are several, or nobody knows.
    Of(&'a HeaderMap),
}

impl<'a> Seen<'a> {
    pub(super) fn of(headers: &'a HeaderMap, name: Option<&HeaderName>) -> Self {
        if headers.len() > FEW {
            let all = Lines::Of(headers);
            return Self { accept: all, content_type: all, named: all };
        }
        let none = Lines::None;
        let mut seen = Self { accept: none, content_type: none, named: none };
        for (known, value) in headers {
            let lines = match known {
                known if *known == header::ACCEPT => &mut seen.accept,
                known if *known == header::CONTENT_TYPE => &mut seen.content_type,
                known if Some(known) == name => &mut seen.named,
                _ => continue,
            };
            *lines = match lines {
                Lines::None => Lines::One(value),
                _ => Lines::Of(headers),
            };
        }
        seen
    }
}

impl<'a> Lines<'a> {
    /// They are of the header `name`.
    pub(super) fn iter(self, name: &HeaderName) -> impl Iterator<Item = &'a HeaderValue> + use<'a> {
        let (one, all) = match self {
            Lines::None => (None, None),
            Lines::One(value) => (Some(value), None),
            Lines::Of(headers) => (None, Some(headers.get_all(name).into_iter())),
        };
        one.into_iter().chain(all.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: HeaderName = HeaderName::from_static("api-version");

    fn lines<'a>(lines: Lines<'a>, name: &HeaderName) -> Vec<&'a str> {
        lines.iter(name).map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn a_pass_finds_what_looking_up_finds() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("accept", "a"), ("api-version", "1"), ("accept", "b")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        for _ in 0..2 {
            let seen = Seen::of(&headers, Some(&NAME));
            assert_eq!(lines(seen.accept, &header::ACCEPT), ["a", "b"]);
            assert_eq!(lines(seen.named, &NAME), ["1"]);
            assert_eq!(lines(seen.content_type, &header::CONTENT_TYPE), [""; 0]);
            // And of many.
            for n in 0..FEW {
                let name = HeaderName::try_from(format!("x-{n}")).unwrap();
                headers.insert(name, HeaderValue::from_static("x"));
            }
        }
        let named = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("2"))]);
        assert_eq!(lines(Seen::of(&named, None).named, &NAME), [""; 0]);
    }
}
