//! What it costs to know how far the primary was: exchanges with the server, counted on the wire.

use std::time::Duration;

use mainstay::route::replica::Settings;
use mainstay::{Db, Result, route};

use super::servers::Servers;
use super::wire::Wire;
use crate::report::{Better, Case};
use crate::servers::Engine;

const TRANSACTIONS: u64 = 200;

pub(super) async fn run() -> Vec<Case> {
    vec![on(Engine::Postgres).await, on(Engine::MariaDb).await]
}

async fn on(engine: Engine) -> Case {
    let servers = Servers::start(engine, 0).await;
    let database = servers.database().await;
    let wire = Wire::to(servers.port(0), Duration::ZERO).await;
    let url = wire.through(&servers.url(0, &database));
    let plain = Db::connect(&url).await.expect("the server");
    let table = "CREATE TABLE pairs (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)";
    plain.script(table).await.expect("a new table");
    plain.query("INSERT INTO pairs VALUES (1, 0)").execute().await.expect("a new row");
    // Its looks at the server are on the same wire: none falls into the measurement.
    let rarely = |settings: &mut Settings| settings.probe_every = Duration::from_secs(3600);
    let cluster = route::Cluster::builder("bench").server("a", Db::builder(&url));
    let cluster = cluster.settings(rarely).connect().await.expect("a cluster");
    let position = match engine {
        Engine::MariaDb => "SELECT @@global.gtid_binlog_pos",
        _ => "SELECT pg_current_wal_insert_lsn()::text",
    };
    let ours = cluster.db();
    let with_token = exchanges(&wire, async || write(&ours).await).await;
    let without = exchanges(&wire, async || write(&plain).await).await;
    let asked = exchanges(&wire, async || {
        write(&plain).await?;
        plain.query(position).scalar::<String>().await.map(drop)
    });
    let asked = asked.await;
    let name =
        format!("exchanges of a transaction that writes and knows its position, {}", engine.name());
    Case::new(name, "count", Better::Lower, with_token)
        .peer("without the position", without)
        .peer("asked for it after COMMIT", asked)
}

async fn write(db: &Db) -> Result<()> {
    db.transaction(|tx| async move {
        tx.query("UPDATE pairs SET n = n + 1 WHERE id = 1").execute().await.map(drop)
    })
    .await
}

/// Of each, once all is prepared.
async fn exchanges(wire: &Wire, work: impl AsyncFn() -> Result<()>) -> f64 {
    for _ in 0..20 {
        work().await.expect("it is written");
    }
    let before = wire.turns();
    for _ in 0..TRANSACTIONS {
        work().await.expect("it is written");
    }
    (wire.turns() - before) as f64 / TRANSACTIONS as f64
}
