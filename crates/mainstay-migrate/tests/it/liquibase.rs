//! Liquibase's changelogs: alone, and beside the real Liquibase, which must find nothing to do where we
//! were, and leave us nothing to do where it was.

use std::path::Path;
use std::process::Command;

use mainstay_core::Code;
use mainstay_db::{Db, Engine as Sql};
use mainstay_migrate::{Changelog, RollbackTo};
use mainstay_testkit::Fresh;

use crate::support::{Engine, Here, on_every_engine, refused, write};

on_every_engine!(
    change_sets_run_once_and_are_recorded,
    an_edited_change_set_is_refused,
    contexts_labels_and_preconditions_decide,
    what_ran_can_be_taken_back,
    a_failure_is_gone_on_from,
    the_mark_of_a_liquibase_is_respected,
);

const ROOT: &str = "
databaseChangeLog:
  - property: {name: who, value: Ada}
  - changeSet:
      id: 1
      author: a
      comment: the users
      changes:
        - createTable:
            tableName: person
            columns:
              - column: {name: id, type: int, autoIncrement: true, constraints: {primaryKey: true, nullable: false}}
              - column: {name: name, type: varchar(50), constraints: {nullable: false}}
              - column: {name: active, type: boolean, defaultValueBoolean: true}
        - insert:
            tableName: person
            columns:
              - column: {name: name, value: \"${who}\"}
  - changeSet:
      id: 2
      author: a
      labels: l1,l2
      preConditions:
        - onFail: MARK_RAN
        - not:
            - columnExists: {tableName: person, columnName: email}
      changes:
        - addColumn:
            tableName: person
            columns:
              - column: {name: email, type: varchar(100)}
        - createIndex:
            tableName: person
            indexName: person_email
            columns:
              - column: {name: email}
  - changeSet:
      id: 3
      author: a
      preConditions:
        - onFail: MARK_RAN
        - tableExists: {tableName: nowhere}
      changes:
        - sql: {sql: select 1}
  - changeSet:
      id: tag
      author: a
      changes:
        - tagDatabase: {tag: v1}
  - includeAll: {path: more, relativeToChangelogFile: true}
";
const FORMATTED: &str = "--liquibase formatted sql

--changeset bob:10 context:prod splitStatements:true
create table city (id int not null primary key, name varchar(50));
insert into city values (1, 'Bern; x');
--rollback drop table city;

--changeset bob:11 runOnChange:true
create view cities as select name from city;
--rollback drop view cities;

--changeset bob:12 context:test
insert into nowhere values (1);
";
const XML: &str = r#"<databaseChangeLog xmlns="http://www.liquibase.org/xml/ns/dbchangelog"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.liquibase.org/xml/ns/dbchangelog http://www.liquibase.org/xml/ns/dbchangelog/dbchangelog-latest.xsd">
  <changeSet id="20" author="c" context="prod">
    <createIndex tableName="city" indexName="city_name" unique="true"><column name="name"/></createIndex>
  </changeSet>
  <changeSet id="21" author="c" dbms="postgresql"><sql>select 21;</sql></changeSet>
</databaseChangeLog>
"#;

fn shop(folder: &Path) {
    write(folder, "db/root.yaml", ROOT);
    write(folder, "db/more/10.sql", FORMATTED);
    write(folder, "db/more/20.xml", XML);
}

fn changelog(here: &Here, folder: &Path) -> Changelog {
    Changelog::new(&here.db, "db/root.yaml").search_path(folder).contexts(["prod"])
}

/// The whole history, without what differs from run to run.
async fn history(db: &Db) -> Vec<String> {
    let table =
        if db.engine() == Sql::Postgres { "databasechangelog" } else { "DATABASECHANGELOG" };
    let columns = [
        "ID",
        "AUTHOR",
        "FILENAME",
        "EXECTYPE",
        "MD5SUM",
        "DESCRIPTION",
        "COMMENTS",
        "TAG",
        "LIQUIBASE",
        "CONTEXTS",
        "LABELS",
    ];
    let sql = format!("SELECT ORDEREXECUTED, {} FROM {table} ORDER BY 1", columns.join(", "));
    let mut session = db.session().await.unwrap();
    let rows = session.rows(&sql, Vec::new()).await.unwrap();
    let text = |row: &mainstay_db::Row| -> String {
        let all: Vec<_> = (1..=columns.len())
            .map(|n| row.at::<Option<String>>(n).unwrap().unwrap_or_else(|| "NULL".to_owned()))
            .collect();
        format!("{} {}", row.at::<i32>(0).unwrap(), all.join("|"))
    };
    rows.iter().map(text).collect()
}

async fn change_sets_run_once_and_are_recorded(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path());
    let changelog = changelog(&here, folder.path());
    let planned = changelog.dry_run().await.unwrap();
    let done = changelog.update().await.unwrap();
    let postgres = usize::from(here.db.engine() == Sql::Postgres);
    assert_eq!((done.ran.len(), done.marked_ran.len()), (6 + postgres, 1));
    assert_eq!(planned.len(), 7 + postgres);
    assert_eq!(changelog.update().await.unwrap().ran, [""; 0]);
    changelog.validate().await.unwrap();
    assert_eq!(here.count("SELECT COUNT(*) FROM person WHERE name = 'Ada'").await, 1);
    assert_eq!(here.count("SELECT COUNT(*) FROM cities WHERE name = 'Bern; x'").await, 1);
    let rows = history(&here.db).await;
    assert_eq!(
        rows[0],
        "1 1|a|db/root.yaml|EXECUTED|9:df7eecdd3ff0f8860daad8908bfbc687|createTable tableName=person; \
         insert tableName=person|the users|NULL|4.28.0|NULL|NULL"
    );
    assert!(rows[2].contains("MARK_RAN") && rows[3].contains("|v1|"), "{rows:?}");
}

