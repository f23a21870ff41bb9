//! Settings with a clear better value, and what InnoDB's cache answers.

use mainstay_core::{Code, Result};

use super::super::ctx::{Answer, Ctx, whole};
use super::super::words;
use super::{of, status, variables, word};
use crate::finding::{Finding, Severity};

use Severity::{Error, Hint, Warning};

const POOL_DEFAULT: i64 = 128 << 20;
const HITS_GOOD: f64 = 0.95;
const HITS_BAD: f64 = 0.8;

pub(super) async fn settings(ctx: &mut Ctx) -> Result<Answer> {
    let names = [
        "innodb_flush_log_at_trx_commit",
        "innodb_doublewrite",
        "sync_binlog",
        "log_bin",
        "sql_mode",
        "innodb_buffer_pool_size",
        "slow_query_log",
        "query_cache_type",
        "innodb_file_per_table",
    ];
    let values = variables(ctx, &names).await?;
    let is = |name: &str, value: &str| word(&values, name).eq_ignore_ascii_case(value);
    let flush = word(&values, "innodb_flush_log_at_trx_commit");
    let mut found = Vec::new();
    let mut tell = |wrong: bool, code, severity, what: String, why: &str, fix: &str| {
        if wrong {
            found.push(ctx.finding((code, severity), what, vec![why.to_owned()], fix.to_owned()));
        }
    };
    let (unsafe_, poor) = (Code::DoctorSettingUnsafe, Code::DoctorSettingPoor);
    let lax = !word(&values, "sql_mode").contains("STRICT_");
    tell(
        flush != "1",
        unsafe_,
        Warning,
        format!("innodb_flush_log_at_trx_commit is {flush}"),
        "a crash may lose the last second of what was committed",
        "SET GLOBAL innodb_flush_log_at_trx_commit = 1;  -- and in the configuration",
    );
    tell(
        is("innodb_doublewrite", "OFF"),
        unsafe_,
        Error,
        "innodb_doublewrite is OFF".to_owned(),
        "a crash may leave pages half written, for good",
        "innodb_doublewrite = ON  # in the configuration; needs a restart",
    );
    tell(
        is("log_bin", "ON") && of(&values, "sync_binlog") != 1,
        unsafe_,
        Hint,
        format!("sync_binlog is {}", word(&values, "sync_binlog")),
        "after a crash the binary log may lack what was committed, and replicas differ",
        "SET GLOBAL sync_binlog = 1;",
    );
    tell(
        lax,
        unsafe_,
        Warning,
        "sql_mode is not strict".to_owned(),
        "values that do not fit are cut or changed in silence",
        "SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',STRICT_TRANS_TABLES');",
    );
    tell(
        is("slow_query_log", "OFF"),
        poor,
        Hint,
        "slow_query_log is OFF".to_owned(),
        "slow statements leave no trace",
        "SET GLOBAL slow_query_log = ON; SET GLOBAL long_query_time = 1;",
    );
    tell(
        is("query_cache_type", "ON"),
        poor,
        Hint,
        "query_cache_type is ON".to_owned(),
        "every statement takes one lock for it",
        "SET GLOBAL query_cache_size = 0; SET GLOBAL query_cache_type = OFF;",
    );
    tell(
        is("innodb_file_per_table", "OFF"),
        poor,
        Hint,
        "innodb_file_per_table is OFF".to_owned(),
        "room that is freed never goes back to the system",
        "SET GLOBAL innodb_file_per_table = ON;",
    );
    match pool(ctx, of(&values, "innodb_buffer_pool_size")).await {
        Ok(small) => found.extend(small),
        // With thousands of tables their sizes take long: the other settings are told all the same.
        Err(error) if error.code() == Code::StatementCancelled => {}
        Err(error) => return Err(error),
    }
    Ok(ctx.judged(found, "nothing has a clear better value"))
}

async fn pool(ctx: &mut Ctx, size: i64) -> Result<Option<Finding>> {
    if size > POOL_DEFAULT {
        return Ok(None);
    }
    let sql = "SELECT CAST(SUM(data_length + index_length) AS SIGNED) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND engine = 'InnoDB'";
    let rows = ctx.rows(sql).await?;
    let data = rows.first().map_or(Ok(0), |row| whole(row, 0))?;
    Ok((data > size).then(|| {
        let what = format!("innodb_buffer_pool_size is {}", words::bytes(size.max(0) as u64));
        let evidence = vec![format!("the database has {}", words::bytes(data.max(0) as u64))];
        let fix = "SET GLOBAL innodb_buffer_pool_size = ...;  -- most of the memory of a server that does nothing else".to_owned();
        ctx.finding((Code::DoctorSettingPoor, Hint), what, evidence, fix)
    }))
}

pub(super) async fn cache(ctx: &mut Ctx) -> Result<Answer> {
    let values =
        status(ctx, &["Innodb_buffer_pool_read_requests", "Innodb_buffer_pool_reads"]).await?;
    let all = of(&values, "Innodb_buffer_pool_read_requests");
    let disk = of(&values, "Innodb_buffer_pool_reads");
    if (all.max(0) as u64) < ctx.options.cache_reads_min {
        return Ok(Answer::Unknown(format!("too few reads yet: {}", words::number(all))));
    }
    let share = 1.0 - words::share(disk, all);
    let seen =
        format!("{} of {} reads were answered by it", words::percent(share), words::number(all));
    if share >= HITS_GOOD {
        return Ok(Answer::Good(seen));
    }
    let severity = if share < HITS_BAD { Warning } else { Hint };
    let what = format!("only {seen}").replace(" by it", " by the buffer pool");
    let fix = "SET GLOBAL innodb_buffer_pool_size = ...;".to_owned();
    let evidence = vec![format!("{} reads went to the disk", words::number(disk))];
    let found = ctx.finding((Code::DoctorCacheMisses, severity), what, evidence, fix);
    Ok(ctx.judged(vec![found], ""))
}
