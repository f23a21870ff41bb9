//! SQLite: a file, read by its pragmas. It keeps no counters, so nothing is known of use, waits or sessions.

mod file;
mod schema;

use mainstay_core::{Code, Error, Result};

use super::check::Check;
use super::ctx::{Answer, Ctx, Facts, text, whole};

pub(super) async fn facts(ctx: &mut Ctx) -> Result<Facts> {
    let rows = ctx.rows("SELECT sqlite_version(), count(*) FROM sqlite_schema").await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "no answer"))?;
    Ok(Facts { version: format!("SQLite {}", text(row, 0)?), ..Facts::default() })
}

pub(super) async fn examine(check: Check, ctx: &mut Ctx) -> Result<Answer> {
    match check {
        Check::Settings => file::settings(ctx).await,
        Check::BloatedTables => file::free(ctx).await,
        Check::Integrity => file::integrity(ctx).await,
        Check::References => file::references(ctx).await,
        Check::DuplicateIndexes => schema::duplicates(ctx).await,
        Check::ForeignKeys => schema::foreign_keys(ctx).await,
        Check::PrimaryKeys => schema::primary_keys(ctx).await,
        Check::Sequences => schema::sequences(ctx).await,
        Check::Statistics => schema::statistics(ctx).await,
        Check::Types => schema::types(ctx).await,
        other => Ok(Answer::Unknown(format!("{other} is not on SQLite"))),
    }
}

/// The number that a pragma answers with.
async fn pragma(ctx: &mut Ctx, name: &str) -> Result<i64> {
    let rows = ctx.rows(&format!("PRAGMA {name}")).await?;
    rows.first().map_or(Ok(0), |row| whole(row, 0))
}