async fn an_edited_change_set_is_refused(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path());
    let changelog = changelog(&here, folder.path());
    changelog.update().await.unwrap();
    write(folder.path(), "db/more/10.sql", &FORMATTED.replace("varchar(50)", "varchar(60)"));
    let report = refused(changelog.update().await, Code::MigrationChanged);
    assert!(report.contains("db/more/10.sql:3: db/more/10.sql::10::bob was 9:"), "{report}");
    // White space does not count, and runOnChange runs it again.
    let replaced = FORMATTED.replace(
        "create view cities as select name from city;",
        "drop view cities;\ncreate view cities as select id,   name from city;",
    );
    write(
        folder.path(),
        "db/more/10.sql",
        &replaced.replace("create table city", "create  table\n city"),
    );
    assert_eq!(changelog.update().await.unwrap().ran, ["db/more/10.sql::11::bob"]);
    assert_eq!(here.count("SELECT COUNT(id) FROM cities").await, 1);
    let rows = history(&here.db).await;
    assert!(rows.last().unwrap().contains("RERAN"), "{rows:?}");
}

async fn contexts_labels_and_preconditions_decide(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    let set = |id: &str, more: &str, sql: &str| {
        format!(
            "  - changeSet:\n      id: {id}\n      author: a\n{more}      changes:\n        - sql: {{sql: \"{sql}\"}}\n"
        )
    };
    let check = "      preConditions:\n        - onFail: CONTINUE\n        - sqlCheck: {expectedResult: 1, sql: \"select count(*) from t\"}\n";
    let halt = "      preConditions:\n        - onFailMessage: no way\n        - sqlCheck: {expectedResult: 9, sql: \"select count(*) from t\"}\n";
    let text = format!(
        "databaseChangeLog:\n{}{}{}{}{}",
        set("1", "", "create table t (id int)"),
        set("2", "      context: a and !b\n", "insert into t values (2)"),
        set("3", "      labels: x\n", "insert into t values (3)"),
        set("4", check, "insert into t values (4)"),
        set("5", halt, "insert into t values (5)"),
    );
    write(folder.path(), "root.yaml", &text);
    let run = |contexts: &'static [&'static str]| {
        Changelog::new(&here.db, "root.yaml")
            .search_path(folder.path())
            .contexts(contexts.iter().copied())
            .labels("x or y")
    };
    let report = refused(run(&["b"]).update().await, Code::MigrationPrecondition);
    assert!(report.contains("root.yaml:") && report.contains("no way"), "{report}");
    // Without labels of its own a change set runs whatever labels are asked for.
    let ids: Vec<_> = history(&here.db).await.iter().map(|r| r[2..3].to_owned()).collect();
    assert_eq!(ids, ["1", "3", "4"]);
    refused(run(&["a"]).update().await, Code::MigrationPrecondition);
    assert_eq!(here.count("SELECT COUNT(*) FROM t WHERE id = 2").await, 1);
}

async fn what_ran_can_be_taken_back(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path());
    let changelog = changelog(&here, folder.path());
    changelog.update().await.unwrap();
    let back = changelog.rollback(RollbackTo::Tag("v1".to_owned())).await;
    if here.db.engine() == Sql::Postgres {
        // The `sql` of change set 21 says of no rollback, and nothing was touched.
        refused(back, Code::MigrationUndo);
        assert!(here.exists("city").await);
        write(
            folder.path(),
            "db/more/20.xml",
            &XML.replace("<sql>select 21;</sql>", "<sql>select 21;</sql><rollback/>"),
        );
        changelog.rollback(RollbackTo::Tag("v1".to_owned())).await.unwrap();
    } else {
        back.unwrap();
    }
    assert!(!here.exists("city").await && here.exists("person").await);
    assert_eq!(history(&here.db).await.len(), 4);
    let none = changelog.rollback(RollbackTo::Tag("v9".to_owned())).await;
    refused(none, Code::MigrationHistory);
    changelog.update().await.unwrap();
    assert!(here.exists("city").await);
}

