//! Which database the doctor looks at, and how far it may go there.

use std::time::Duration;

use clap::Args;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use mainstay_doctor::advice::{Options, Scratch};
use mainstay_pool::Options as Pool;
use serde::Serialize;

use crate::target::Target;

/// Two sessions: one that looks up, one that has hypothetical indexes.
const CONNECTIONS: u32 = 3;

/// Whatever is not given comes from mainstay.toml and the environment.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The database; also DATABASE_URL or mainstay.toml
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Where indexes are tried: private (a server of its own, in a temporary folder), off, or the URL of an empty database
    #[arg(long, value_name = "WHERE", default_value = "private")]
    scratch: String,
    /// Seconds that all of it may take
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    budget_s: u64,
    /// Megabytes that may be copied to try indexes on; of more, a sample is
    #[arg(long, value_name = "MB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65536))]
    copy_mb: u64,
    /// Prints JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Place {
    /// Errors: CFG-001 to CFG-004, and those of [`connect`](mainstay_db::Connect::connect).
    pub(crate) async fn connect(&self) -> Result<Db> {
        let target = self.target()?;
        if target.is_own() {
            return Err(Error::new(Code::ConfigUrl, "no database is named").fix(
                "give --url, set DATABASE_URL, or write url under [database] in mainstay.toml",
            ));
        }
        connect(&target).await
    }

    /// Errors: CFG-001 to CFG-003.
    pub(crate) fn target(&self) -> Result<Target> {
        Target::find(self.url.clone())
    }

    pub(crate) fn options(&self) -> Result<Options> {
        let scratch = match self.scratch.as_str() {
            "private" => Scratch::Private,
            "off" => Scratch::Off,
            url if url.contains(':') => Scratch::Url(url.to_owned()),
            other => {
                let what = format!("--scratch {other} is not private, off or a URL");
                return Err(Error::new(Code::Argument, what));
            }
        };
        let budget = Duration::from_secs(self.budget_s);
        Ok(Options { budget, scratch, copy_bytes: self.copy_mb << 20, ..Options::default() })
    }
}

/// With a pool of a few connections. Errors: those of [`connect`](mainstay_db::Connect::connect).
pub(crate) async fn connect(target: &Target) -> Result<Db> {
    let pool = Pool {
        max_size: CONNECTIONS,
        leak_after: None,
        transaction_idle_after: None,
        ..Pool::default()
    };
    target.connect().name("doctor").pool(pool).connect().await
}

pub(crate) async fn close(db: Db) -> Result<()> {
    db.close(Duration::from_secs(10)).await
}

pub(crate) fn as_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::user(e.to_string()))?;
    println!("{text}");
    Ok(())
}
