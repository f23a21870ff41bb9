//! Steps as rows.

use std::collections::BTreeMap;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use crate::store::{Sql, now};

/// A step that was done.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) seq: usize,
    /// JSON.
    pub(super) result: String,
}

pub(super) async fn load(db: &Db, job: i64) -> Result<BTreeMap<String, Remembered>> {
    let rows: Vec<(String, i32, Option<String>)> = db
        .query("SELECT name, seq, result FROM mainstay_step WHERE job = $1")
        .bind(job)
        .all()
        .await?;
    let read = |(name, seq, result): (String, i32, Option<String>)| {
        let result = result.unwrap_or_else(|| "null".to_owned());
        (name, Remembered { seq: seq.unsigned_abs() as usize, result })
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Writes a step down, in the transaction that did it or after it. Only for a job that is live and of
/// which nobody else did this step.
///
/// Errors: JOB-009.
pub(super) async fn insert(db: &Db, job: i64, name: &str, seq: usize, result: &str) -> Result<()> {
    const INSERT: Sql = Sql {
        sqlite: concat!(
            "INSERT INTO mainstay_step (job, name, seq, result, at_us) \
             SELECT id, $2, $3, $4, ",
            now!(sqlite),
            " FROM mainstay_job WHERE id = $1 AND state = 0"
        ),
        postgres: concat!(
            "INSERT INTO mainstay_step (job, name, seq, result, at_us) \
             SELECT id, $2, $3, $4, ",
            now!(postgres),
            " FROM mainstay_job WHERE id = $1 AND state = 0"
        ),
        mysql: concat!(
            "INSERT INTO mainstay_step (job, name, seq, result, at_us) \
             SELECT id, $2, $3, $4, ",
            now!(mysql),
            " FROM mainstay_job WHERE id = $1 AND state = 0"
        ),
    };
    let lost = || {
        let what = format!(
            "the step `{name}` of job {job} was done by somebody else, or the job has ended"
        );
        Error::new(Code::JobLost, what)
    };
    let insert = db.query(INSERT.on(db.engine())).bind(job).bind(name);
    match insert.bind(seq as i32).bind(result).execute().await {
        Ok(done) if done.rows_affected() == 1 => Ok(()),
        Ok(_) => Err(lost()),
        Err(error) if error.code() == Code::Unique => Err(lost().cause(error)),
        Err(error) => Err(error),
    }
}

/// Notes in the job's record that it is being undone: from here on nobody does more of it.
pub(super) async fn set_options(db: &Db, job: i64, options: Option<String>) -> Result<()> {
    let update = db.query("UPDATE mainstay_job SET options = $2 WHERE id = $1 AND state = 0");
    if update.bind(job).bind(options).execute().await?.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::new(Code::JobLost, format!("job {job} has ended")))
}

/// The database's time.
pub(super) async fn now_us(db: &Db) -> Result<i64> {
    const NOW: Sql = Sql {
        sqlite: concat!("SELECT ", now!(sqlite)),
        postgres: concat!("SELECT ", now!(postgres)),
        mysql: concat!("SELECT ", now!(mysql)),
    };
    db.query(NOW.on(db.engine())).scalar().await
}
