//! The examination's own connection: one, that can't write.

use std::path::Path;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Session};
use mainstay_pool::Options as Pool;

use super::options::Options;

/// A handle with one connection. Errors: as [`Connect::connect`](mainstay_db::Connect::connect).
pub(super) async fn connect(url: &str, options: &Options, clock: &Clock) -> Result<Db> {
    let pool = Pool {
        max_size: 1,
        acquire_timeout: Duration::from_secs(2),
        leak_after: None,
        transaction_idle_after: None,
        keepalive: None,
        ..Pool::default()
    };
    let url = read_only(url)?;
    let open = |url: &str| {
        Db::builder(url)
            .name("doctor")
            .pool(pool.clone())
            .clock(clock.clone())
            .statement_timeout(Some(options.statement_timeout()))
            .connect()
    };
    let opened = open(&url).await;
    match (&opened, still(&url)) {
        // A WAL can't be read without a file beside it, which can't be made in this folder. Nobody else has the file open.
        (Err(error), Some(still)) if error.code() == Code::File => open(&still).await,
        _ => opened,
    }
}

/// A SQLite file is opened for reading alone, and a private server is not made for it.
fn read_only(url: &str) -> Result<String> {
    let (scheme, rest) = url.split_once(':').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("postgres+local") {
        let folder = Path::new(rest.trim_start_matches("//"));
        if !folder.is_dir() {
            let what = format!("there is no private server in {}", folder.display());
            return Err(Error::new(Code::File, what));
        }
    }
    let is_file = scheme.eq_ignore_ascii_case("sqlite") && !rest.contains(":memory:");
    if !is_file || rest.contains("mode=ro") || rest.contains("immutable=") {
        return Ok(url.to_owned());
    }
    // Another mode would win or lose by its place in the URL.
    let url = url.replace("mode=rwc", "mode=ro").replace("mode=rw", "mode=ro");
    if url.contains("mode=") {
        return Ok(url);
    }
    Ok(format!("{url}{}mode=ro", if rest.contains('?') { '&' } else { '?' }))
}

/// The URL of a SQLite file that nothing is written to, as there is no WAL beside it.
fn still(url: &str) -> Option<String> {
    let path = url.strip_prefix("sqlite:")?.split('?').next()?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let wal = std::fs::metadata(format!("{path}-wal")).map_or(0, |file| file.len());
    (url.ends_with("mode=ro") && Path::new(path).is_file() && wal == 0)
        .then(|| format!("{url}&immutable=1"))
}

/// Has the session refuse to write and to wait. PostgreSQL is told for each check anew.
pub(super) async fn guard(session: &mut Session) -> Result<()> {
    if session.engine() == Engine::MySql {
        session.run("SET SESSION TRANSACTION READ ONLY").await?;
        session.run("SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1").await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_opened_for_reading() {
        assert_eq!(read_only("sqlite:a.db").unwrap(), "sqlite:a.db?mode=ro");
        assert_eq!(
            read_only("sqlite:a.db?cache=shared").unwrap(),
            "sqlite:a.db?cache=shared&mode=ro"
        );
        assert_eq!(read_only("sqlite::memory:").unwrap(), "sqlite::memory:");
        assert_eq!(read_only("postgres://h/d").unwrap(), "postgres://h/d");
        let error = read_only("postgres+local:/nowhere/at/all").unwrap_err();
        assert_eq!(error.code(), Code::File);
    }
}
