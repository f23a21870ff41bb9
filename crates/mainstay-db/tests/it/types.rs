//! Every type goes there and back, as a value and as NULL, bound and bulk-inserted.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use mainstay_db::{Array, Code, Db, Decimal, FromRow, Value};
use serde_json::json;
use uuid::Uuid;

use crate::support::{on_every_engine, script};

on_every_engine!(
    values_come_back,
    nulls_come_back,
    extremes_come_back,
    bulk_inserted_values_come_back,
    a_dynamic_row_tells_its_columns,
    built_statements_run
);

async fn table(db: &Db) {
    script(
        db,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, small INTEGER, int INTEGER, big INTEGER, real REAL, wide REAL, flag BOOLEAN,
         words TEXT, raw BLOB, uid BLOB, at DATETIME, local DATETIME, day DATE, hour TIME, exact TEXT, doc TEXT)",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, small SMALLINT, int INTEGER, big BIGINT, real REAL, wide DOUBLE PRECISION, flag BOOLEAN,
         words TEXT, raw BYTEA, uid UUID, at TIMESTAMPTZ, local TIMESTAMP, day DATE, hour TIME, exact NUMERIC(28, 10), doc JSONB)",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, small SMALLINT, `int` INTEGER, big BIGINT, `real` FLOAT, wide DOUBLE, flag BOOLEAN,
         words TEXT, raw BLOB, uid BINARY(16), at TIMESTAMP(6) NULL, local DATETIME(6), day DATE, hour TIME(6), exact DECIMAL(28, 10), doc JSON)",
    )
    .await;
}

const COLUMNS: &[&str] = &[
    "id", "small", "int", "big", "real", "wide", "flag", "words", "raw", "uid", "at", "local",
    "day", "hour", "exact", "doc",
];

#[derive(Clone, Debug, PartialEq, FromRow)]
struct Everything {
    id: i64,
    small: Option<i16>,
    int: Option<i32>,
    big: Option<i64>,
    real: Option<f32>,
    wide: Option<f64>,
    flag: Option<bool>,
    words: Option<String>,
    raw: Option<Vec<u8>>,
    uid: Option<Uuid>,
    at: Option<DateTime<Utc>>,
    local: Option<NaiveDateTime>,
    day: Option<NaiveDate>,
    hour: Option<NaiveTime>,
    exact: Option<Decimal>,
    doc: Option<serde_json::Value>,
}

impl Everything {
    fn nothing(id: i64) -> Self {
        Self {
            id,
            small: None,
            int: None,
            big: None,
            real: None,
            wide: None,
            flag: None,
            words: None,
            raw: None,
            uid: None,
            at: None,
            local: None,
            day: None,
            hour: None,
            exact: None,
            doc: None,
        }
    }

    fn sample(id: i64) -> Self {
        let day = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
        let hour = NaiveTime::from_hms_micro_opt(23, 59, 58, 123_456).unwrap();
        Self {
            id,
            small: Some(-7),
            int: Some(42),
            big: Some(1 << 40),
            real: Some(1.5),
            wide: Some(0.1),
            flag: Some(true),
            words: Some("Zürich 🌊 it's \"quoted\" \\ \t\n\r end".to_owned()),
            raw: Some(vec![0, 1, 255, b'\\', b'\n']),
            uid: Some(Uuid::from_u128(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc)),
            at: Some(day.and_time(hour).and_utc()),
            local: Some(day.and_time(hour)),
            day: Some(day),
            hour: Some(hour),
            exact: Some(Decimal("12345678901234567.0123456789".parse().unwrap())),
            doc: Some(json!({"a": [1, null, "x"], "b": {"c": 1.5}})),
        }
    }

    fn values(self) -> Vec<Value> {
        vec![
            self.id.into(),
            self.small.into(),
            self.int.into(),
            self.big.into(),
            self.real.into(),
            self.wide.into(),
            self.flag.into(),
            self.words.into(),
            self.raw.into(),
            self.uid.into(),
            self.at.into(),
            self.local.into(),
            self.day.into(),
            self.hour.into(),
            self.exact.map(|d| d.0).into(),
            self.doc.into(),
        ]
    }
}

