//! `mainstay lab`: a database's behaviour, shown live on the user's own.

mod covering;
mod deadlock;
mod exhaustion;
mod isolation;
mod lag;
mod leak;
mod measure;
mod nplusone;
mod prefix;
mod print;
mod scenarios;
mod session;
mod skew;
mod table;
mod watch;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};
use mainstay_pool::Options;

pub use covering::{Covering, covering_index};
pub use deadlock::{Report, deadlock};
pub use exhaustion::{Exhaustion, Orders, pool_exhaustion, small_pool};
pub use isolation::{Cell, Matrix, Row, Verdict, isolation, parts};
pub use lag::{Lag, Moment, Pairs, replication_lag};
pub use leak::{InUse, Kept, Leak, leak};
pub use measure::{Access, Measured};
pub use nplusone::{Loaded, NPlusOne, n_plus_one};
pub use prefix::{Built, LeftPrefix, index_left_prefix};
pub use scenarios::{ANOMALIES, Anomaly};
pub use skew::{Case, Skew, shard_skew};

use crate::target::Target;

/// Connections: three scenarios of three transactions, and who looks at them.
const CONNECTIONS: u32 = 12;

/// What can be shown.
#[derive(Debug, Subcommand)]
pub enum Lab {
    /// Runs the classic anomalies at each isolation level, and prints which really happen
    Isolation(Where),
    /// Makes a deadlock, shows both its sides, and how the victim is run again
    Deadlock(Where),
    /// Loads a list with a query for each row, then with one for all, and counts what both take
    NPlusOne(Where),
    /// Keeps connections through calls to another service until the pool is empty, then does not
    PoolExhaustion(Where),
    /// Keeps connections that nobody uses any more, shows who has them, then gives them back
    Leak(Where),
    /// Shows which queries an index on (a, b, c) serves, and builds what the doctor says the others lack
    IndexLeftPrefix(Where),
    /// Has an index answer a query alone, and measures what that costs who writes
    CoveringIndex(Where),
    /// Reads from a replica that is behind what was just written, then from one that is not, on private servers
    ReplicationLag(Servers),
    /// Places the same keys by hash and by range, and shows which shard has most, and gets most now
    ShardSkew(Keys),
}

impl Lab {
    /// `None` of those that need no database of the user's.
    fn place(&self) -> Option<&Where> {
        Some(match self {
            Lab::Isolation(place)
            | Lab::Deadlock(place)
            | Lab::NPlusOne(place)
            | Lab::PoolExhaustion(place)
            | Lab::Leak(place)
            | Lab::IndexLeftPrefix(place)
            | Lab::CoveringIndex(place) => place,
            Lab::ReplicationLag(_) | Lab::ShardSkew(_) => return None,
        })
    }

    fn pool(&self) -> Options {
        if matches!(self, Lab::PoolExhaustion(_) | Lab::Leak(_)) {
            return small_pool();
        }
        Options {
            max_size: CONNECTIONS,
            // A transaction may wait for a lock for as long as a scenario takes.
            acquire_timeout: Duration::from_secs(60),
            leak_after: None,
            transaction_idle_after: None,
            ..Options::default()
        }
    }
}

/// On which database, and how it is shown.
#[derive(Debug, Args)]
pub struct Where {
    /// The database; also DATABASE_URL or mainstay.toml [default: SQLite in a temporary folder]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Of which engine the private servers are, and how it is shown.
#[derive(Debug, Args)]
pub struct Servers {
    /// The engine of the private servers
    #[arg(long, value_enum, default_value = "postgres")]
    engine: Kind,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// What keys are made from, and how it is shown.
#[derive(Debug, Args)]
pub struct Keys {
    /// What the keys are made from: the same makes the same
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    seed: u64,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Postgres,
    #[value(alias = "mysql")]
    Mariadb,
    Sqlite,
}

/// Those that need no database of the user's.
async fn alone(lab: &Lab) -> Result<()> {
    match lab {
        Lab::ReplicationLag(servers) => {
            let engine = match servers.engine {
                Kind::Postgres => Engine::Postgres,
                Kind::Mariadb => Engine::MySql,
                Kind::Sqlite => Engine::Sqlite,
            };
            print::lag(&told(|say| replication_lag(engine, say)).await?, servers.json);
        }
        Lab::ShardSkew(keys) => {
            print::skew(&told(|say| shard_skew(keys.seed, say)).await?, keys.json);
        }
        _ => {}
    }
    Ok(())
}

/// Runs what was asked for, and leaves nothing behind, also where it is stopped by Ctrl-C.
///
/// Errors: CFG-001 to CFG-004, those of [`connect`](mainstay_db::Connect::connect) and of a statement.
pub async fn run(lab: Lab) -> Result<()> {
    let Some(place) = lab.place() else {
        // The servers end with this process, however it ends.
        return tokio::select! {
            shown = Box::pin(alone(&lab)) => shown,
            _ = tokio::signal::ctrl_c() => Err(Error::user("stopped")),
        };
    };
    let target = Target::find(place.url.clone())?;
    let db = target.connect().name("lab").pool(lab.pool()).connect().await?;
    if !place.json {
        eprintln!("{} ({})", db.place(), target.origin);
    }
    let shown = tokio::select! {
        shown = Box::pin(show(&lab, &db)) => shown,
        _ = tokio::signal::ctrl_c() => Err(Error::user("stopped; what was made is dropped again")),
    };
    if shown.is_err() {
        // Those under way are rolled back first, by the pool.
        tokio::time::timeout(Duration::from_secs(10), table::sweep(&db)).await.unwrap_or_else(
            |_| Err(Error::new(Code::LockTimeout, "tables of the lab are left: mainstay_lab_...")),
        )?;
    }
    db.close(Duration::from_secs(10)).await?;
    shown
}

async fn show(lab: &Lab, db: &Db) -> Result<()> {
    match lab {
        Lab::Isolation(place) => {
            let bar = ProgressBar::new(parts(db) as u64).with_style(style());
            let matrix = isolation(db, |done| bar.set_position(done as u64)).await;
            bar.finish_and_clear();
            print::matrix(&matrix?, place.json);
        }
        Lab::Deadlock(place) => {
            let json = place.json;
            let report = deadlock(db, |line| {
                if !json {
                    println!("  {line}");
                }
            });
            print::deadlock(&report.await?, place.json);
        }
        Lab::NPlusOne(place) => {
            print::n_plus_one(&told(|say| n_plus_one(db, say)).await?, place.json);
        }
        Lab::PoolExhaustion(place) => {
            print::exhaustion(&told(|say| pool_exhaustion(db, say)).await?, place.json);
        }
        Lab::Leak(place) => print::leak(&told(|say| leak(db, say)).await?, place.json),
        Lab::IndexLeftPrefix(place) => {
            print::left_prefix(&told(|say| index_left_prefix(db, say)).await?, place.json);
        }
        Lab::CoveringIndex(place) => {
            print::covering(&told(|say| covering_index(db, say)).await?, place.json);
        }
        Lab::ReplicationLag(_) | Lab::ShardSkew(_) => alone(lab).await?,
    }
    Ok(())
}

/// Runs a scenario, with what it says it does beside something that turns, for as long as that takes.
async fn told<T, F: Future<Output = Result<T>>>(
    scenario: impl FnOnce(Box<dyn Fn(&str) + Sync>) -> F,
) -> Result<T> {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    let shown = bar.clone();
    let outcome = scenario(Box::new(move |line| shown.set_message(line.to_owned()))).await;
    bar.finish_and_clear();
    outcome
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos}/{len} scenarios, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
