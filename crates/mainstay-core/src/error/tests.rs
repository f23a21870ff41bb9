//! What people read of an error, and the table of codes.

use super::*;

#[test]
fn a_report_says_what_why_where_and_what_next() {
    let io = std::io::Error::other("connection refused");
    let error = Error::new(Code::PoolTimeout, "no connection within 5 s (max 10: 10 in use)")
        .why("8 are held for over 3 s by POST /orders (orders.rs:88)\n2 by GET /users (users.rs:4)")
        .fix("move the HTTP call out of the transaction, or raise pool.max_size")
        .cause(io);
    insta::assert_snapshot!(error.report(), @r"
    error[POOL-002]: no connection within 5 s (max 10: 10 in use)
      why: 8 are held for over 3 s by POST /orders (orders.rs:88)
           2 by GET /users (users.rs:4)
       by: connection refused
      fix: move the HTTP call out of the transaction, or raise pool.max_size
      see: mainstay explain POOL-002
    ");
}

#[test]
fn a_wrapped_error_comes_back_whole() {
    #[derive(Debug, PartialEq)]
    struct Short(u32);
    impl fmt::Display for Short {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} cents short", self.0)
        }
    }
    let error = Error::wrap(Short(3));
    assert_eq!(error.to_string(), "3 cents short");
    assert_eq!(error.detail::<Short>(), Some(&Short(3)));
    assert_eq!(error.detail::<String>(), None);
}

#[test]
fn the_first_place_stays() {
    let here = Place::here();
    let error = Error::user("no").at(here).at(Place::here());
    assert_eq!(error.place(), Some(here));
}

#[test]
fn codes_are_unique_and_parse_back() {
    for code in Code::ALL {
        assert_eq!(Code::parse(&code.as_str().to_lowercase()), Some(*code));
        assert!(!code.meaning().is_empty());
    }
    let mut texts: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), Code::ALL.len());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a switch for whoever runs the test")]
fn the_docs_list_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
    let expected = Code::markdown();
    if std::env::var("MAINSTAY_UPDATE_DOCS").is_ok() {
        std::fs::write(path, &expected).unwrap();
    }
    let actual = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        actual == expected,
        "docs/errors.md is stale: MAINSTAY_UPDATE_DOCS=1 cargo test -p mainstay-core"
    );
}
