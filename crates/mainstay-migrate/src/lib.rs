//! Schema migrations for SQLite, PostgreSQL and MySQL/MariaDB.
//!
//! Plain SQL files under Flyway's names, with Flyway's history, checksums and lock, so that either can
//! go on where the other stopped; run statement by statement where no transaction can hold them, and
//! gone on with after a failure.
//!
//! ```
//! use mainstay_migrate::{Migrations, Migrator, Target};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let db = mainstay_db::Db::connect("sqlite::memory:").await?;
//! let migrations = Migrations::new()
//!     .text("V1__users.sql", "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
//!     .text("R__names.sql", "DROP VIEW IF EXISTS names; CREATE VIEW names AS SELECT name FROM users");
//! let report = Migrator::new(&db, migrations).up(Target::Latest).await?;
//! assert_eq!(report.applied.len(), 2);
//! # Ok::<(), mainstay_core::Error>(()) }).unwrap();
//! ```
//!
//! What it does not do: it works out no difference between two schemas, and never drops what it did
//! not make.

mod amend;
mod callback;
mod checksum;
mod concurrent;
mod conf;
pub mod copy;
mod database;
mod doubt;
mod history;
mod info;
pub mod lint;
mod liquibase;
mod lock;
mod migrator;
mod name;
mod nature;
pub mod online;
mod options;
mod placeholder;
mod plan;
mod progress;
mod retry;
mod run;
mod script;
mod source;
mod split;
mod start;
mod state;
mod stepwise;
mod takeover;
mod told;
mod validate;
mod version;

pub use amend::Repaired;
pub use callback::Event;
pub use checksum::checksum;
pub use include_dir;
pub use info::{Info, Migration};
pub use liquibase::{ChangeSetSql, ChangeSetStatus, Changelog, ChangelogReport, RollbackTo};
pub use migrator::{DryRun, Migrator, Ran, Report};
pub use options::{OnStart, Options};
pub use plan::Target;
pub use script::split_file;
pub use source::Migrations;
pub use split::{Statement, split};
pub use start::Started;
pub use state::State;
pub use takeover::{TakenOver, Takeover, Tool};
pub use told::Told;
pub use validate::{Problem, Validation};
pub use version::Version;

/// Embeds a folder of migrations at compile time: `migrations!("$CARGO_MANIFEST_DIR/migrations")` is a
/// [`Migrations`]. Cargo builds again when a file of it changes; for a file that is added it needs a
/// `build.rs` that prints `cargo:rerun-if-changed=migrations`.
#[macro_export]
macro_rules! migrations {
    ($path:tt) => {{
        use $crate::include_dir;
        static FOLDER: include_dir::Dir<'static> = include_dir::include_dir!($path);
        $crate::Migrations::new().embedded(&FOLDER)
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    /// What can't be spawned is of no use to a service.
    #[tokio::test]
    async fn futures_can_be_spawned() {
        let db = mainstay_db::Db::connect("sqlite::memory:").await.unwrap();
        let migrator = Migrator::new(&db, Migrations::new());
        is_send(&migrator.up(Target::Latest));
        is_send(&migrator.undo(None));
        is_send(&migrator.repair());
        is_send(&migrator.baseline());
        is_send(&migrator.start());
        is_send(&migrator.info());
        is_send(&migrator.validate());
        is_send(&migrator.dry_run(Target::Latest));
        is_send(&migrator.lint(true, lint::LintOptions::default()));
        is_send(&migrator.takeover(&Takeover::default()));
        let changelog = Changelog::new(&db, "x");
        is_send(&changelog.update());
        is_send(&changelog.rollback(RollbackTo::Count(1)));
        is_send(&changelog.status());
        let online = online::Online::new(&db);
        is_send(&online.backfill("x"));
        is_send(&online.contract("x", true));
        is_send(&online.abort("x"));
        is_send(&copy::Copy::new(&db, &db).run());
    }
}
