//! Who is connected, for how long transactions are open, who waits for whom, and whether a replica follows.

use mainstay_core::{Code, Result};
use mainstay_db::{Engine, Row};

use super::super::ctx::{Answer, Ctx, real, text, whole};
use super::super::words;
use crate::finding::{Finding, Severity};

const NEARLY_FULL: f64 = 0.8;
const FULL: f64 = 0.9;
const WAITING_MAX: i64 = 50;

pub(super) async fn connections(ctx: &mut Ctx) -> Result<Answer> {
    let (used, max) = (ctx.facts.connections, ctx.facts.connections_max);
    let share = words::share(used, max);
    let seen = format!("{used} of {max} in use");
    if share < NEARLY_FULL {
        return Ok(Answer::Good(seen));
    }
    // Without the right for others' it shows one's own.
    let sql = "SELECT CAST(user AS CHAR), CAST(command AS CHAR), COUNT(*) FROM information_schema.processlist \
         GROUP BY user, command ORDER BY 3 DESC LIMIT 5";
    let mut evidence = Vec::new();
    for row in ctx.rows(sql).await? {
        evidence.push(format!("{} of {}, {}", whole(&row, 2)?, text(&row, 0)?, text(&row, 1)?));
    }
    let severity = if share < FULL { Severity::Warning } else { Severity::Error };
    let what = format!("{used} of {max} connections are in use");
    let fix = Code::DoctorConnectionsFull.fix().to_owned();
    let found = ctx.finding((Code::DoctorConnectionsFull, severity), what, evidence, fix);
    Ok(Answer::Found(seen, vec![found]))
}

pub(super) async fn transactions(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT CAST(t.trx_mysql_thread_id AS SIGNED), CAST(p.user AS CHAR), CAST(p.command AS CHAR), \
         CAST(TIMESTAMPDIFF(MICROSECOND, t.trx_started, NOW(6)) / 1e6 AS DOUBLE), \
         CAST(COALESCE(t.trx_query, '') AS CHAR), CAST(t.trx_rows_locked AS SIGNED), CAST(t.trx_rows_modified AS SIGNED) \
         FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
         WHERE p.id <> CONNECTION_ID() AND p.db = DATABASE() \
         AND TIMESTAMPDIFF(MICROSECOND, t.trx_started, NOW(6)) >= {} ORDER BY t.trx_started LIMIT {}",
        ctx.options.transaction_max.as_micros(),
        ctx.options.findings_max
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| open(ctx, row)).collect::<Result<Vec<_>>>()?;
    let max = words::duration(ctx.options.transaction_max);
    Ok(ctx.judged(found, format!("none is open for more than {max}")))
}

fn open(ctx: &Ctx, row: &Row) -> Result<Finding> {
    let (id, user, command) = (whole(row, 0)?, text(row, 1)?, text(row, 2)?);
    let age = words::time(real(row, 3)?);
    let state = if command == "Sleep" { "idle now" } else { "and works" };
    let what = format!("a transaction of {user} is open for {age}, {state}");
    let mut evidence = vec![format!(
        "connection {id}; it locks {} rows and has changed {}",
        words::number(whole(row, 5)?),
        words::number(whole(row, 6)?)
    )];
    let statement = text(row, 4)?;
    if !statement.is_empty() {
        evidence.push(format!("its statement: {}", words::statement(&statement, Engine::MySql)));
    }
    evidence.push("old versions of rows are kept as long as it is open".to_owned());
    let fix = format!("KILL {id};");
    Ok(ctx.finding((Code::DoctorTransactionLong, Severity::Warning), what, evidence, fix))
}

