//! A thousand migrations from connecting to done, and a start that finds all of them done.

use std::path::Path;
use std::str::FromStr;

use mainstay::Db;
use mainstay::clock::Clock;
use mainstay_migrate::{Migrations, Migrator, Target};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::report::{Better, Case, median};
use crate::servers::{Engine, Fresh, fresh};

const MIGRATIONS: usize = 1000;
/// Rounds in which the candidates take turns.
const ROUNDS: usize = 3;
/// Starts with nothing to do, a round.
const STARTS: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    Refinery,
    Sqlx,
}

const ALL: [Who; 3] = [Who::Ours, Who::Refinery, Who::Sqlx];

pub(crate) async fn run(engine: Engine) -> Vec<Case> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (flyway, sqlx) = (folder.path().join("flyway"), folder.path().join("sqlx"));
    for folder in [&flyway, &sqlx] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    for n in 1..=MIGRATIONS {
        let sql =
            format!("CREATE TABLE t{n} (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL);\n");
        let write = |folder: &Path, name: String| std::fs::write(folder.join(name), &sql);
        write(&flyway, format!("V{n}__table_{n}.sql")).expect("a migration");
        write(&sqlx, format!("{n}_table_{n}.sql")).expect("a migration");
    }
    let mut applied: [Vec<f64>; 3] = Default::default();
    let mut started: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..ALL.len() {
            let who = ALL[(turn + round) % ALL.len()];
            let database = fresh(engine).await;
            let folder = if who == Who::Sqlx { &sqlx } else { &flyway };
            applied[who as usize].push(timed(who, engine, &database, folder).await);
            for _ in 0..STARTS {
                started[who as usize].push(timed(who, engine, &database, folder).await);
            }
        }
    }
    let case = |what: &str, all: [Vec<f64>; 3]| {
        let [ours, refinery, sqlx] = all.map(median);
        Case::new(format!("{what}, {}", engine.name()), "ms", Better::Lower, ours)
            .peer("refinery", refinery)
            .peer("sqlx", sqlx)
    };
    vec![case("1,000 migrations applied", applied), case("a start with 1,000 applied", started)]
}

/// From reading the files and connecting to done, in milliseconds.
async fn timed(who: Who, engine: Engine, database: &Fresh, folder: &Path) -> f64 {
    let clock = Clock::system();
    let begun = clock.now();
    match who {
        Who::Ours => {
            let db = Db::connect(&database.url).await.expect("connected");
            let migrator = Migrator::new(&db, Migrations::new().folder(folder)).on(|_| {});
            migrator.up(Target::Latest).await.expect("migrated");
        }
        Who::Sqlx => sqlx(engine, &database.url, folder).await,
        Who::Refinery => refinery(engine, &database.url, folder).await,
    }
    (clock.now() - begun).as_secs_f64() * 1e3
}

async fn sqlx(engine: Engine, url: &str, folder: &Path) {
    let migrator = sqlx::migrate::Migrator::new(folder).await.expect("read");
    match engine {
        Engine::Sqlite => {
            // As durable as ours, and with the same journal.
            let mut connection = SqliteConnectOptions::from_str(url)
                .expect("a URL")
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .connect()
                .await
                .expect("connected");
            migrator.run(&mut connection).await.expect("migrated");
        }
        Engine::Postgres => {
            let mut connection = sqlx::PgConnection::connect(url).await.expect("connected");
            migrator.run(&mut connection).await.expect("migrated");
        }
        Engine::MariaDb => {
            let mut connection = sqlx::MySqlConnection::connect(url).await.expect("connected");
            migrator.run(&mut connection).await.expect("migrated");
        }
    }
}

async fn refinery(engine: Engine, url: &str, folder: &Path) {
    let migrations = refinery::load_sql_migrations(folder).expect("read");
    let runner = refinery::Runner::new(&migrations);
    if engine == Engine::Sqlite {
        let path = url.trim_start_matches("sqlite:").to_owned();
        let work = tokio::task::spawn_blocking(move || {
            let mut connection = rusqlite::Connection::open(path).expect("opened");
            connection.pragma_update(None, "journal_mode", "WAL").expect("the same journal");
            connection.pragma_update(None, "synchronous", "FULL").expect("as durable");
            runner.run(&mut connection).expect("migrated");
        });
        return work.await.expect("it ran");
    }
    let plain = url.split('?').next().unwrap_or(url);
    let mut config = refinery::config::Config::from_str(plain).expect("a URL");
    runner.run_async(&mut config).await.expect("migrated");
}
