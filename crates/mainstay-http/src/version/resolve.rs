//! Which version a request is of. Nothing here allocates.

use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderName, header};

use super::Version;
use super::media::{self, Said, Wanted};
use super::seen::{Lines, Seen};
use super::source::{By, Contradiction, Read};
use super::versions::Inner;

/// What was found of a request that may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Its place among the versions.
    pub(super) place: usize,
    /// Whether JSON is to go out under the vendor's media type.
    pub(super) in_accept: bool,
    /// What names it in the path, with the slash before it.
    pub(super) cut: Option<(usize, usize)>,
}

/// Why a request can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misnamed<'a> {
    Missing,
    Unknown { by: By<'a>, text: &'a str },
    Malformed { by: By<'a>, text: &'a str },
    Contradiction { one: (By<'a>, Version), other: (By<'a>, Version) },
}

type Named<'a> = (By<'a>, Version, &'a str);
type Noted<'a> = Result<(), Misnamed<'a>>;

/// What was found so far. It is handed from source to source rather than given back by each: to move it
/// costs more than to find it.
#[derive(Default)]
struct Finding<'a> {
    first: Option<Named<'a>>,
    in_accept: bool,
    cut: Option<(usize, usize)>,
}

impl<'a> Finding<'a> {
    fn note(&mut self, by: By<'a>, version: Version, text: &'a str) -> Noted<'a> {
        match self.first {
            None => self.first = Some((by, version, text)),
            Some((first, other, _)) if other != version => {
                let (one, other) = ((first, other), (by, version));
                return Err(Misnamed::Contradiction { one, other });
            }
            Some(_) => {}
        }
        Ok(())
    }
}

impl Inner {
    /// `None` where there need be no version.
    pub(super) fn resolve<'a>(
        &'a self,
        uri: &'a Uri,
        headers: &'a HeaderMap,
    ) -> Result<Option<Resolved>, Misnamed<'a>> {
        let path = uri.path();
        let Some(rest) = self.within(path) else { return Ok(None) };
        let mut found = Finding::default();
        let seen = Seen::of(headers, self.header());
        for source in &self.sources {
            match source {
                Read::Path => self.in_path(rest, &mut found)?,
                Read::Header(name) if Some(name) == self.header() => {
                    in_header(name, seen.named, &mut found)?;
                }
                Read::Header(name) => in_header(name, Lines::Of(headers), &mut found)?,
                Read::Query(name) => {
                    if let Some(query) = uri.query() {
                        in_query(name, query, &mut found)?;
                    }
                }
                Read::Media(vendor) => self.in_media(vendor, &seen, &mut found)?,
            }
            if self.contradiction == Contradiction::First
                && let Some((_, version, _)) = found.first
            {
                // Those behind it do not decide, and leave their marks all the same.
                found.cut = self.cut(path);
                found.in_accept = self.accepts(version, seen.accept);
                break;
            }
        }
        let Finding { first, in_accept, cut } = found;
        let place = match first {
            Some((by, version, text)) => {
                self.place(version).ok_or(Misnamed::Unknown { by, text })?
            }
            None if self.exempt.iter().any(|exempt| exempt == path) => return Ok(None),
            None => self.unnamed.ok_or(Misnamed::Missing)?,
        };
        Ok(Some(Resolved { place, in_accept, cut }))
    }

    /// What is below the path under which there are versions.
    fn within<'a>(&self, path: &'a str) -> Option<&'a str> {
        // To compare with nothing costs more than all the rest: glibc's masked load of an address that
        // is none takes some 40 ns.
        if self.under.is_empty() {
            return Some(path);
        }
        let rest = path.strip_prefix(self.under.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// What names a version in `path`, whichever source won: no route is written with it.
    pub(super) fn cut(&self, path: &str) -> Option<(usize, usize)> {
        if !self.sources.iter().any(|source| matches!(source, Read::Path)) {
            return None;
        }
        let segment = segment(self.within(path)?)?;
        Version::read(segment)?;
        Some(self.span(segment))
    }

    /// Of the first segment, with the slash before it.
    fn span(&self, segment: &str) -> (usize, usize) {
        let from = self.under.len();
        (from, from + 1 + segment.len())
    }

    pub(super) fn place(&self, version: Version) -> Option<usize> {
        let exact = self.known.iter().position(|known| known.version == version);
        if exact.is_some() || !self.nearest {
            return exact;
        }
        self.known.iter().rposition(|known| known.version < version && !known.is_beta())
    }

    fn in_path<'a>(&self, rest: &'a str, found: &mut Finding<'a>) -> Noted<'a> {
        let Some(text) = segment(rest) else { return Ok(()) };
        found.cut = Some(self.span(text));
        let Some(version) = Version::read(text) else {
            return Err(Misnamed::Malformed { by: By::Path, text });
        };
        found.note(By::Path, version, text)
    }

    /// The header that is looked for in the one pass, if there is one; further ones are looked up.
    fn header(&self) -> Option<&HeaderName> {
        let others = [header::ACCEPT, header::CONTENT_TYPE];
        self.sources.iter().find_map(|source| match source {
            Read::Header(name) if !others.contains(name) => Some(name),
            _ => None,
        })
    }

    /// What is accepted goes before what is sent: most requests send nothing.
    fn in_media<'a>(&self, vendor: &str, seen: &Seen<'a>, found: &mut Finding<'a>) -> Noted<'a> {
        let accepted = match media::wanted(seen.accept, vendor, |v| self.place(v).is_some()) {
            Wanted::Nothing => None,
            Wanted::This(version) => Some(version),
            Wanted::Unknown(text) => return Err(Misnamed::Unknown { by: By::Accept, text }),
            Wanted::Malformed(text) => return Err(Misnamed::Malformed { by: By::Accept, text }),
        };
        if let Some(sent) = seen.content_type.iter(&header::CONTENT_TYPE).next() {
            let (by, text) = (By::ContentType, sent.to_str().unwrap_or_default());
            match (accepted, media::said(sent.as_bytes(), vendor)) {
                (_, Said::Malformed) => return Err(Misnamed::Malformed { by, text }),
                (Some(version), Said::This(sent))
                    if sent != version && self.contradiction == Contradiction::Refuse =>
                {
                    let (one, other) = ((By::Accept, version), (by, sent));
                    return Err(Misnamed::Contradiction { one, other });
                }
                (None, Said::This(sent)) => return found.note(by, sent, text),
                _ => {}
            }
        }
        let Some(version) = accepted else { return Ok(()) };
        found.in_accept = true;
        found.note(By::Accept, version, "")
    }

    /// Whether a version that was named elsewhere is also the one in `Accept`.
    fn accepts(&self, version: Version, accept: Lines<'_>) -> bool {
        self.sources.iter().any(|source| match source {
            Read::Media(vendor) => {
                media::wanted(accept, vendor, |v| v == version) == Wanted::This(version)
            }
            _ => false,
        })
    }
}

