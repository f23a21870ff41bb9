//! `mainstay lab`: a database's behaviour, shown live on the user's own.

mod deadlock;
mod isolation;
mod print;
mod scenarios;
mod session;
mod table;

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use mainstay_pool::Options;

pub use deadlock::{Report, deadlock};
pub use isolation::{Cell, Matrix, Row, Verdict, isolation, parts};
pub use scenarios::{ANOMALIES, Anomaly};

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

/// Runs what was asked for, and leaves nothing behind, also where it is stopped by Ctrl-C.
///
/// Errors: CFG-001 to CFG-004, those of [`connect`](mainstay_db::Connect::connect) and of a statement.
pub async fn run(lab: Lab) -> Result<()> {
    let (Lab::Isolation(place) | Lab::Deadlock(place)) = &lab;
    let target = Target::find(place.url.clone())?;
    let options = Options {
        max_size: CONNECTIONS,
        // A transaction may wait for a lock for as long as a scenario takes.
        acquire_timeout: Duration::from_secs(60),
        leak_after: None,
        transaction_idle_after: None,
        ..Options::default()
    };
    let db = target.connect().name("lab").pool(options).connect().await?;
    if !place.json {
        eprintln!("{} ({})", db.place(), target.origin);
    }
    let shown = tokio::select! {
        shown = show(&lab, &db) => shown,
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
    }
    Ok(())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos}/{len} scenarios, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
