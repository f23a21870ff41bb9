//! BEGIN and COMMIT, with nothing and with one statement between.

use mainstay::clock::Clock;
use sqlx::{Connection, Executor};

use crate::report::{Better, Case, median, micros};
use crate::servers::{Engine, connect, fresh};

/// Rounds in which the candidates take turns, so that a slow minute hits all alike.
const ROUNDS: usize = 31;
/// Runs in a turn, after some that warm up what the others have let go cold.
const PER_TURN: usize = 30;
const WARM_UP: usize = 10;

macro_rules! timed {
    ($clock:ident, $into:expr, $work:expr) => {{
        for run in 0..WARM_UP + PER_TURN {
            let begun = $clock.now();
            $work;
            if run >= WARM_UP {
                $into.push(micros($clock.now() - begun));
            }
        }
    }};
}

/// Ours, a bare connection, the driver's pool, each without and with a statement. Who is first changes
/// from round to round, since the first pays for what the one before has left to be written.
macro_rules! on {
    ($connection:ty, $pool:ty, $url:expr, $db:expr, $begin:ident $(, $how:literal)?) => {{
        const SQL: &str = "UPDATE accounts SET balance = balance + 1 WHERE id = 7";
        let clock = Clock::system();
        let mut bare = <$connection>::connect($url).await.expect("a bare connection");
        let pool = <$pool>::connect($url).await.expect("the driver's pool");
        let mut all: [Vec<f64>; 6] = Default::default();
        for turn in 0..ROUNDS * 6 {
            let nth = (turn / 6 + turn) % 6;
            match nth {
                0 => timed!(clock, all[0], {
                    $db.transaction(|_| async { Ok(()) }).await.expect("committed");
                }),
                1 => timed!(clock, all[1], {
                    let tx = bare.$begin($($how)?).await.expect("begun");
                    tx.commit().await.expect("committed");
                }),
                2 => timed!(clock, all[2], {
                    let tx = pool.$begin($($how)?).await.expect("begun");
                    tx.commit().await.expect("committed");
                }),
                3 => timed!(clock, all[3], {
                    let work = $db.transaction(|tx| async move { tx.query(SQL).execute().await });
                    work.await.expect("committed");
                }),
                4 => timed!(clock, all[4], {
                    let mut tx = bare.$begin($($how)?).await.expect("begun");
                    tx.execute(sqlx::query(SQL)).await.expect("changed");
                    tx.commit().await.expect("committed");
                }),
                _ => timed!(clock, all[5], {
                    let mut tx = pool.$begin($($how)?).await.expect("begun");
                    tx.execute(sqlx::query(SQL)).await.expect("changed");
                    tx.commit().await.expect("committed");
                }),
            }
        }
        all.map(median)
    }};
}

pub(crate) async fn run(engine: Engine) -> Vec<Case> {
    let fresh = fresh(engine).await;
    let db = connect(&fresh).await;
    db.script("CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)")
        .await
        .expect("a table");
    let rows = (0..100i64).map(|n| (n, 0i64));
    db.bulk_insert("accounts", &["id", "balance"], rows).await.expect("rows");
    let all = match engine {
        Engine::Sqlite => {
            on!(
                sqlx::SqliteConnection,
                sqlx::SqlitePool,
                &fresh.url,
                db,
                begin_with,
                "BEGIN IMMEDIATE"
            )
        }
        Engine::Postgres => on!(sqlx::PgConnection, sqlx::PgPool, &fresh.url, db, begin),
        Engine::MariaDb => on!(sqlx::MySqlConnection, sqlx::MySqlPool, &fresh.url, db, begin),
    };
    ["BEGIN, COMMIT", "BEGIN, UPDATE, COMMIT"]
        .into_iter()
        .zip(all.chunks(3))
        .map(|(what, figures)| {
            let case = format!("{what}, p50, {}", engine.name());
            Case::new(case, "us", Better::Lower, figures[0])
                .peer("sqlx connection", figures[1])
                .peer("sqlx::Pool", figures[2])
        })
        .collect()
}
