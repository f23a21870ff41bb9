//! The handle beside the bare driver and the driver's own pool.

use std::time::Duration;

use mainstay::Db;
use mainstay::clock::Clock;
use mainstay::observe::{Statement, Subscriber};
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::report::{Better, Case, median, micros};
use crate::servers::{Engine, Fresh, connect, fresh};
use crate::{shop, transfers};

/// Rounds in which the candidates take turns, so that a slow minute hits all alike.
const ROUNDS: usize = 21;
const SELECTS_PER_ROUND: usize = 600;
const ROWS: i64 = 100_000;
const BULK_ROUNDS: usize = 5;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for engine in Engine::ALL {
        cases.extend(select_by_key(engine).await);
    }
    for engine in Engine::ALL {
        cases.push(bulk_insert(engine).await);
    }
    for engine in Engine::ALL {
        cases.push(transfers::run(engine).await);
    }
    cases.extend(shop::run().await);
    cases
}

/// Somebody listens, so that observation is paid for.
struct Listens;

impl Subscriber for Listens {
    fn statement(&self, event: &Statement<'_>) {
        std::hint::black_box(event);
    }
}

/// The time of each of `SELECTS_PER_ROUND` runs of `work`.
macro_rules! timed {
    ($n:ident => $work:expr) => {{
        let clock = Clock::system();
        let mut times = Vec::with_capacity(SELECTS_PER_ROUND);
        for i in 0..SELECTS_PER_ROUND {
            let $n = (i as i64 * 37) % 1000;
            let begun = clock.now();
            std::hint::black_box($work);
            times.push(micros(clock.now() - begun));
        }
        median(times)
    }};
}

macro_rules! select_on {
    ($connection:ty, $pool:ty, $url:expr, $db:expr, $sql:literal) => {{
        let mut bare = <$connection>::connect($url).await.expect("a bare connection");
        let pool = <$pool>::connect($url).await.expect("the driver's pool");
        let (mut ours, mut bares, mut pools) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(timed!(n => {
                let row: (i64, String) =
                    $db.query("SELECT id, name FROM t WHERE id = $1").bind(n).one().await.expect("a row");
                row
            }));
            bares.push(timed!(n => {
                let row = sqlx::query($sql).bind(n).fetch_one(&mut bare).await.expect("a row");
                (row.get::<i64, _>(0), row.get::<String, _>(1))
            }));
            pools.push(timed!(n => {
                let row = sqlx::query($sql).bind(n).fetch_one(&pool).await.expect("a row");
                (row.get::<i64, _>(0), row.get::<String, _>(1))
            }));
        }
        (median(ours), median(bares), median(pools))
    }};
}

async fn select_by_key(engine: Engine) -> Vec<Case> {
    let fresh = fresh(engine).await;
    let db = connect(&fresh).await;
    db.observer().subscribe(Listens);
    db.script("CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL)")
        .await
        .expect("a table");
    let rows = (0..1000i64).map(|n| (n, format!("name {n}")));
    db.bulk_insert("t", &["id", "name"], rows).await.expect("rows");
    let (ours, bare, pool) = match engine {
        Engine::Sqlite => select_on!(
            sqlx::SqliteConnection,
            sqlx::SqlitePool,
            &fresh.url,
            db,
            "SELECT id, name FROM t WHERE id = $1"
        ),
        Engine::Postgres => select_on!(
            sqlx::PgConnection,
            sqlx::PgPool,
            &fresh.url,
            db,
            "SELECT id, name FROM t WHERE id = $1"
        ),
        Engine::MariaDb => select_on!(
            sqlx::MySqlConnection,
            sqlx::MySqlPool,
            &fresh.url,
            db,
            "SELECT id, name FROM t WHERE id = ?"
        ),
    };
    let case = format!("SELECT by key, p50, observed, {}", engine.name());
    vec![
        Case::new(case, "us", Better::Lower, ours)
            .peer("sqlx connection", bare)
            .peer("sqlx::Pool", pool),
    ]
}

type Five = (i64, String, i64, f64, bool);

fn five(n: i64) -> Five {
    (n, format!("name of row {n}"), n * 7 % 1000, n as f64 / 3.0, n % 2 == 0)
}

const COLUMNS: &[&str] = &["id", "name", "n", "x", "flag"];

async fn bulk_insert(engine: Engine) -> Case {
    let fresh = fresh(engine).await;
    let db = connect(&fresh).await;
    db.script("CREATE TABLE b (id BIGINT PRIMARY KEY, name VARCHAR(50), n BIGINT, x DOUBLE PRECISION, flag BOOLEAN)")
        .await
        .expect("a table");
    let clock = Clock::system();
    let mut ours = Vec::new();
    let mut theirs: Vec<(&str, Vec<f64>)> = Vec::new();
    for round in 0..BULK_ROUNDS {
        empty(&db).await;
        let begun = clock.now();
        db.bulk_insert("b", COLUMNS, (0..ROWS).map(five)).await.expect("all rows");
        ours.push(millis(clock.now() - begun));
        for (i, (name, took)) in peers(engine, &fresh, &db, &clock).await.into_iter().enumerate() {
            if round == 0 {
                theirs.push((name, Vec::new()));
            }
            theirs[i].1.push(took);
        }
    }
    let case = format!("bulk insert, 100,000 rows of 5, {}", engine.name());
    let case = Case::new(case, "ms", Better::Lower, median(ours));
    theirs.into_iter().fold(case, |case, (name, times)| case.peer(name, median(times)))
}