async fn a_failure_is_gone_on_from(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    let text = "--liquibase formatted sql\n--changeset a:1 runInTransaction:false\n\
                create table t (id int);\ninsert into t values (1);\ninsert into u values (1);\n";
    write(folder.path(), "root.sql", text);
    let changelog = Changelog::new(&here.db, "root.sql").search_path(folder.path());
    let report = refused(changelog.update().await, Code::MigrationFailed);
    assert!(report.contains("2 of its 3 statements are done and stay"), "{report}");
    here.run("create table u (id int)").await;
    assert_eq!(changelog.update().await.unwrap().ran.len(), 1);
    assert_eq!(here.count("SELECT COUNT(*) FROM t").await, 1);
}

async fn the_mark_of_a_liquibase_is_respected(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path());
    let options = mainstay_migrate::Options {
        lock_wait: std::time::Duration::from_millis(300),
        ..Default::default()
    };
    let changelog = changelog(&here, folder.path()).options(options);
    changelog.update().await.unwrap();
    let lock = if here.db.engine() == Sql::Postgres {
        "databasechangeloglock"
    } else {
        "DATABASECHANGELOGLOCK"
    };
    here.run(&format!("UPDATE {lock} SET LOCKED = TRUE, LOCKEDBY = 'elsewhere'")).await;
    let report = refused(changelog.update().await, Code::MigrationLock);
    assert!(report.contains("elsewhere") && report.contains("release-locks"), "{report}");
    here.run(&format!("UPDATE {lock} SET LOCKED = FALSE")).await;
    changelog.update().await.unwrap();
}

/// Runs the real Liquibase; its standard output and error.
fn liquibase(fresh: &Fresh, folder: &Path, command: &str) -> String {
    let class_path = mainstay_core::config::variable("MAINSTAY_TEST_LIQUIBASE").expect(
        "the real Liquibase is installed by `cargo xtask test`, which names its class path",
    );
    let mut java = Command::new("java");
    java.args(["-cp", &class_path, "liquibase.integration.commandline.LiquibaseCommandLine"])
        .args(["--show-banner=false", "--changelog-file=db/root.yaml", "--contexts=prod"])
        .current_dir(folder);
    let url = fresh.url();
    match fresh.engine() {
        Engine::Sqlite => {
            java.arg(format!("--url=jdbc:sqlite:{}", url.trim_start_matches("sqlite:")));
        }
        _ => {
            let (scheme, rest) = url.split_once("://").unwrap();
            let (user, place) = rest.split_once('@').unwrap();
            let (user, password) = user.split_once(':').unwrap();
            let scheme = if scheme == "mysql" { "mariadb" } else { "postgresql" };
            java.arg(format!("--url=jdbc:{scheme}://{place}"))
                .arg(format!("--username={user}"))
                .arg(format!("--password={password}"));
        }
    }
    let output = java.arg(command).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {text}");
    text
}

/// What differs in SQL that only Liquibase itself needs.
fn changes(sql: &str) -> Vec<&str> {
    let housekeeping = |line: &str| {
        line.is_empty()
            || line.starts_with("--")
            || line.contains("LOCK")
            || line.to_lowercase().contains("databasechangeloglock")
            || line.starts_with("SET SEARCH_PATH")
    };
    let statement = |line: &&str| {
        !housekeeping(line)
            && [
                "CREATE", "INSERT", "UPDATE", "ALTER", "DROP", "DELETE", "create", "insert",
                "select",
            ]
            .iter()
            .any(|word| line.starts_with(word))
    };
    sql.lines().filter(statement).collect()
}

async fn both_ways(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path());
    // Where we were, it has nothing to do.
    let ours = Fresh::new(engine).await;
    let db = Db::connect(ours.url()).await.unwrap();
    let here = Here { db: db.clone() };
    changelog(&here, folder.path()).update().await.unwrap();
    let shown = liquibase(&ours, folder.path(), "update-sql");
    assert_eq!(changes(&shown), [""; 0], "{shown}");
    assert!(shown.contains("is up to date"), "{shown}");
    liquibase(&ours, folder.path(), "validate");
    // Where it was, we have nothing to do, and what it wrote is what we write.
    let theirs = Fresh::new(engine).await;
    liquibase(&theirs, folder.path(), "update");
    let there = Db::connect(theirs.url()).await.unwrap();
    let here = Here { db: there.clone() };
    let left = changelog(&here, folder.path()).update().await.unwrap();
    assert_eq!((left.ran.len(), left.marked_ran.len()), (0, 0), "{left:?}");
    assert_eq!(history(&db).await, history(&there).await);
    for db in [db, there] {
        db.close(std::time::Duration::from_secs(5)).await.unwrap();
    }
    ours.remove().await;
    theirs.remove().await;
}

mod oracle {
    use super::Engine;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        super::both_ways(Engine::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        super::both_ways(Engine::Postgres).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mariadb() {
        super::both_ways(Engine::MariaDb).await;
    }
}
