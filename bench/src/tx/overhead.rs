//! BEGIN and COMMIT, with nothing and with one statement between.

use mainstay::clock::Clock;
use sqlx::{Connection, Executor};

use crate::report::{Better, Case, median, micros};
use crate::servers::{Engine, connect, fresh};

/// Rounds in which the candidates take turns, so that a slow minute hits all alike.
const ROUNDS: usize = 21;
const PER_ROUND: usize = 60;

macro_rules! timed {
    ($work:expr) => {{
        let clock = Clock::system();
        let mut times = Vec::with_capacity(PER_ROUND);
        for _ in 0..PER_ROUND {
            let begun = clock.now();
            $work;
            times.push(micros(clock.now() - begun));
        }
        median(times)
    }};
}

/// (ours, a bare connection, the driver's pool), each without and with a statement.
macro_rules! on {
    ($connection:ty, $pool:ty, $url:expr, $db:expr, $begin:literal) => {{
        const SQL: &str = "UPDATE accounts SET balance = balance + 1 WHERE id = 7";
        let mut bare = <$connection>::connect($url).await.expect("a bare connection");
        let pool = <$pool>::connect($url).await.expect("the driver's pool");
        let mut all: [Vec<f64>; 6] = Default::default();
        for _ in 0..ROUNDS {
            all[0].push(timed!($db.transaction(|_| async { Ok(()) }).await.expect("committed")));
            all[1].push(timed!({
                let tx = bare.begin_with($begin).await.expect("begun");
                tx.commit().await.expect("committed");
            }));
            all[2].push(timed!({
                let tx = pool.begin_with($begin).await.expect("begun");
                tx.commit().await.expect("committed");
            }));
            all[3].push(timed!(
                $db.transaction(|tx| async move { tx.query(SQL).execute().await })
                    .await
                    .expect("committed")
            ));
            all[4].push(timed!({
                let mut tx = bare.begin_with($begin).await.expect("begun");
                tx.execute(sqlx::query(SQL)).await.expect("changed");
                tx.commit().await.expect("committed");
            }));
            all[5].push(timed!({
                let mut tx = pool.begin_with($begin).await.expect("begun");
                tx.execute(sqlx::query(SQL)).await.expect("changed");
                tx.commit().await.expect("committed");
            }));
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
            on!(sqlx::SqliteConnection, sqlx::SqlitePool, &fresh.url, db, "BEGIN IMMEDIATE")
        }
        Engine::Postgres => on!(sqlx::PgConnection, sqlx::PgPool, &fresh.url, db, "BEGIN"),
        Engine::MariaDb => on!(sqlx::MySqlConnection, sqlx::MySqlPool, &fresh.url, db, "BEGIN"),
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