async fn empty(db: &Db) {
    db.query("DELETE FROM b").execute().await.expect("an empty table");
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// The ways in which the bare driver can be used to insert many rows.
async fn peers(engine: Engine, fresh: &Fresh, db: &Db, clock: &Clock) -> Vec<(&'static str, f64)> {
    let mut out = Vec::new();
    macro_rules! measure {
        ($name:literal, $work:expr) => {{
            empty(db).await;
            let begun = clock.now();
            $work;
            out.push(($name, millis(clock.now() - begun)));
        }};
    }
    match engine {
        Engine::Postgres => {
            let mut bare =
                sqlx::PgConnection::connect(&fresh.url).await.expect("a bare connection");
            measure!("sqlx COPY", copy(&mut bare).await);
            measure!("sqlx UNNEST", unnest(&mut bare).await);
        }
        Engine::MariaDb => {
            let mut bare =
                sqlx::MySqlConnection::connect(&fresh.url).await.expect("a bare connection");
            measure!("sqlx VALUES x 1000", {
                let mut tx = bare.begin().await.expect("begun");
                for chunk in chunks(1000) {
                    push_values::<sqlx::MySql>(chunk)
                        .build()
                        .execute(&mut *tx)
                        .await
                        .expect("inserted");
                }
                tx.commit().await.expect("committed");
            });
            measure!("sqlx VALUES x 10000", {
                let mut tx = bare.begin().await.expect("begun");
                for chunk in chunks(10_000) {
                    push_values::<sqlx::MySql>(chunk)
                        .build()
                        .execute(&mut *tx)
                        .await
                        .expect("inserted");
                }
                tx.commit().await.expect("committed");
            });
        }
        Engine::Sqlite => {
            let mut bare =
                sqlx::SqliteConnection::connect(&fresh.url).await.expect("a bare connection");
            measure!("sqlx VALUES x 1000", {
                let mut tx = bare.begin().await.expect("begun");
                for chunk in chunks(1000) {
                    push_values::<sqlx::Sqlite>(chunk)
                        .build()
                        .execute(&mut *tx)
                        .await
                        .expect("inserted");
                }
                tx.commit().await.expect("committed");
            });
            measure!("sqlx row by row in a transaction", {
                let mut tx = bare.begin().await.expect("begun");
                for row in (0..ROWS).map(five) {
                    sqlx::query("INSERT INTO b VALUES ($1, $2, $3, $4, $5)")
                        .bind(row.0)
                        .bind(row.1)
                        .bind(row.2)
                        .bind(row.3)
                        .bind(row.4)
                        .execute(&mut *tx)
                        .await
                        .expect("inserted");
                }
                tx.commit().await.expect("committed");
            });
        }
    }
    out
}

fn chunks(of: i64) -> impl Iterator<Item = std::ops::Range<i64>> {
    (0..ROWS / of).map(move |n| n * of..(n + 1) * of)
}

fn push_values<D>(ids: std::ops::Range<i64>) -> sqlx::QueryBuilder<D>
where
    D: sqlx::Database,
    for<'a> i64: sqlx::Encode<'a, D> + sqlx::Type<D>,
    for<'a> String: sqlx::Encode<'a, D> + sqlx::Type<D>,
    for<'a> f64: sqlx::Encode<'a, D> + sqlx::Type<D>,
    for<'a> bool: sqlx::Encode<'a, D> + sqlx::Type<D>,
{
    let mut query = sqlx::QueryBuilder::new("INSERT INTO b (id, name, n, x, flag) ");
    query.push_values(ids.map(five), |mut b, row| {
        b.push_bind(row.0).push_bind(row.1).push_bind(row.2).push_bind(row.3).push_bind(row.4);
    });
    query
}

async fn copy(bare: &mut sqlx::PgConnection) {
    let mut copy =
        bare.copy_in_raw("COPY b (id, name, n, x, flag) FROM STDIN").await.expect("COPY");
    let mut buffer = String::new();
    for (id, name, n, x, flag) in (0..ROWS).map(five) {
        use std::fmt::Write;
        writeln!(buffer, "{id}\t{name}\t{n}\t{x}\t{flag}").expect("memory");
        if buffer.len() > 256 * 1024 {
            copy.send(buffer.as_bytes()).await.expect("sent");
            buffer.clear();
        }
    }
    copy.send(buffer.as_bytes()).await.expect("sent");
    copy.finish().await.expect("copied");
}

async fn unnest(bare: &mut sqlx::PgConnection) {
    let rows: Vec<Five> = (0..ROWS).map(five).collect();
    let sql = "INSERT INTO b SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::float8[], $5::bool[])";
    sqlx::query(AssertSqlSafe(sql))
        .bind(rows.iter().map(|r| r.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.1.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.2).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.3).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.4).collect::<Vec<_>>())
        .execute(bare)
        .await
        .expect("inserted");
}
