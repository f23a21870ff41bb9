//! MariaDB, and MySQL where it has the same. Of `information_schema` each view is read once and alone: joined, they are
//! read again for each row.

mod activity;
mod indexes;
mod settings;
mod tables;

use std::collections::HashMap;

use mainstay_core::{Code, Error, Result};

use super::check::Check;
use super::ctx::{Answer, Ctx, Facts, text};

pub(super) async fn facts(ctx: &mut Ctx) -> Result<Facts> {
    let rows = ctx.rows("SELECT CAST(DATABASE() AS CHAR), CAST(VERSION() AS CHAR)").await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "no answer"))?;
    if text(row, 0)?.is_empty() {
        return Err(Error::new(Code::NoDatabase, "the URL names no database")
            .fix("write it at the end: mysql://USER:PASSWORD@HOST:3306/DATABASE"));
    }
    let version = text(row, 1)?;
    let mariadb = ctx.facts.mariadb;
    let status = status(ctx, &["Threads_connected", "Uptime"]).await?;
    let max = variables(ctx, &["max_connections"]).await?;
    let name = if mariadb { "MariaDB" } else { "MySQL" };
    Ok(Facts {
        number: number(&version),
        version: format!("{name} {version}"),
        mariadb,
        observed_s: of(&status, "Uptime") as f64,
        connections: of(&status, "Threads_connected"),
        connections_max: of(&max, "max_connections"),
        ..Facts::default()
    })
}

/// Such as 101100 of `10.11.6-MariaDB`.
fn number(version: &str) -> i64 {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<i64>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    next() * 10_000 + next() * 100 + next()
}

pub(super) async fn examine(check: Check, ctx: &mut Ctx) -> Result<Answer> {
    match check {
        Check::Connections => activity::connections(ctx).await,
        Check::Locks => activity::locks(ctx).await,
        Check::Transactions => activity::transactions(ctx).await,
        Check::PreparedTransactions => activity::prepared(ctx).await,
        Check::Replication => activity::replication(ctx).await,
        Check::Settings => settings::settings(ctx).await,
        Check::Cache => settings::cache(ctx).await,
        Check::DuplicateIndexes => indexes::duplicates(ctx).await,
        Check::UnusedIndexes => indexes::unused(ctx).await,
        Check::Statements => indexes::statements(ctx).await,
        Check::PrimaryKeys => tables::primary_keys(ctx).await,
        Check::Sequences => tables::sequences(ctx).await,
        Check::StorageEngines => tables::engines(ctx).await,
        Check::Encoding => tables::encoding(ctx).await,
        Check::BloatedTables => tables::bloat(ctx).await,
        other => Ok(Answer::Unknown(format!("{other} is not on MySQL"))),
    }
}

type Values = HashMap<String, String>;

/// Counters of the server by their names, in lower case.
async fn status(ctx: &mut Ctx, names: &[&str]) -> Result<Values> {
    shown(ctx, "STATUS", names).await
}

/// Settings of the server by their names.
async fn variables(ctx: &mut Ctx, names: &[&str]) -> Result<Values> {
    shown(ctx, "VARIABLES", names).await
}

async fn shown(ctx: &mut Ctx, what: &str, names: &[&str]) -> Result<Values> {
    let names = names.join("', '");
    let sql = format!("SHOW GLOBAL {what} WHERE Variable_name IN ('{names}')");
    let rows = ctx.rows(&sql).await?;
    rows.iter().map(|row| Ok((text(row, 0)?.to_ascii_lowercase(), text(row, 1)?))).collect()
}

fn of(values: &Values, name: &str) -> i64 {
    let value = values.get(&name.to_ascii_lowercase());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn word<'v>(values: &'v Values, name: &str) -> &'v str {
    values.get(&name.to_ascii_lowercase()).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_numbers() {
        assert_eq!(super::number("10.11.6-MariaDB-0+deb12u1"), 101_106);
        assert_eq!(super::number("8.0.36"), 80_036);
    }
}
