//! Connecting: every wrong turn is told clearly, and TLS is verified.

use std::time::Duration;

use mainstay_db::{Code, Db};
use mainstay_testkit::{Engine, Fresh, rig};

async fn refused(url: &str) -> mainstay_db::Error {
    Db::connect(url).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_malformed_url_is_told() {
    for (url, part) in [
        ("postgres:/u:s3cret@h/d", "`//` is missing"),
        ("postgres://u:s3cret@h:port/d", "port"),
        ("postgres://u:s3cret@h/d?sslmod=require", "did you mean `sslmode`?"),
        ("mysql://u:s3cret@h/d?colour=red", "unknown parameter `colour`"),
        ("sqlite:a.db?mod=ro", "did you mean `mode`?"),
        ("postgres://u:pa?s3cret@h/d", "write `?` as %3F"),
    ] {
        let error = refused(url).await;
        assert_eq!(error.code(), Code::ConfigUrl, "{error:?}");
        assert!(error.report().contains(part), "{error:?}");
        assert!(!error.report().contains("s3cret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_missing_folder_is_told() {
    let error = refused("sqlite:/no/such/folder/app.db").await;
    assert_eq!(error.code(), Code::File);
    assert!(error.report().contains("mkdir -p /no/such/folder"), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "not a database, but long enough to be taken for one. ".repeat(50))
        .unwrap();
    let error = refused(&format!("sqlite:{}", path.display())).await;
    assert_eq!(error.code(), Code::File, "{error:?}");
    assert!(error.what().contains("notes.txt"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_down_is_told() {
    for url in ["postgres://u:s3cret@127.0.0.1:9/d", "mysql://u:s3cret@127.0.0.1:9/d"] {
        let error = refused(url).await;
        assert_eq!(error.code(), Code::Unreachable, "{error:?}");
        assert!(error.what().contains("127.0.0.1:9"), "{error:?}");
        assert!(!error.report().contains("s3cret"), "{error:?}");
    }
}

/// A server that accepts and then says nothing must not be waited for longer than the bound.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["postgres", "mysql"] {
        let url = format!("{scheme}://u@127.0.0.1:{port}/d");
        let options = mainstay_pool::Options {
            connect_timeout: Duration::from_millis(100),
            ..Default::default()
        };
        let error = Db::builder(&url).pool(options).connect().await.map(drop).unwrap_err();
        assert_eq!(error.code(), Code::Unreachable, "{error:?}");
    }
}

async fn wrong_password(engine: Engine) {
    let fresh = Fresh::new(engine).await;
    let (before, after) = fresh.url().split_once('@').unwrap();
    let user = before.rsplit_once(':').unwrap().0;
    let error = refused(&format!("{user}:wr0ng@{after}")).await;
    assert_eq!(error.code(), Code::Auth, "{error:?}");
    assert!(!error.report().contains("wr0ng"), "{error:?}");
}

async fn wrong_database(server: &str) {
    let error = refused(&format!("{server}/no_such_database")).await;
    assert_eq!(error.code(), Code::NoDatabase, "{error:?}");
    assert!(error.what().contains("no_such_database"), "{error:?}");
}

/// Trusted with the authority's certificate; refused with another's, and where the name differs.
async fn tls(url: &str, verified: &str, authority: &str) {
    let right = rig().authority.display().to_string();
    let db = Db::connect(&format!("{url}?{verified}&{authority}={right}")).await.unwrap();
    db.ping().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.pem");
    std::fs::write(&other, include_str!("other-authority.pem")).unwrap();
    let error = refused(&format!("{url}?{verified}&{authority}={}", other.display())).await;
    assert_eq!(error.code(), Code::Tls, "{error:?}");
    // 127.0.0.2 is the same machine, and not in the certificate.
    let elsewhere = url.replace("127.0.0.1", "127.0.0.2");
    let error = refused(&format!("{elsewhere}?{verified}&{authority}={right}")).await;
    assert!(matches!(error.code(), Code::Tls | Code::Unreachable), "{error:?}");
}

mod postgres {
    use super::*;

    #[tokio::test]
    async fn a_wrong_password_is_told() {
        wrong_password(Engine::Postgres).await;
    }

    #[tokio::test]
    async fn an_unknown_database_is_told() {
        wrong_database(&rig().postgres).await;
    }

    #[tokio::test]
    async fn tls_is_verified_against_a_private_authority() {
        tls(Fresh::new(Engine::Postgres).await.url(), "sslmode=verify-full", "sslrootcert").await;
    }

    #[tokio::test]
    async fn a_unix_socket_serves() {
        let fresh = Fresh::new(Engine::Postgres).await;
        Db::connect(&fresh.socket_url()).await.unwrap().ping().await.unwrap();
    }

    /// The service's own private server: it starts, serves, keeps its data, and ends.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_private_server_keeps_its_data() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let url = format!("postgres+local:{}/pg", dir.path().display());
        let db = Db::connect(&url).await.unwrap();
        db.script("CREATE TABLE kept (n BIGINT); INSERT INTO kept VALUES (7)").await.unwrap();
        db.close(Duration::from_secs(5)).await.unwrap();
        let db = Db::connect(&url).await.unwrap();
        // Another handle, as another process would, joins the server that runs.
        let joined = Db::connect(&url).await.unwrap();
        assert_eq!(joined.query("SELECT n FROM kept").scalar::<i64>().await.unwrap(), 7);
        drop(joined);
        db.ping().await.unwrap();
        db.close(Duration::from_secs(5)).await.unwrap();
    }
}

mod mariadb {
    use super::*;

    #[tokio::test]
    async fn a_wrong_password_is_told() {
        wrong_password(Engine::MariaDb).await;
    }

    #[tokio::test]
    async fn an_unknown_database_is_told() {
        wrong_database(&rig().mariadb).await;
    }

    #[tokio::test]
    async fn tls_is_verified_against_a_private_authority() {
        tls(Fresh::new(Engine::MariaDb).await.url(), "ssl-mode=VERIFY_IDENTITY", "ssl-ca").await;
    }

    #[tokio::test]
    async fn a_unix_socket_serves() {
        let fresh = Fresh::new(Engine::MariaDb).await;
        Db::connect(&fresh.socket_url()).await.unwrap().ping().await.unwrap();
    }
}

/// A writer and readers: reads go on while a transaction writes, and readers can't write.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_reads_beside_its_writer() {
    let fresh = Fresh::new(Engine::Sqlite).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    crate::support::accounts(&db, 1).await;
    let outer = db.clone();
    db.transaction(|tx| {
        let outer = outer.clone();
        async move {
            tx.query("UPDATE accounts SET balance = 5").execute().await?;
            let seen: i64 = outer.query("SELECT balance FROM accounts").scalar().await?;
            assert_eq!(seen, 1000, "the reader sees what was committed");
            Ok(())
        }
    })
    .await
    .unwrap();
    let modes = db.query("PRAGMA journal_mode").rows().await.unwrap();
    assert_eq!(modes[0].at::<String>(0).unwrap(), "wal");
}

/// Nothing that happens to the pool's connection ends a database in memory.
#[tokio::test]
async fn a_database_in_memory_outlives_its_connections() {
    let options = mainstay_pool::Options {
        validate_after: Duration::ZERO,
        recover_timeout: Duration::from_millis(1),
        ..Default::default()
    };
    let db = Db::builder("sqlite::memory:").pool(options).connect().await.unwrap();
    crate::support::accounts(&db, 1).await;
    for n in 0..200 {
        let work = db.transaction(|tx| async move {
            tx.query("UPDATE accounts SET balance = balance + 0").execute().await?;
            tokio::task::yield_now().await;
            Ok(())
        });
        let _ = tokio::time::timeout(Duration::from_micros(n * 3), work).await;
        let _ = db.query("SELECT :id").execute().await;
    }
    let count: i64 = db.query("SELECT COUNT(*) FROM accounts").scalar().await.unwrap();
    assert_eq!(count, 1);
}
