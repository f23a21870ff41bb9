//! `mainstay copy`: moves a service's data from one database to another.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use mainstay_core::{Error, Result};
use mainstay_db::Db;
use mainstay_migrate::copy::{Copied, Copy, CopyTold};
use mainstay_migrate::{Migrations, Migrator, Options, Target};
use mainstay_pool::Options as Pool;

/// One that copies, and those that migrate.
const CONNECTIONS: u32 = 4;

/// From where to where.
#[derive(Debug, Args)]
pub struct Call {
    /// The database that the data are in
    #[arg(long, value_name = "URL")]
    from: String,
    /// The one that they go to; its tables are there already, unless --dir makes them
    #[arg(long, value_name = "URL")]
    to: String,
    /// A table to be copied; may be given several times [default: all]
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<String>,
    /// A folder of migrations that the target gets first; may be given several times
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// The table that migrations keep their history in
    #[arg(long, value_name = "TABLE", default_value = "flyway_schema_history")]
    history: String,
    /// Rows in a batch
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Copies, and prints what was copied. Errors: COPY-001 to COPY-003; those of migrating and of
/// connecting.
pub async fn run(call: Call) -> Result<()> {
    let from = connect(&call.from, "from").await?;
    let to = connect(&call.to, "to").await?;
    if !call.json {
        eprintln!("{} to {}", from.place(), to.place());
    }
    let done = copy(&from, &to, &call).await;
    for db in [from, to] {
        db.close(Duration::from_secs(10)).await?;
    }
    show(&done?, call.json)
}

async fn connect(url: &str, name: &'static str) -> Result<Db> {
    let pool = Pool {
        max_size: CONNECTIONS,
        leak_after: None,
        transaction_idle_after: None,
        ..Pool::default()
    };
    Db::builder(url).name(name).pool(pool).connect().await
}

async fn copy(from: &Db, to: &Db, call: &Call) -> Result<Copied> {
    if !call.dirs.is_empty() {
        let migrations = call.dirs.iter().fold(Migrations::new(), Migrations::folder);
        let options = Options { table: call.history.clone(), ..Options::default() };
        Migrator::new(to, migrations).options(options).up(Target::Latest).await?;
    }
    let mut copy = Copy::new(from, to).batch(call.batch as usize).history(&call.history);
    for table in &call.tables {
        copy = copy.table(table);
    }
    copy.on(progress(call.json)).run().await
}

/// A bar where somebody looks, and a line for each table where nobody does.
fn progress(json: bool) -> impl Fn(CopyTold<'_>) + Send + Sync + 'static {
    let shows_bar = !json && std::io::stderr().is_terminal();
    let bar =
        if shows_bar { ProgressBar::new(0).with_style(style()) } else { ProgressBar::hidden() };
    move |told| match told {
        CopyTold::Table { name, rows_total, rows_done } => {
            bar.reset();
            bar.set_length(rows_total);
            bar.set_position(rows_done);
            bar.set_message(name.to_owned());
        }
        CopyTold::Batch { name, rows_done, rows_per_s, eta, .. } => {
            bar.set_position(rows_done);
            let left = eta.map(|eta| format!(", {} left", HumanDuration(eta))).unwrap_or_default();
            bar.set_message(format!("{name}: {rows_per_s:.0} rows a second{left}"));
        }
        CopyTold::Verified { name, rows } => {
            bar.suspend(|| {
                if !json {
                    eprintln!("{name}: {rows} rows, the same on both sides");
                }
            });
        }
        CopyTold::Note(text) => bar.suspend(|| {
            if !json {
                eprintln!("note: {text}");
            }
        }),
        _ => {}
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {human_pos}/{human_len} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show(copied: &Copied, json: bool) -> Result<()> {
    if json {
        let text = serde_json::to_string_pretty(copied).map_err(|e| Error::user(e.to_string()))?;
        println!("{text}");
        return Ok(());
    }
    let rows: u64 = copied.tables.iter().map(|table| table.rows).sum();
    println!("{} tables with {rows} rows are the same on both sides", copied.tables.len());
    Ok(())
}
