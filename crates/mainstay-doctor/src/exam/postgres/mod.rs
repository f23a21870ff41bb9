//! PostgreSQL, 12 and later. Only catalogues, views and counters are read, and sizes are what the catalogue has: asking
//! for the true ones would lock each table.

mod activity;
mod bloat;
mod health;
mod indexes;
mod pairs;
mod replication;
mod sequences;
mod settings;
mod statements;
mod tables;

use mainstay_core::{Code, Error, Result};

use super::check::Check;
use super::ctx::{Answer, Ctx, Facts, real, text, whole};

/// Of a `pg_namespace n`: not the server's own.
const USERS: &str = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'";

pub(super) async fn facts(ctx: &mut Ctx) -> Result<Facts> {
    let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::bigint, \
         pg_is_in_recovery(), \
         pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), \
         extract(epoch FROM clock_timestamp() - greatest(pg_postmaster_start_time(), \
           (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database())))::float8, \
         (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
         current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint";
    let rows = ctx.rows(sql).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "no answer"))?;
    Ok(Facts {
        version: format!("PostgreSQL {}", text(row, 0)?),
        number: whole(row, 1)?,
        mariadb: false,
        replica: row.at(2)?,
        sees_sessions: row.at(3)?,
        observed_s: real(row, 4)?,
        connections: whole(row, 5)?,
        connections_max: whole(row, 6)?,
    })
}

pub(super) async fn examine(check: Check, ctx: &mut Ctx) -> Result<Answer> {
    match check {
        Check::Connections => activity::connections(ctx).await,
        Check::Locks => activity::locks(ctx).await,
        Check::Transactions => activity::transactions(ctx).await,
        Check::PreparedTransactions => activity::prepared(ctx).await,
        Check::ReplicationSlots => replication::slots(ctx).await,
        Check::Replication => replication::lag(ctx).await,
        Check::Wraparound => health::wraparound(ctx).await,
        Check::Checksums => health::checksums(ctx).await,
        Check::Settings => settings::settings(ctx).await,
        Check::Cache => health::cache(ctx).await,
        Check::InvalidIndexes => indexes::invalid(ctx).await,
        Check::DuplicateIndexes => pairs::duplicates(ctx).await,
        Check::UnusedIndexes => indexes::unused(ctx).await,
        Check::MissingIndexes => indexes::missing(ctx).await,
        Check::ForeignKeys => tables::foreign_keys(ctx).await,
        Check::PrimaryKeys => tables::primary_keys(ctx).await,
        Check::Sequences => sequences::sequences(ctx).await,
        Check::Statistics => tables::statistics(ctx).await,
        Check::Statements => statements::statements(ctx).await,
        Check::BloatedIndexes => bloat::indexes(ctx).await,
        Check::BloatedTables => bloat::tables(ctx).await,
        other => Ok(Answer::Unknown(format!("{other} is not on PostgreSQL"))),
    }
}
