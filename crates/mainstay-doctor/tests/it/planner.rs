//! The doctor that advises while a service runs: the statement that a missing index makes slow is named at its line.

use mainstay_core::scope::{Kind, Scope};
use mainstay_db::{AssertSqlSafe, Db, Engine};
use mainstay_doctor::advice::Options;
use mainstay_doctor::{Doctor, Finding};

use crate::support::{of, on_every_engine};

on_every_engine!(a_missing_index_is_named_where_it_is_missed, without_advice_nothing_is_planned,);

const ROWS: usize = 60_000;
const BY_BUYER: &str = "SELECT id, total FROM sales WHERE buyer = $1 ORDER BY total DESC LIMIT 5";

async fn sales(db: &Db) {
    db.script("CREATE TABLE sales (id BIGINT PRIMARY KEY, buyer BIGINT NOT NULL, total BIGINT NOT NULL, note VARCHAR(80))")
        .await
        .unwrap();
    for from in (0..ROWS).step_by(5_000) {
        let rows = (from..from + 5_000).map(|n| {
            (n as i64, (n * 7919 % 6_000) as i64, (n % 1_000) as i64, "a note on this sale")
        });
        db.bulk_insert("sales", &["id", "buyer", "total", "note"], rows).await.unwrap();
    }
    let analyze =
        if db.engine() == Engine::MySql { "ANALYZE TABLE sales" } else { "ANALYZE sales" };
    db.query(AssertSqlSafe(analyze.to_owned())).execute().await.unwrap();
}

async fn traffic(db: &Db) -> u32 {
    let line = line!() + 3;
    let request = async {
        for buyer in 0..12_i64 {
            let mut sold = db.query(BY_BUYER).bind(buyer).all::<(i64, i64)>().await.unwrap();
            assert!(!sold.is_empty());
            sold.clear();
            for id in 0..60_i64 {
                let one = db.query("SELECT total FROM sales WHERE id = $1").bind(buyer * 60 + id);
                one.scalar::<i64>().await.unwrap();
            }
        }
    };
    Scope::new(Kind::Request, "GET /sales").run(request).await;
    line
}

fn missing(findings: &[Finding]) -> Vec<&Finding> {
    findings
        .iter()
        .filter(|f| f.code.as_str() >= "DOC-020" && f.code.as_str() < "DOC-050")
        .collect()
}

async fn a_missing_index_is_named_where_it_is_missed(db: Db, _: String) {
    sales(&db).await;
    let doctor = Doctor::builder().advise(Options::default()).build();
    doctor.watch(&db);
    let line = traffic(&db).await;
    doctor.advise().await;
    let findings = doctor.findings();
    let [finding] = missing(&findings)[..] else { panic!("{findings:#?}") };
    assert_eq!(finding.code.as_str(), "DOC-020", "{finding}");
    let place = finding.place.as_deref().unwrap();
    let (file, at) = place.rsplit_once(':').unwrap();
    let at: u32 = at.parse().unwrap();
    assert!(file.ends_with("planner.rs") && (line..=line + 1).contains(&at), "{finding}");
    assert_eq!(finding.scope.as_deref(), Some("GET /sales"));
    assert!(finding.fix.contains("CREATE INDEX") && finding.fix.contains("buyer"), "{finding}");
    assert!(finding.evidence.iter().any(|e| e.starts_with("ran 12 times")), "{finding}");
    // Once an hour is enough.
    doctor.advise().await;
    assert_eq!(of(&doctor.findings(), "DOC-020").count, 1);
}

async fn without_advice_nothing_is_planned(db: Db, _: String) {
    sales(&db).await;
    let doctor = Doctor::builder().build();
    doctor.watch(&db);
    traffic(&db).await;
    doctor.advise().await;
    assert!(missing(&doctor.findings()).is_empty());
}
