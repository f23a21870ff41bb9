//! Versions in media types: `application/vnd.shop.v2+json`.
//!
//! What is not the vendor's own type is not judged, however odd: clients that have sent
//! `*; q=.2` for decades must not be refused for it.

use axum::http::header;

use super::Version;
use super::seen::Lines;

/// Written as thousandths, so that they compare.
const Q_MAX: u16 = 1000;
const APPLICATION: &[u8; 12] = b"application/";

/// What a media type says of the vendor's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is another's.
    Nothing,
    /// It is the vendor's, of no version in particular.
    Any,
    This(Version),
    /// It is the vendor's, and what should be a version is none.
    Malformed,
}

/// `vendor` is `vnd.shop`.
pub(super) fn said(media_type: &[u8], vendor: &str) -> Said {
    let rest = of_vendor(media_type, vendor).filter(|_| is_text(media_type));
    rest.map_or(Said::Nothing, |rest| told(split(rest).0))
}

/// The type itself, or what is left of it, and its parameters.
fn split(item: &[u8]) -> (&[u8], &[u8]) {
    match item.iter().position(|byte| *byte == b';') {
        Some(at) => (item[..at].trim_ascii_end(), &item[at + 1..]),
        None => (item.trim_ascii_end(), b""),
    }
}

/// What comes after the vendor's name in an item that begins with it; it may still be another's, whose
/// name begins the same.
fn of_vendor<'a>(item: &'a [u8], vendor: &str) -> Option<&'a [u8]> {
    let item = item.trim_ascii_start();
    // Nearly everybody writes it in small letters, and that is compared in two words.
    let (head, rest) = item.split_first_chunk::<{ APPLICATION.len() }>()?;
    if head != APPLICATION && !head.eq_ignore_ascii_case(APPLICATION) {
        return None;
    }
    strip(rest, vendor.as_bytes())
}

/// What the rest of the type says.
fn told(rest: &[u8]) -> Said {
    match rest {
        [] | [b'+', ..] => Said::Any,
        [b'.', version @ ..] => {
            let end = version.iter().position(|byte| *byte == b'+').unwrap_or(version.len());
            let version = std::str::from_utf8(&version[..end]).ok().and_then(Version::read);
            version.map_or(Said::Malformed, Said::This)
        }
        // Another vendor whose name begins the same.
        _ => Said::Nothing,
    }
}

/// What an `Accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    Nothing,
    This(Version),
    /// None that exists, and nothing else will do.
    Unknown(&'a str),
    Malformed(&'a str),
}

/// The version with the highest `q` among those that exist, the first of equals. Where none exists and
/// something else is acceptable as well (`*/*`, JSON, the vendor's type without a version), it is as
/// if none were named.
pub(super) fn wanted<'a>(
    accept: Lines<'a>,
    vendor: &str,
    exists: impl Fn(Version) -> bool,
) -> Wanted<'a> {
    let mut best: Option<(u16, Version)> = None;
    let (mut unknown, mut any) = (None, false);
    for value in accept.iter(&header::ACCEPT) {
        let value = value.as_bytes();
        let mut is_read = false;
        for item in items(value) {
            let Some(rest) = of_vendor(item, vendor) else { continue };
            if !is_read && !is_text(value) {
                break;
            }
            is_read = true;
            let (rest, parameters) = split(rest);
            let said = told(rest);
            let Some(q) = quality(parameters) else {
                if said == Said::Nothing {
                    continue;
                }
                return Wanted::Malformed(text(item));
            };
            match said {
                Said::Malformed => return Wanted::Malformed(text(item)),
                Said::Nothing => {}
                _ if q == 0 => {}
                Said::Any => any = true,
                Said::This(version) if !exists(version) => unknown = unknown.or(Some(item)),
                Said::This(version) if best.is_none_or(|(highest, _)| q > highest) => {
                    best = Some((q, version));
                }
                Said::This(_) => {}
            }
        }
    }
    match (best, unknown) {
        (Some((_, version)), _) => Wanted::This(version),
        (None, Some(item)) if !any && !takes_others(accept) => Wanted::Unknown(text(item)),
        (None, _) => Wanted::Nothing,
    }
}

fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',')
}

/// Whether something that is not the vendor's would do. Asked only where it decides.
fn takes_others(accept: Lines<'_>) -> bool {
    const OTHERS: [&str; 3] = ["*/*", "application/*", "application/json"];
    let values = accept.iter(&header::ACCEPT).map(|value| value.as_bytes());
    values.filter(|value| is_text(value)).flat_map(items).any(|item| {
        let (essence, parameters) = split(item.trim_ascii_start());
        OTHERS.iter().any(|other| essence.eq_ignore_ascii_case(other.as_bytes()))
            && quality(parameters).is_some_and(|q| q > 0)
    })
}

/// As `HeaderValue::to_str` has it; without a way out in the middle it is done sixteen bytes at a time.
fn is_text(value: &[u8]) -> bool {
    let odd = value.iter().filter(|byte| !matches!(byte, b'\t' | b' '..=b'~'));
    odd.count() == 0
}

