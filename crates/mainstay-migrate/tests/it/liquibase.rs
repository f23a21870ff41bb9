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
    a_file_has_one_name_however_the_history_writes_it,
    a_row_is_kept_and_a_checksum_of_old_is_told,
    what_is_not_meant_is_not_compared,
    what_cannot_be_done_is_met_before_anything_runs,
    keys_and_indexes_are_found_by_their_columns,
    the_history_is_put_right_by_hand,
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
    // The set that does nothing but set the tag goes too.
    assert_eq!(history(&here.db).await.len(), 3);
    let none = changelog.rollback(RollbackTo::Tag("v9".to_owned())).await;
    refused(none, Code::MigrationHistory);
    changelog.update().await.unwrap();
    assert!(here.exists("city").await);
    // Rows of other files stay; of one that is marked as run only the row goes.
    let table = table(&here.db);
    here.run(&format!(
        "INSERT INTO {table} (ID, AUTHOR, FILENAME, DATEEXECUTED, ORDEREXECUTED, EXECTYPE) \
         VALUES ('1', 'x', 'other.xml', '2199-01-01 00:00:00', 1, 'EXECUTED')"
    ))
    .await;
    here.run(&format!("UPDATE {table} SET EXECTYPE = 'MARK_RAN' WHERE AUTHOR = 'bob'")).await;
    changelog.rollback(RollbackTo::Tag("V1".to_owned())).await.unwrap();
    assert!(here.exists("city").await);
    let left: Vec<_> = history(&here.db).await;
    assert_eq!(left.len(), 4);
    assert!(left.iter().any(|row| row.contains("other.xml")), "{left:?}");
}

fn table(db: &Db) -> &'static str {
    if db.engine() == Sql::Postgres { "databasechangelog" } else { "DATABASECHANGELOG" }
}

/// A changelog of change sets, each with its attributes and its SQL.
fn sets(all: &[(&str, &str, &str)]) -> String {
    let set = |(id, attributes, sql): &(&str, &str, &str)| {
        format!("<changeSet id='{id}' author='a' {attributes}>{sql}</changeSet>")
    };
    format!("<databaseChangeLog>{}</databaseChangeLog>", all.iter().map(set).collect::<String>())
}

fn root(here: &Here, folder: &Path) -> Changelog {
    Changelog::new(&here.db, "root.xml").search_path(folder)
}

async fn a_file_has_one_name_however_the_history_writes_it(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    let first = ("1", "", "<sql>create table t (id int)</sql><rollback>drop table t</rollback>");
    let again = ("2", "runAlways='true'", "<sql>insert into t values (2)</sql><rollback/>");
    write(folder.path(), "root.xml", &sets(&[first, again]));
    root(&here, folder.path()).update().await.unwrap();
    let table = table(&here.db);
    // As a Liquibase of old wrote it, with its class path.
    here.run(&format!("UPDATE {table} SET FILENAME = 'classpath:/root.xml'")).await;
    let asked = "<preConditions><changeSetExecuted id='1' author='a' changeLogFile='./root.xml'/>\
                 </preConditions><sql>insert into t values (3)</sql><rollback/>";
    write(folder.path(), "root.xml", &sets(&[first, again, ("3", "", asked)]));
    let done = root(&here, folder.path()).update().await.unwrap();
    assert_eq!(done.ran, ["root.xml::2::a", "root.xml::3::a"]);
    let rows = history(&here.db).await;
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.iter().any(|r| r.contains("2|a|classpath:/root.xml|RERAN")), "{rows:?}");
    root(&here, folder.path()).rollback(RollbackTo::Count(9)).await.unwrap();
    assert_eq!(history(&here.db).await.len(), 0);
    assert!(!here.exists("t").await);
}

async fn a_row_is_kept_and_a_checksum_of_old_is_told(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    let passed = "<preConditions onFail='MARK_RAN'><tableExists tableName='gone'/></preConditions>\
                  <sql>select 1</sql>";
    let text = sets(&[
        ("1", "", "<sql>create table t (id int)</sql>"),
        ("2", "runOnChange='true'", "<sql>insert into t values (2)</sql>"),
        ("3", "runOnChange='true'", passed),
    ]);
    write(folder.path(), "root.xml", &text);
    root(&here, folder.path()).update().await.unwrap();
    let sums =
        format!("UPDATE {} SET MD5SUM = '8:0123456789abcdef0123456789abcdef'", table(&here.db));
    here.run(&sums).await;
    let pending = |all: Vec<mainstay_migrate::ChangeSetStatus>| -> Vec<String> {
        all.into_iter().filter(|set| set.pending).map(|set| set.name).collect()
    };
    let status = pending(root(&here, folder.path()).status().await.unwrap());
    assert_eq!(status, ["root.xml::2::a", "root.xml::3::a"]);
    let notes = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let kept = std::sync::Arc::clone(&notes);
    let told = move |told: mainstay_migrate::Told<'_>| {
        if let mainstay_migrate::Told::Note(text) = told {
            *kept.lock().unwrap() += text;
        }
    };
    let done = root(&here, folder.path()).on(told).update().await.unwrap();
    assert_eq!((done.ran.len(), done.marked_ran.len()), (1, 1), "{done:?}");
    assert!(notes.lock().unwrap().contains("root.xml::1::a: its checksum 8:0123"), "{notes:?}");
    let rows = history(&here.db).await;
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows[2].contains("3|a|root.xml|MARK_RAN|9:"), "{rows:?}");
    let status = pending(root(&here, folder.path()).status().await.unwrap());
    assert_eq!(status, [""; 0]);
}

