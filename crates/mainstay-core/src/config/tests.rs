//! Precedence, origins and every kind of mistake.

use std::time::Duration;

use serde::Deserialize;

use super::*;

#[derive(Debug, Serialize, Deserialize)]
struct Pool {
    max_size: u32,
    #[serde(with = "humantime_serde")]
    acquire_timeout: Duration,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Database {
    url: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Config {
    database: Database,
    pool: Pool,
}

impl Default for Pool {
    fn default() -> Self {
        Self { max_size: 10, acquire_timeout: Duration::from_secs(5) }
    }
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mainstay.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn env(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_defaults() {
    let (_dir, path) = file("[pool]\nmax_size = 20\nacquire_timeout = \"250ms\"\n");
    let loaded = Loader::new()
        .file(&path)
        .variable("DATABASE_URL", "database.url")
        .environment(env(&[("MAINSTAY_POOL__MAX_SIZE", "30"), ("DATABASE_URL", "sqlite:a.db")]))
        .flag("max-size", "pool.max_size", Some(40))
        .load::<Config>()
        .unwrap();
    assert_eq!(loaded.value.pool.max_size, 40);
    assert_eq!(loaded.value.pool.acquire_timeout, Duration::from_millis(250));
    assert_eq!(loaded.origins["pool.max_size"], "the flag --max-size");
    assert_eq!(loaded.origins["database.url"], "the environment's DATABASE_URL");
    assert!(loaded.origins["pool.acquire_timeout"].ends_with("mainstay.toml"));
}

#[test]
fn without_sources_the_defaults_hold() {
    let loaded = Loader::new().environment([]).load::<Config>().unwrap();
    assert_eq!(loaded.value.pool.max_size, 10);
    assert_eq!(loaded.origins["pool.max_size"], "the defaults");
}

#[test]
fn an_unknown_key_suggests_the_near_one() {
    let (_dir, path) = file("[pool]\nmax_sise = 20\n");
    let error = Loader::new().file(&path).environment([]).load::<Config>().unwrap_err();
    assert_eq!(error.code(), Code::ConfigUnknownKey);
    assert!(error.what().contains("`pool.max_sise`") && error.what().ends_with("mainstay.toml"));
    assert!(error.report().contains("did you mean `pool.max_size`?"), "{error:?}");
}

#[test]
fn an_unknown_variable_with_the_prefix_is_an_error_too() {
    let error = Loader::new()
        .environment(env(&[("MAINSTAY_POOL__MAXSIZE", "3")]))
        .load::<Config>()
        .unwrap_err();
    assert_eq!(error.code(), Code::ConfigUnknownKey);
    assert!(error.report().contains("MAINSTAY_POOL__MAXSIZE"), "{error:?}");
}

#[test]
fn a_variable_with_one_underscore_for_two_is_told_apart() {
    let error = Loader::new()
        .environment(env(&[("MAINSTAY_POOL_MAX_SIZE", "3"), ("MAINSTAY_TEST_POSTGRES", "x")]))
        .load::<Config>()
        .unwrap_err();
    assert!(error.report().contains("did you mean MAINSTAY_POOL__MAX_SIZE?"), "{error:?}");
}

#[test]
fn a_wrong_value_names_its_key_and_origin() {
    let error = Loader::new()
        .environment(env(&[("MAINSTAY_POOL__MAX_SIZE", "many")]))
        .load::<Config>()
        .unwrap_err();
    assert_eq!(error.code(), Code::ConfigValue);
    assert!(
        error.what().contains("`pool.max_size` in the environment's MAINSTAY_POOL__MAX_SIZE"),
        "{error}"
    );
}

#[test]
fn a_broken_file_names_the_line() {
    let (_dir, path) = file("[pool]\nmax_size = = 3\n");
    let error = Loader::new().file(&path).environment([]).load::<Config>().unwrap_err();
    assert_eq!(error.code(), Code::ConfigFile);
    assert!(error.report().contains("line 2"), "{error:?}");
}

#[test]
fn a_missing_file_is_an_error_only_where_it_was_asked_for() {
    let error = Loader::new().file("/nowhere/mainstay.toml").environment([]).load::<Config>();
    assert_eq!(error.unwrap_err().code(), Code::ConfigFile);
    Loader::new()
        .file_if_present("/nowhere/mainstay.toml")
        .environment([])
        .load::<Config>()
        .unwrap();
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Nested {
    x: Secrets,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Secrets {
    password: String,
    ratio: f64,
    count: u32,
    limit: Option<u32>,
    token: Option<String>,
}

#[test]
fn a_text_of_digits_stays_a_text_and_no_value_is_shown() {
    let load = |all: &[(&str, &str)]| Loader::new().environment(env(all)).load::<Nested>();
    let all = [("MAINSTAY_X__PASSWORD", "123456"), ("MAINSTAY_X__RATIO", "0.5")];
    let Secrets { password, ratio, .. } = load(&all).unwrap().value.x;
    assert_eq!((password.as_str(), ratio), ("123456", 0.5));
    let all = [("MAINSTAY_X__LIMIT", "5"), ("MAINSTAY_X__TOKEN", "123")];
    let Secrets { limit, token, .. } = load(&all).unwrap().value.x;
    assert_eq!((limit, token.as_deref()), (Some(5), Some("123")));
    assert!(load(&[("MAINSTAY_X__LIMIT", "many")]).is_err());
    let error = load(&[("MAINSTAY_X__COUNT", "s3cret")]).unwrap_err();
    assert!(!error.report().contains("s3cret"), "{error:?}");
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Shards {
    databases: std::collections::BTreeMap<String, Strict>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Strict {
    url: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    shards: Shards,
}

#[test]
fn a_key_that_a_table_of_any_names_does_not_know_is_named_whole() {
    let (_dir, path) = file("[databases.a]\nurl = \"sqlite:a.db\"\nx = 1\n");
    let error = Loader::new().file(&path).environment([]).load::<Flat>().unwrap_err();
    assert_eq!(error.code(), Code::ConfigUnknownKey);
    assert!(error.what().contains("`databases.a.x` in "), "{error:?}");
    assert!(error.what().ends_with("mainstay.toml"), "{error:?}");
    let (_dir, path) = file("[databases.a]\nx = 1\n[databases.b]\nx = 1\n");
    let error = Loader::new().file(&path).environment([]).load::<Flat>().unwrap_err();
    assert_eq!(error.what(), "unknown key `x` in a table");
    assert!(error.report().contains("the keys there are url"), "{error:?}");
}