/// Of a value that [is text](is_text).
fn text(item: &[u8]) -> &str {
    std::str::from_utf8(item.trim_ascii()).unwrap_or_default()
}

/// In thousandths; `None` if it is malformed.
fn quality(parameters: &[u8]) -> Option<u16> {
    if parameters.is_empty() {
        return Some(Q_MAX);
    }
    let mut parameters = parameters.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let Some(q) = parameters.find_map(|p| strip(p, b"q=")) else { return Some(Q_MAX) };
    let (whole, thousandths) = match q.iter().position(|byte| *byte == b'.') {
        Some(point) => (&q[..point], &q[point + 1..]),
        None => (q, &b""[..]),
    };
    let digits = thousandths.iter().all(u8::is_ascii_digit) && thousandths.len() <= 3;
    let fraction =
        thousandths.iter().zip([100, 10, 1]).map(|(b, unit)| u16::from(*b - b'0') * unit);
    match whole {
        b"0" if digits => Some(fraction.sum()),
        b"1" if digits && thousandths.iter().all(|b| *b == b'0') => Some(Q_MAX),
        _ => None,
    }
}

/// `bytes` after `prefix`, in either case.
fn strip<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    use super::*;

    fn accept(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::ACCEPT, HeaderValue::from_str(value).unwrap())).collect()
    }

    fn wanted_of(headers: &HeaderMap) -> Wanted<'_> {
        wanted(Lines::Of(headers), "vnd.shop", |version| version <= Version::number(3))
    }

    #[test]
    fn a_media_type_names_a_version_or_none() {
        let this = |n| Said::This(Version::number(n));
        for (text, expected) in [
            ("application/vnd.shop.v2+json", this(2)),
            ("Application/VND.Shop.v2+JSON; charset=utf-8", this(2)),
            ("application/vnd.shop.v2", this(2)),
            ("application/vnd.shop.2026-03-01+json", Said::This(Version::date(2026, 3, 1))),
            ("application/vnd.shop+json", Said::Any),
            ("application/vnd.shop ; charset=utf-8", Said::Any),
            ("application/vnd.shop .v2+json", Said::Nothing),
            ("application/vnd.shop.v2 +json", Said::Malformed),
            ("application/vnd.shop.v2+json; name=é", Said::Nothing),
            ("application/vnd.shopping.v2+json", Said::Nothing),
            ("application/json", Said::Nothing),
            ("text/vnd.shop.v2", Said::Nothing),
            ("application/vnd.shop.vX+json", Said::Malformed),
            ("application/vnd.shop.+json", Said::Malformed),
            ("application/vnd.shop.v2.1+json", Said::Malformed),
            ("", Said::Nothing),
            ("é", Said::Nothing),
        ] {
            assert_eq!(said(text.as_bytes(), "vnd.shop"), expected, "{text}");
        }
    }

    #[test]
    fn the_most_wanted_of_those_that_exist() {
        let this = |n| Wanted::This(Version::number(n));
        for (value, expected) in [
            ("application/vnd.shop.v1+json;q=0.5, application/vnd.shop.v2+json;q=0.51", this(2)),
            ("application/vnd.shop.v1+json, application/vnd.shop.v2+json", this(1)),
            ("application/vnd.shop.v9+json, application/vnd.shop.v2+json;q=0.1", this(2)),
            ("application/vnd.shop.v1+json;q=0, */*", Wanted::Nothing),
            ("application/vnd.shop.v9+json, */*;q=0.1", Wanted::Nothing),
            ("text/html, image/gif, *; q=.2, */*; q=.2", Wanted::Nothing),
            (",, ,", Wanted::Nothing),
            (
                "application/vnd.shop.v9+json, text/html",
                Wanted::Unknown("application/vnd.shop.v9+json"),
            ),
            (
                "application/vnd.shop.v9+json, */*;q=0",
                Wanted::Unknown("application/vnd.shop.v9+json"),
            ),
            (
                "application/vnd.shop.v1+json;q=2",
                Wanted::Malformed("application/vnd.shop.v1+json;q=2"),
            ),
            ("*/*, application/vnd.shop.x+json", Wanted::Malformed("application/vnd.shop.x+json")),
        ] {
            assert_eq!(wanted_of(&accept(&[value])), expected, "{value}");
            let list: Vec<&str> = value.split(',').collect();
            assert_eq!(wanted_of(&accept(&list)), expected, "{value}, a line each");
        }
    }

    #[test]
    fn a_line_that_is_no_text_is_as_if_it_were_not_there() {
        let mut headers = accept(&["application/vnd.shop.v2+json"]);
        let odd = HeaderValue::from_bytes(b"application/vnd.shop.v1+json, \xff").unwrap();
        headers.insert(header::ACCEPT, odd.clone());
        assert_eq!(wanted_of(&headers), Wanted::Nothing);
        let unknown = HeaderValue::from_static("application/vnd.shop.v9+json");
        headers.append(header::ACCEPT, unknown);
        headers.append(header::ACCEPT, HeaderValue::from_bytes(b"*/*, \xff").unwrap());
        assert_eq!(wanted_of(&headers), Wanted::Unknown("application/vnd.shop.v9+json"));
    }
}