/// The first segment, if it means to be a version: `v2`, `v2x`, `2026-03-01`; not `2`, `vat`, `videos`.
fn segment(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('/')?;
    let numbered = match rest.as_bytes() {
        [b'v', digit, ..] if digit.is_ascii_digit() => true,
        [digit, ..] if digit.is_ascii_digit() => false,
        _ => return None,
    };
    let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
    let segment = &rest[..end];
    let dated = || Version::read(segment).is_some_and(Version::is_date);
    (numbered || dated()).then_some(segment)
}

/// Several lines must agree with one another.
fn in_header<'a>(name: &'a HeaderName, lines: Lines<'a>, found: &mut Finding<'a>) -> Noted<'a> {
    let by = By::Header(name.as_str());
    let mut own = Finding::default();
    for value in lines.iter(name) {
        let text = value.to_str().map_err(|_| Misnamed::Malformed { by, text: "" })?.trim_ascii();
        let Some(version) = Version::read(text) else {
            return Err(Misnamed::Malformed { by, text });
        };
        own.note(by, version, text)?;
    }
    own.first.map_or(Ok(()), |(by, version, text)| found.note(by, version, text))
}

/// As several lines of a header.
fn in_query<'a>(name: &'a str, query: &'a str, found: &mut Finding<'a>) -> Noted<'a> {
    let by = By::Query(name);
    let mut own = Finding::default();
    for pair in query.split('&') {
        let Some(text) = pair.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) else {
            continue;
        };
        let Some(version) = Version::read(text) else {
            return Err(Misnamed::Malformed { by, text });
        };
        own.note(by, version, text)?;
    }
    own.first.map_or(Ok(()), |(by, version, text)| found.note(by, version, text))
}