async fn insert(db: &Db, row: Everything) {
    let mut query = match db.engine() {
        mainstay_db::Engine::MySql => db.query(
            "INSERT INTO t (id, small, `int`, big, `real`, wide, flag, words, raw, uid, at, local, day, hour, exact, doc)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        ),
        _ => db.query(
            "INSERT INTO t (id, small, int, big, real, wide, flag, words, raw, uid, at, local, day, hour, exact, doc)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        ),
    };
    for value in row.values() {
        query = query.bind(value);
    }
    assert_eq!(query.execute().await.unwrap().rows_affected(), 1);
}

async fn read(db: &Db, id: i64) -> Everything {
    db.query("SELECT * FROM t WHERE id = $1").bind(id).one().await.unwrap()
}

async fn values_come_back(db: Db) {
    table(&db).await;
    insert(&db, Everything::sample(1)).await;
    assert_eq!(read(&db, 1).await, Everything::sample(1));
}

async fn nulls_come_back(db: Db) {
    table(&db).await;
    insert(&db, Everything::nothing(2)).await;
    assert_eq!(read(&db, 2).await, Everything::nothing(2));
}

async fn extremes_come_back(db: Db) {
    table(&db).await;
    let row = Everything {
        small: Some(i16::MIN),
        int: Some(i32::MIN),
        big: Some(i64::MIN),
        wide: Some(f64::MAX),
        words: Some(String::new()),
        raw: Some(Vec::new()),
        exact: Some(Decimal("-0.0000000001".parse().unwrap())),
        doc: Some(json!(null)),
        ..Everything::nothing(3)
    };
    insert(&db, row.clone()).await;
    let back = read(&db, 3).await;
    // A JSON null and a missing document read alike.
    assert_eq!(Everything { doc: None, ..back }, Everything { doc: None, ..row });
    let long = "ä".repeat(30_000);
    insert(&db, Everything { words: Some(long.clone()), ..Everything::nothing(4) }).await;
    assert_eq!(read(&db, 4).await.words, Some(long));
}

async fn bulk_inserted_values_come_back(db: Db) {
    table(&db).await;
    let rows = [Everything::sample(1), Everything::nothing(2)];
    let count = db.bulk_insert("t", COLUMNS, rows.clone().map(Everything::values)).await.unwrap();
    assert_eq!(count, 2);
    let back: Vec<Everything> = db.query("SELECT * FROM t ORDER BY id").all().await.unwrap();
    assert_eq!(back, rows);
}

async fn a_dynamic_row_tells_its_columns(db: Db) {
    let rows = db.query("SELECT 7 AS n, 'x' AS s").rows().await.unwrap();
    assert_eq!(rows[0].columns(), ["n", "s"]);
    assert_eq!(rows[0].get::<String>("s").unwrap(), "x");
    assert_eq!(rows[0].at::<String>(1).unwrap(), "x");
    assert_eq!(rows[0].get::<String>("z").unwrap_err().code(), Code::ColumnMissing);
    assert_eq!(rows[0].at::<String>(2).unwrap_err().code(), Code::ColumnMissing);
}

async fn built_statements_run(db: Db) {
    use mainstay_db::sea_query::{Expr, ExprTrait, Order, Query};
    table(&db).await;
    for id in 1..=3 {
        insert(&db, Everything::sample(id)).await;
    }
    let select = Query::select()
        .column("id")
        .from("t")
        .and_where(Expr::col("id").is_in([1i64, 3]))
        .and_where(Expr::col("words").is_not_null())
        .order_by("id", Order::Desc)
        .take();
    let ids: Vec<(i64,)> = db.build(&select).all().await.unwrap();
    assert_eq!(ids, [(3,), (1,)]);
}

mod only {
    use super::*;
    use mainstay_testkit::Engine;

    mod postgres {
        use super::*;

        type Row = (Array<String>, Array<i64>, Array<Uuid>);

        #[tokio::test]
        async fn arrays_come_back() {
            crate::support::run(Engine::Postgres, |db| async move {
                db.script("CREATE TABLE a (id BIGINT, tags TEXT[], ns BIGINT[], us UUID[])")
                    .await
                    .unwrap();
                let tags =
                    vec!["a\"b".to_owned(), String::new(), "NULL".to_owned(), "c,\\d".to_owned()];
                let (ns, us) = (vec![1i64, -2], vec![Uuid::from_u128(5)]);
                db.query("INSERT INTO a VALUES (1, $1, $2, $3)")
                    .bind(tags.clone())
                    .bind(ns.clone())
                    .bind(us.clone())
                    .execute()
                    .await
                    .unwrap();
                let row = (2i64, tags.clone(), ns.clone(), us.clone());
                db.bulk_insert("a", &["id", "tags", "ns", "us"], [row]).await.unwrap();
                let back: Vec<Row> =
                    db.query("SELECT tags, ns, us FROM a ORDER BY id").all().await.unwrap();
                assert_eq!(back[0], (Array(tags), Array(ns), Array(us)));
                assert_eq!(back[0], back[1]);
                let found: i64 = db
                    .query("SELECT COUNT(*) FROM a WHERE id = ANY($1)")
                    .bind(vec![1i64, 2, 3])
                    .scalar()
                    .await
                    .unwrap();
                assert_eq!(found, 2);
            })
            .await;
        }
    }

    mod sqlite {
        use super::*;

        #[tokio::test]
        async fn what_sqlite_lacks_is_refused() {
            crate::support::run(Engine::Sqlite, |db| async move {
                let error = db.query("SELECT $1").bind(vec![1i64]).execute().await.unwrap_err();
                assert_eq!(error.code(), Code::Unsupported);
                let error = db.query("SELECT $1").bind(u64::MAX).execute().await.unwrap_err();
                assert_eq!(error.code(), Code::Data);
                let error = db.query("SELECT 1.5").scalar::<Decimal>().await.unwrap_err();
                assert_eq!(error.code(), Code::Decode);
            })
            .await;
        }
    }
}
