//! What does not start: lives that can't be lived.

use mainstay_core::Code;
use mainstay_http::{Brownout, Release, Rise, Source, Version, Versions, VersionsBuilder};

fn number(n: u32) -> Release {
    Release::new(Version::number(n))
}

fn old() -> Release {
    number(1).deprecated("2026-01-01").sunset("2026-12-31")
}

#[track_caller]
fn refused(builder: VersionsBuilder, what: &str) {
    let error = builder.build().unwrap_err();
    assert_eq!(error.code(), Code::HttpOption);
    assert!(error.report().contains(what), "{}", error.report());
}

fn with(release: Release) -> VersionsBuilder {
    Versions::builder().release(release).release(number(2))
}

#[test]
fn versions_are_some_and_of_one_kind() {
    refused(Versions::builder(), "no versions");
    refused(with(number(2)), "version 2 is there twice");
    refused(with(Release::new(Version::date(2026, 1, 1))), "not both");
    refused(with(number(1)).default_version(Version::number(3)), "the default is version 3");
    let beta = with(Release::beta(Version::number(3)));
    refused(beta.default_version(Version::number(3)), "which is beta");
    refused(
        Versions::builder().release(Release::beta(Version::number(1))).default_newest(),
        "all versions are beta",
    );
}

#[test]
fn an_end_does_not_come_before_its_announcement() {
    let early = || number(1).deprecated("2026-06-01").sunset("2026-05-31T23:59:59Z");
    refused(with(early()), "version 1 ends before it is deprecated");
    let report = with(early()).build().unwrap_err().report();
    assert!(
        report.contains("its sunset is 2026-05-31 23:59 UTC, its deprecation 2026-06-01 00:00 UTC"),
        "{report}"
    );
    assert!(with(number(1).deprecated("2026-06-01").sunset("2026-06-01")).build().is_ok());
    assert!(with(number(1).sunset("2026-06-01")).build().is_ok());
    for date in ["soon", "2026-02-30", "31.12.2026", "", "1699999999"] {
        refused(with(number(1).deprecated(date)), "is no date");
        refused(with(number(1).sunset(date)), "of version 1");
    }
}

#[test]
fn a_successor_exists_and_outlives() {
    refused(with(old().successor(Version::number(3))), "which does not exist");
    refused(with(number(3).successor(Version::number(2))), "which is no newer");
    let short = Versions::builder().release(old()).release(number(2).sunset("2026-12-31"));
    refused(short, "version 2 ends on 2026-12-31 00:00 UTC, no later than version 1");
}

#[test]
fn brownouts_lie_between_deprecation_and_sunset() {
    let browned = |from: &str, until: &str| with(old().brownout(Brownout::new(from, until)));
    assert!(browned("2026-01-01", "2026-12-31").build().is_ok());
    refused(browned("2025-12-31", "2026-01-02"), "is not between deprecation and sunset");
    refused(browned("2026-12-30", "2027-01-01"), "is not between deprecation and sunset");
    refused(browned("2026-03-02", "2026-03-01"), "before it begins");
    refused(browned("2026-03-01", "2026-03-01"), "before it begins");
    let unannounced = number(1).brownout(Brownout::new("2026-03-01", "2026-03-02"));
    refused(with(unannounced), "announce both dates first");
    let twice = old()
        .brownout(Brownout::new("2026-03-02", "2026-03-04"))
        .brownout(Brownout::new("2026-03-01", "2026-03-03"));
    refused(with(twice), "before the last one is over");
    refused(
        with(old().brownout(Brownout::new("2026-03-01", "2026-03-02").share(0.0))),
        "refuses none",
    );
    let many = (0..65)
        .fold(old(), |release, _| release.brownout(Brownout::new("2026-03-01", "2026-03-02")));
    refused(with(many), "more than 64");
    for rise in [
        Rise { share: -0.1, answers: 1 },
        Rise { share: f64::NAN, answers: 1 },
        Rise { share: 0.1, answers: 0 },
    ] {
        refused(with(old()).abort_brownouts(rise), "errors can't rise");
    }
}

#[test]
fn names_and_links_can_be_written() {
    refused(with(old()).source(Source::header("api version")), "no header");
    refused(with(old()).source(Source::media("shop/v1")), "no vendor");
    refused(with(old()).source(Source::query("")), "no query parameter");
    refused(with(old()).under("/a b"), "can't be under");
    for uri in [
        "",
        "https://example.com/a b",
        "https://e.com/>; rel=\"x\"",
        "https://e.com/\r\nx: y",
        "\u{e9}",
    ] {
        refused(with(old().docs(uri)), "can't be linked to");
        refused(with(old().policy(uri)), "can't be linked to");
        refused(with(old().successor_link(uri)), "can't be linked to");
    }
}

#[test]
fn a_life_is_data() {
    let text = r#"{"version":1,"deprecated":"2026-01-01","sunset":"2026-12-31",
        "brownouts":[{"from":"2026-03-01","until":"2026-03-02"}]}"#;
    let read: Release = serde_json::from_str(text).unwrap();
    assert_eq!(read, old().brownout(Brownout::new("2026-03-01", "2026-03-02")));
    let written = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<Release>(&written).unwrap(), read);
    for wrong in
        [r#"{"version":"1.2"}"#, r#"{"version":1,"depreciated":"2026-01-01"}"#, r#"{"version":-1}"#]
    {
        assert!(serde_json::from_str::<Release>(wrong).is_err(), "{wrong}");
    }
}
