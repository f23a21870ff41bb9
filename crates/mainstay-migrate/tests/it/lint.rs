//! The linter with the catalogue of a real database.

use mainstay_core::Code;
use mainstay_db::Engine;
use mainstay_migrate::Migrations;
use mainstay_migrate::lint::{LintOptions, Linted};

use crate::support::{Here, on_every_engine};

on_every_engine!(
    a_large_table_is_told_from_a_small_one,
    what_the_catalogue_has_is_known,
    an_index_of_another_order_is_another,
    an_allowance_needs_a_reason_and_something_to_allow,
);

const OPTIONS: LintOptions = LintOptions { rows_small: 100, lock_timeout_set: true };

async fn codes(here: &Here, sql: &str) -> Vec<Code> {
    let linted = linted(here, sql).await;
    linted[0].findings.iter().map(|finding| finding.code).collect()
}

async fn linted(here: &Here, sql: &str) -> Vec<Linted> {
    here.of(&[("V2__x.sql", sql)]).lint(false, OPTIONS).await.unwrap()
}

async fn tables(here: &Here) {
    let key = match here.db.engine() {
        Engine::Sqlite => "INTEGER PRIMARY KEY",
        Engine::Postgres | Engine::MySql => "BIGINT PRIMARY KEY",
    };
    here.run(&format!("CREATE TABLE large (id {key}, a BIGINT NOT NULL, b VARCHAR(20))")).await;
    here.run(&format!("CREATE TABLE small (id {key}, a BIGINT)")).await;
    here.run("CREATE INDEX large_a ON large (a, b)").await;
    let rows = (1..=500i64).map(|n| (n, n, "x"));
    here.db.bulk_insert("large", &["id", "a", "b"], rows).await.unwrap();
    match here.db.engine() {
        Engine::Sqlite => {}
        Engine::Postgres => here.run("ANALYZE").await,
        Engine::MySql => here.run("ANALYZE TABLE large, small").await,
    }
}

async fn a_large_table_is_told_from_a_small_one(here: Here) {
    tables(&here).await;
    let (sql, code) = match here.db.engine() {
        Engine::Postgres => ("CREATE INDEX x ON TABLE_ (a)", Code::LintIndexNotConcurrent),
        // A type that SQLite has no word for is told of tables of any size.
        Engine::Sqlite => ("UPDATE TABLE_ SET a = 1", Code::LintUnfilteredWrite),
        Engine::MySql => ("ALTER TABLE TABLE_ MODIFY a VARCHAR(30)", Code::LintMySqlWritersBlocked),
    };
    assert!(codes(&here, &sql.replace("TABLE_", "large")).await.contains(&code));
    assert!(!codes(&here, &sql.replace("TABLE_", "small")).await.contains(&code));
    // What the same run makes is nobody's yet.
    let made = format!(
        "CREATE TABLE fresh (id BIGINT PRIMARY KEY, a BIGINT);\n{};",
        sql.replace("TABLE_", "fresh")
    );
    assert!(!codes(&here, &made).await.contains(&code));
    if here.db.engine() == Engine::Postgres {
        let finding =
            linted(&here, "\n\n CREATE INDEX x ON large (b)").await[0].findings[0].clone();
        assert_eq!((finding.line, finding.column), (3, 2));
        assert!(finding.what.contains("500 rows"), "{finding:?}");
        assert!(finding.fix.contains("CREATE INDEX CONCURRENTLY x ON large (b)"), "{finding:?}");
    }
}

async fn what_the_catalogue_has_is_known(here: Here) {
    tables(&here).await;
    // An index that another begins with, whatever its name.
    assert_eq!(codes(&here, "CREATE INDEX other ON small (a)").await, []);
    let again = codes(&here, "CREATE INDEX other ON large (a)").await;
    assert!(again.contains(&Code::LintDuplicateIndex), "{again:?}");
    if here.db.engine() == Engine::Postgres {
        let set = "ALTER TABLE large ALTER COLUMN b SET NOT NULL";
        assert!(codes(&here, set).await.contains(&Code::LintSetNotNull));
        here.run("ALTER TABLE large ADD CONSTRAINT c CHECK (b IS NOT NULL)").await;
        assert_eq!(codes(&here, set).await, []);
        // Wider is no rewrite, narrower is.
        let widen = codes(&here, "ALTER TABLE large ALTER COLUMN b TYPE VARCHAR(40)").await;
        assert!(!widen.contains(&Code::LintTypeChange), "{widen:?}");
        let narrow = codes(&here, "ALTER TABLE large ALTER COLUMN b TYPE VARCHAR(10)").await;
        assert!(narrow.contains(&Code::LintTypeChange), "{narrow:?}");
    }
}

async fn an_index_of_another_order_is_another(here: Here) {
    tables(&here).await;
    here.run("CREATE INDEX small_a ON small (a DESC)").await;
    let codes_of = codes(&here, "CREATE INDEX other ON small (a)").await;
    assert!(!codes_of.contains(&Code::LintDuplicateIndex), "{codes_of:?}");
    // The table of an index is known though nothing names it.
    if here.db.engine() == Engine::Postgres {
        let code = Code::LintIndexDropNotConcurrent;
        assert!(codes(&here, "DROP INDEX large_a").await.contains(&code));
        assert!(!codes(&here, "DROP INDEX small_a").await.contains(&code));
        // A check proves what it says, and not of what it computes.
        here.run("ALTER TABLE large ADD CONSTRAINT c CHECK (coalesce(b, '') IS NOT NULL)").await;
        let set = "ALTER TABLE large ALTER COLUMN b SET NOT NULL";
        assert!(codes(&here, set).await.contains(&Code::LintSetNotNull));
    }
}

#[test]
fn without_a_database_a_table_is_new_in_its_own_file() {
    let migrations = Migrations::new()
        .text("V1__t.sql", "CREATE TABLE t (id bigint PRIMARY KEY); CREATE INDEX a ON t (id);")
        .text("V2__i.sql", "CREATE INDEX i ON t (id);");
    let linted = migrations.lint(Engine::Postgres, [], OPTIONS).unwrap();
    let of = |n: usize| linted[n].findings.iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(of(0), []);
    assert_eq!(of(1), [Code::LintIndexNotConcurrent]);
}

async fn an_allowance_needs_a_reason_and_something_to_allow(here: Here) {
    tables(&here).await;
    let drop = "DROP TABLE large";
    assert_eq!(codes(&here, drop).await, [Code::LintDropTable]);
    let allowed = format!("-- mainstay:allow LINT-104 nothing reads it since 2.3\n{drop};");
    assert_eq!(codes(&here, &allowed).await, []);
    let silent = format!("-- mainstay:allow LINT-104\n{drop};");
    assert_eq!(codes(&here, &silent).await, [Code::LintAllowReason]);
    assert_eq!(
        codes(&here, "-- mainstay:allow LINT-104 x\nSELECT 1").await,
        [Code::LintAllowUnused]
    );
    assert_eq!(
        codes(&here, "-- mainstay:allow LINT-9 x\nSELECT 1").await,
        [Code::LintAllowUnknown]
    );
}
