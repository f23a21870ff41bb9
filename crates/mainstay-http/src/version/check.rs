//! What is checked at start: that the versions' lives can be lived.

use axum::http::HeaderValue;
use mainstay_core::{Code, Error, Result};

use super::brownout::{Watch, Window};
use super::builder::{Unnamed, VersionsBuilder};
use super::known::Known;
use super::source::{Read, Source};
use super::usage::Usage;
use super::versions::{Inner, Versions};
use super::when::Moment;
use super::{Release, Version};

const BROWNOUTS_MAX: usize = 64;

fn wrong<T>(what: impl Into<std::borrow::Cow<'static, str>>) -> Result<T> {
    Err(Error::new(Code::HttpOption, what))
}

pub(super) fn build(mut builder: VersionsBuilder) -> Result<Versions> {
    builder.releases.sort_by_key(|release| release.version);
    let releases = &builder.releases;
    let Some(first) = releases.first() else { return wrong("there are no versions") };
    if releases.iter().any(|release| release.version.is_date() != first.version.is_date()) {
        return wrong("versions are integers or dates, not both");
    }
    if let Some([twice, _]) = releases.array_windows().find(|[a, b]| a.version == b.version) {
        return wrong(format!("version {} is there twice", twice.version));
    }
    if builder.sources.is_empty() {
        builder.sources.push(Source::path());
    }
    let sources: Vec<Read> = builder.sources.iter().map(Read::new).collect::<Result<_>>()?;
    let vendor = sources.iter().find_map(|source| match source {
        Read::Media(vendor) => Some(vendor.as_str()),
        _ => None,
    });
    let mut known = Vec::with_capacity(releases.len());
    for release in releases {
        known.push(life(release, releases, vendor)?);
    }
    outlives(&known)?;
    let unnamed = match builder.unnamed {
        Unnamed::Refused => None,
        Unnamed::Newest => match releases.iter().rposition(|release| !release.beta) {
            Some(newest) => Some(newest),
            None => return wrong("all versions are beta: there is none to default to"),
        },
        Unnamed::This(version) => {
            let place = place(releases, version, "the default")?;
            if releases[place].beta {
                return wrong(format!("the default is version {version}, which is beta"));
            }
            Some(place)
        }
    };
    if let Some(end) = unnamed.and_then(|place: usize| known[place].sunset) {
        tracing::warn!("the default version ends on {}: name a newer one", end.told());
    }
    Ok(Versions::from(Inner {
        name: builder.name,
        vary: vary(&sources),
        sources,
        contradiction: builder.contradiction,
        unnamed,
        nearest: builder.nearest,
        under: under(&builder.under)?,
        exempt: builder.exempt,
        watch: Watch::new(builder.rise)?,
        has_brownouts: known.iter().any(|known| !known.windows.is_empty()),
        known,
        who: builder.who,
        usage: Usage::new(builder.clients_max, builder.clock.clone()),
        clock: builder.clock,
    }))
}

fn place(releases: &[Release], version: Version, what: &str) -> Result<usize> {
    releases
        .iter()
        .position(|release| release.version == version)
        .map_or_else(|| wrong(format!("{what} is version {version}, which does not exist")), Ok)
}

/// `/api/` and `api` are `/api`; `/` is nothing.
fn under(path: &str) -> Result<String> {
    let path = path.trim_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
    if !path.bytes().all(plain) {
        return wrong(format!("versions can't be under the path {path:?}"));
    }
    Ok(if path.is_empty() { String::new() } else { format!("/{path}") })
}

/// What caches must tell answers apart by.
fn vary(sources: &[Read]) -> Option<HeaderValue> {
    let names: Vec<&str> = sources
        .iter()
        .filter_map(|source| match source {
            Read::Header(name) => Some(name.as_str()),
            Read::Media(_) => Some("accept"),
            Read::Path | Read::Query(_) => None,
        })
        .collect();
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() }
}

fn life(release: &Release, all: &[Release], vendor: Option<&str>) -> Result<Known> {
    let version = release.version;
    let of = |error: Error| error.note(format!("of version {version}"));
    let date = |text: &Option<String>| text.as_deref().map(Moment::parse).transpose().map_err(of);
    let (deprecated, sunset) = (date(&release.deprecated)?, date(&release.sunset)?);
    if let (Some(deprecated), Some(sunset)) = (deprecated, sunset)
        && sunset < deprecated
    {
        let (deprecated, sunset) = (deprecated.told(), sunset.told());
        return Err(Error::new(
            Code::HttpOption,
            format!("version {version} ends before it is deprecated"),
        )
        .why(format!("its sunset is {sunset}, its deprecation {deprecated}"))
        .fix("let the sunset be no earlier than the deprecation (RFC 9745, section 4)"));
    }
    if release.beta && all.iter().any(|other| !other.beta && other.version > version) {
        tracing::warn!(
            "version {version} is beta, and a newer one is not: will it ever be current?"
        );
    }
    let newest = all.iter().rposition(|other| !other.beta && other.version > version);
    let successor = match release.successor {
        None => newest,
        Some(successor) if successor <= version => {
            return wrong(format!(
                "the successor of version {version} is {successor}, which is no newer"
            ));
        }
        Some(successor) => {
            Some(place(all, successor, &format!("the successor of version {version}"))?)
        }
    };
    for link in [&release.docs, &release.policy, &release.successor_link].into_iter().flatten() {
        check_link(link)?;
    }
    let windows = windows(release, deprecated, sunset).map_err(of)?;
    Known::new(release, deprecated, sunset, successor, windows, vendor)
}

/// It is written between `<` and `>`.
fn check_link(uri: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&b);
    if uri.is_empty() || !uri.bytes().all(plain) {
        return wrong(format!("{uri:?} can't be linked to: it is no URI"));
    }
    Ok(())
}

fn windows(
    release: &Release,
    deprecated: Option<Moment>,
    sunset: Option<Moment>,
) -> Result<Vec<Window>> {
    if release.brownouts.len() > BROWNOUTS_MAX {
        return wrong(format!("more than {BROWNOUTS_MAX} brownouts"));
    }
    let mut windows: Vec<Window> =
        release.brownouts.iter().map(Window::new).collect::<Result<_>>()?;
    windows.sort_by_key(|window| window.from);
    for window in &windows {
        let early = deprecated.is_none_or(|deprecated| window.from < deprecated);
        if early || sunset.is_none_or(|sunset| window.until > sunset) {
            let what = format!(
                "a brownout at {} is not between deprecation and sunset",
                window.from.told()
            );
            return Err(Error::new(Code::HttpOption, what)
                .fix("announce both dates first: a brownout is for those who did not read them"));
        }
    }
    if let Some([_, next]) = windows.array_windows().find(|[a, b]| b.from < a.until) {
        return wrong(format!(
            "a brownout at {} begins before the last one is over",
            next.from.told()
        ));
    }
    Ok(windows)
}

/// A successor that ends first would be no help.
fn outlives(known: &[Known]) -> Result<()> {
    for old in known {
        let Some(successor) = old.successor.map(|place| &known[place]) else { continue };
        if let (Some(end), Some(sunset)) = (successor.sunset, old.sunset)
            && end <= sunset
        {
            return wrong(format!(
                "version {} ends on {}, no later than version {}, whose successor it is",
                successor.version,
                end.told(),
                old.version,
            ));
        }
    }
    Ok(())
}