pub(super) async fn prepared(ctx: &mut Ctx) -> Result<Answer> {
    let rows = ctx.rows("XA RECOVER FORMAT='SQL'").await;
    let rows = match rows {
        // MySQL has another word for it.
        Err(error) if error.code() == Code::Syntax => ctx.rows("XA RECOVER CONVERT XID").await?,
        rows => rows?,
    };
    let found = rows.iter().take(ctx.options.findings_max).map(|row| {
        let xid = text(row, 3)?;
        let what = format!("the XA transaction {xid} is prepared");
        let evidence = vec!["it keeps its locks, over restarts too".to_owned()];
        let fix = format!("XA ROLLBACK {xid};  -- or XA COMMIT");
        Ok(ctx.finding((Code::DoctorTransactionPrepared, Severity::Warning), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, "none was left"))
}

/// Who waits, for how long, and who is in the way: the columns are the same everywhere.
fn waits_sql(ctx: &Ctx) -> String {
    let (waits, waiting, blocking) = if ctx.facts.mariadb || ctx.facts.number < 80_000 {
        ("information_schema.innodb_lock_waits", "requesting_trx_id", "blocking_trx_id")
    } else {
        (
            "performance_schema.data_lock_waits",
            "requesting_engine_transaction_id",
            "blocking_engine_transaction_id",
        )
    };
    format!(
        "SELECT DISTINCT CAST(b.trx_mysql_thread_id AS SIGNED), CAST(COALESCE(p.user, '?') AS CHAR), \
         CAST(COALESCE(p.command, '?') AS CHAR), CAST(COALESCE(b.trx_query, '') AS CHAR), \
         CAST(w.trx_mysql_thread_id AS SIGNED), CAST(COALESCE(w.trx_query, '') AS CHAR), \
         CAST(TIMESTAMPDIFF(MICROSECOND, w.trx_wait_started, NOW(6)) / 1e6 AS DOUBLE), b.trx_state = 'LOCK WAIT' \
         FROM {waits} l JOIN information_schema.innodb_trx w ON w.trx_id = l.{waiting} \
         JOIN information_schema.innodb_trx b ON b.trx_id = l.{blocking} \
         JOIN information_schema.processlist q ON q.id = w.trx_mysql_thread_id AND q.db = DATABASE() \
         LEFT JOIN information_schema.processlist p ON p.id = b.trx_mysql_thread_id \
         WHERE TIMESTAMPDIFF(MICROSECOND, w.trx_wait_started, NOW(6)) >= {} \
         ORDER BY 1, 7 DESC LIMIT {WAITING_MAX}",
        ctx.options.lock_wait_max.as_micros()
    )
}

pub(super) async fn locks(ctx: &mut Ctx) -> Result<Answer> {
    let sql = waits_sql(ctx);
    let mut found: Vec<(i64, usize, Finding)> = Vec::new();
    for row in ctx.rows(&sql).await? {
        // Who waits itself is not the cause.
        if whole(&row, 7)? != 0 {
            continue;
        }
        let id = whole(&row, 0)?;
        let waits = format!(
            "connection {} waits for {}: {}",
            whole(&row, 4)?,
            words::time(real(&row, 6)?),
            words::statement(&text(&row, 5)?, Engine::MySql)
        );
        match found.iter_mut().find(|(other, ..)| *other == id) {
            Some((_, waiting, finding)) => {
                *waiting += 1;
                finding.evidence.push(waits);
            }
            None => found.push((id, 1, blocker(ctx, &row, waits)?)),
        }
    }
    let mut found: Vec<_> = found
        .into_iter()
        .map(|(_, waiting, mut finding)| {
            finding.what += &words::count(waiting, "session", "sessions");
            finding
        })
        .collect();
    found.extend(metadata(ctx).await?);
    let max = words::duration(ctx.options.lock_wait_max);
    Ok(ctx.judged(found, format!("nobody waits for more than {max}")))
}

fn blocker(ctx: &Ctx, row: &Row, waits: String) -> Result<Finding> {
    let (id, user, command) = (whole(row, 0)?, text(row, 1)?, text(row, 2)?);
    let statement = words::statement(&text(row, 3)?, Engine::MySql);
    let what = format!("connection {id} of {user} keeps a lock from ");
    let evidence = vec![format!("connection {id}, {command}: {statement}"), waits];
    Ok(ctx.finding(
        (Code::DoctorLockBlocking, Severity::Error),
        what,
        evidence,
        format!("KILL {id};"),
    ))
}

/// Waits for a table's definition: for whom, the server does not tell.
async fn metadata(ctx: &mut Ctx) -> Result<Option<Finding>> {
    let sql = format!(
        "SELECT CAST(id AS SIGNED), CAST(COALESCE(info, '') AS CHAR), CAST(time AS SIGNED) FROM information_schema.processlist \
         WHERE db = DATABASE() AND state = 'Waiting for table metadata lock' AND time >= {} ORDER BY time DESC LIMIT {WAITING_MAX}",
        ctx.options.lock_wait_max.as_secs()
    );
    let mut evidence = Vec::new();
    for row in ctx.rows(&sql).await? {
        evidence.push(format!(
            "connection {} waits for {}: {}",
            whole(&row, 0)?,
            words::time(whole(&row, 2)? as f64),
            words::statement(&text(&row, 1)?, Engine::MySql)
        ));
    }
    if evidence.is_empty() {
        return Ok(None);
    }
    let what = format!(
        "{} for a table's metadata lock",
        words::count(evidence.len(), "session waits", "sessions wait")
    );
    let fix = "end the transaction that uses the table: SELECT * FROM information_schema.innodb_trx ORDER BY trx_started;".to_owned();
    Ok(Some(ctx.finding((Code::DoctorLockBlocking, Severity::Error), what, evidence, fix)))
}

pub(super) async fn replication(ctx: &mut Ctx) -> Result<Answer> {
    let old =
        if ctx.facts.mariadb { ctx.facts.number < 100_501 } else { ctx.facts.number < 80_022 };
    let rows = ctx.rows(if old { "SHOW SLAVE STATUS" } else { "SHOW REPLICA STATUS" }).await?;
    let Some(row) = rows.first() else {
        return Ok(Answer::Good("it replicates nobody".to_owned()));
    };
    let either = |a: &str, b: &str| {
        let found = row
            .columns()
            .into_iter()
            .find(|column| *column == a || *column == b)
            .map(str::to_owned);
        found
            .map(|column| row.get::<Option<String>>(&column))
            .transpose()
            .map(|value| value.flatten().unwrap_or_default())
    };
    let seconds = row
        .columns()
        .into_iter()
        .find(|column| matches!(*column, "Seconds_Behind_Master" | "Seconds_Behind_Source"))
        .and_then(|column| row.get::<Option<i64>>(column).ok().flatten());
    let error = either("Last_SQL_Errno", "Last_SQL_Errno").unwrap_or_default();
    let max = ctx.options.replica_lag_max.as_secs() as i64;
    let (what, severity) = match seconds {
        Some(seconds) if seconds <= max => {
            return Ok(Answer::Good(format!("this replica is behind by {seconds} s")));
        }
        Some(seconds) => (
            format!("this replica is behind by {}", words::time(seconds as f64)),
            Severity::Warning,
        ),
        None => ("replication has stopped".to_owned(), Severity::Error),
    };
    let evidence = if error.is_empty() {
        Vec::new()
    } else {
        vec![format!("the last error's number: {error}")]
    };
    let fix = "SHOW REPLICA STATUS;  -- says which of its threads stopped, and why".to_owned();
    let found = ctx.finding((Code::DoctorReplicaLags, severity), what, evidence, fix);
    Ok(ctx.judged(vec![found], ""))
}