async fn what_is_not_meant_is_not_compared(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    let text = |table: &str| {
        let sql = format!("<sql>create table {table} (id int)</sql>");
        sets(&[("1", "context='test'", sql.as_str())])
    };
    write(folder.path(), "root.xml", &text("t"));
    root(&here, folder.path()).contexts(["test"]).update().await.unwrap();
    write(folder.path(), "root.xml", &text("u"));
    root(&here, folder.path()).contexts(["prod"]).validate().await.unwrap();
    let meant = root(&here, folder.path()).contexts(["test"]).validate().await;
    refused(meant, Code::MigrationChanged);
}

async fn what_cannot_be_done_is_met_before_anything_runs(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    // An index without a name.
    let impossible = "<createIndex tableName='t'><column name='id'/></createIndex>";
    let text = |attributes: &str| {
        sets(&[("1", "", "<sql>create table t (id int)</sql>"), ("2", attributes, impossible)])
    };
    write(folder.path(), "root.xml", &text(""));
    let planned = root(&here, folder.path()).dry_run().await.unwrap();
    assert!(planned[0].refused.is_none() && planned[1].refused.is_some(), "{planned:?}");
    refused(root(&here, folder.path()).update().await, Code::MigrationChangelog);
    assert!(!here.exists("t").await);
    write(folder.path(), "root.xml", &text("onValidationFail='MARK_RAN'"));
    let done = root(&here, folder.path()).update().await.unwrap();
    assert_eq!((done.ran.len(), done.marked_ran.len()), (1, 1), "{done:?}");
}

async fn keys_and_indexes_are_found_by_their_columns(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    here.run("CREATE TABLE k (a int NOT NULL, b int NOT NULL, c int, UNIQUE (a, b))").await;
    here.run("CREATE INDEX k_c ON k (c, b)").await;
    let mut expected =
        vec![("unique", "a,b", true), ("unique", "a", false), ("unique", "b,a", false)];
    expected.extend([("index", "c, b", true), ("index", "c", false)]);
    if here.db.engine() == Sql::Postgres {
        here.run("CREATE INDEX k_lower ON k (abs(c)) INCLUDE (a)").await;
        expected.extend([("index", "abs(c)", true), ("name", "k_lower", true)]);
    }
    for (kind, columns, exists) in expected {
        let condition = match kind {
            "unique" => format!("<uniqueConstraintExists tableName='k' columnNames='{columns}'/>"),
            "index" => format!("<indexExists tableName='k' columnNames='{columns}'/>"),
            _ => format!("<indexExists indexName='{columns}'/>"),
        };
        let body = format!("<preConditions>{condition}</preConditions><sql>select 1</sql>");
        let id = format!("{kind} {columns}");
        write(folder.path(), "root.xml", &sets(&[(id.as_str(), "", body.as_str())]));
        let done = root(&here, folder.path()).update().await;
        assert_eq!(done.is_ok(), exists, "{condition}: {done:?}");
    }
}

async fn the_history_is_put_right_by_hand(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    let untagged = root(&here, folder.path()).tag("v0").await;
    refused(untagged, Code::MigrationHistory);
    write(folder.path(), "root.xml", &sets(&[("1", "", "<sql>create table t (id int)</sql>")]));
    let synced = root(&here, folder.path()).changelog_sync().await.unwrap();
    assert_eq!(synced.ran, ["root.xml::1::a"]);
    assert_eq!(root(&here, folder.path()).update().await.unwrap().ran, [""; 0]);
    assert!(!here.exists("t").await);
    root(&here, folder.path()).tag("v0").await.unwrap();
    assert!(history(&here.db).await[0].contains("|v0|"));
    assert!(!root(&here, folder.path()).release_locks().await.unwrap());
    let lock = match here.db.engine() {
        Sql::Postgres => "databasechangeloglock",
        Sql::MySql | Sql::Sqlite => "DATABASECHANGELOGLOCK",
    };
    if here.db.engine() == Sql::MySql {
        // As a Liquibase makes it.
        here.run(&format!("ALTER TABLE {lock} MODIFY LOCKED BIT(1) NOT NULL")).await;
        root(&here, folder.path()).update().await.unwrap();
    }
    here.run(&format!("UPDATE {lock} SET LOCKED = TRUE, LOCKEDBY = 'elsewhere'")).await;
    let options = mainstay_migrate::Options {
        lock_wait: std::time::Duration::from_millis(300),
        ..Default::default()
    };
    let waits = root(&here, folder.path()).options(options).update().await;
    refused(waits, Code::MigrationLock);
    assert!(root(&here, folder.path()).release_locks().await.unwrap());
    root(&here, folder.path()).update().await.unwrap();
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
