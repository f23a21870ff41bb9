//! What the examination's tests share.

mod mariadb;
mod postgres;
mod safety;
mod server;
mod sqlite;

use std::time::Duration;

use mainstay_core::Code;
use mainstay_db::{AssertSqlSafe, Db, Session};
use mainstay_doctor::exam::{Check, Examination, Options, Outcome, Report};
use mainstay_doctor::{Finding, Severity};
use mainstay_testkit::{Engine, Fresh};

/// A database of one test.
struct Here {
    fresh: Fresh,
    db: Db,
}

/// Thresholds that a test need not wait for.
fn quick() -> Options {
    Options {
        observed_min: Duration::ZERO,
        transaction_max: Duration::ZERO,
        lock_wait_max: Duration::ZERO,
        ..Options::default()
    }
}

impl Here {
    async fn new(engine: Engine) -> Self {
        let fresh = Fresh::new(engine).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        Self { fresh, db }
    }

    async fn run(&self, sql: &str) {
        self.db.session().await.unwrap().run(sql).await.unwrap();
    }

    async fn session(&self) -> Session {
        self.db.session().await.unwrap()
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.db.query(AssertSqlSafe(sql.to_owned())).all::<(String,)>().await;
        rows.unwrap().into_iter().map(|(text,)| text).collect()
    }

    async fn report(&self, options: Options) -> Report {
        Examination::new(self.fresh.url()).options(options).run().await.unwrap()
    }

    /// The findings of one check.
    async fn found(&self, check: Check) -> Vec<Finding> {
        self.found_with(check, quick()).await
    }

    async fn found_with(&self, check: Check, options: Options) -> Vec<Finding> {
        let report = self.report(Options { only: vec![check], ..options }).await;
        let checked = report.check(check).unwrap();
        assert_ne!(checked.outcome, Outcome::Unknown, "{}", checked.detail);
        checked.findings.clone()
    }

    /// Why a check could not tell.
    async fn unknown(&self, check: Check, options: Options) -> String {
        let report = self.report(Options { only: vec![check], ..options }).await;
        let checked = report.check(check).unwrap();
        assert_eq!(checked.outcome, Outcome::Unknown, "{checked:?}");
        checked.detail.clone()
    }

    /// The fixes, as they are to be pasted.
    async fn mend(&self, findings: &[Finding]) {
        for finding in findings {
            for line in finding.fix.lines() {
                self.run(line).await;
            }
        }
    }

    async fn done(self) {
        self.db.close(Duration::from_secs(5)).await.unwrap();
        self.fresh.remove().await;
    }
}

#[track_caller]
fn only(findings: &[Finding], code: Code, severity: Severity) -> &Finding {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!((findings[0].code, findings[0].severity), (code, severity), "{findings:#?}");
    &findings[0]
}
