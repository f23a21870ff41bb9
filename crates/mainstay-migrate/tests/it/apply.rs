//! Up, undo, repair, baseline and what goes with them.

use mainstay_core::Code;
use mainstay_db::Engine;
use mainstay_migrate::{Options, State, Target, Version};

use crate::support::{Here, on_every_engine, refused};

on_every_engine!(
    all_is_applied_once,
    a_repeatable_runs_whenever_it_has_changed,
    what_is_undone_is_pending_again,
    what_mainstay_keeps_for_itself_is_no_schema,
    a_baseline_stands_for_what_is_there,
    a_baseline_file_stands_for_all_below_it,
    versions_out_of_order_need_leave,
    targets_bound_what_runs,
    callbacks_run_at_their_events,
    placeholders_and_conf_are_heeded,
    a_dry_run_changes_nothing,
    repair_makes_the_history_say_what_the_files_do,
    what_cannot_be_in_a_transaction_runs_outside,
    a_failure_in_a_transaction_leaves_nothing,
    a_failure_outside_one_is_gone_on_from,
    a_moved_line_break_is_warned_of,
    what_a_script_sets_ends_with_it,
);

const USERS: (&str, &str) =
    ("V1__users.sql", "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL)");
const ADA: (&str, &str) = ("V2__ada.sql", "INSERT INTO users VALUES (1, 'Ada;')");

async fn up(here: &Here, scripts: &[(&str, &str)]) -> usize {
    here.of(scripts).up(Target::Latest).await.unwrap().applied.len()
}

async fn states(here: &Here, scripts: &[(&str, &str)]) -> Vec<(String, State)> {
    let info = here.of(scripts).info().await.unwrap();
    info.migrations.into_iter().map(|m| (m.version.unwrap_or(m.description), m.state)).collect()
}

fn named(all: &[(&str, State)]) -> Vec<(String, State)> {
    all.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect()
}

async fn all_is_applied_once(here: Here) {
    assert_eq!(states(&here, &[USERS]).await, named(&[("1", State::Pending)]));
    assert_eq!(up(&here, &[USERS, ADA]).await, 2);
    assert_eq!(up(&here, &[USERS, ADA]).await, 0);
    assert_eq!(here.count("SELECT COUNT(*) FROM users WHERE name = 'Ada;'").await, 1);
    let all = [("1", State::Success), ("2", State::Success)];
    assert_eq!(states(&here, &[USERS, ADA]).await, named(&all));
    assert!(here.of(&[USERS, ADA]).validate().await.unwrap().problems.is_empty());
}

async fn a_repeatable_runs_whenever_it_has_changed(here: Here) {
    let view = |sql| [USERS, ("R__names.sql", sql)];
    let first = "DROP VIEW IF EXISTS names; CREATE VIEW names AS SELECT name FROM users";
    assert_eq!(up(&here, &view(first)).await, 2);
    assert_eq!(up(&here, &view(first)).await, 0);
    let second = "DROP VIEW IF EXISTS names; CREATE VIEW names AS SELECT id, name FROM users";
    let all = [("1", State::Success), ("names", State::Outdated)];
    assert_eq!(states(&here, &view(second)).await, named(&all));
    assert_eq!(up(&here, &view(second)).await, 1);
    assert_eq!(here.count("SELECT COUNT(id) FROM names").await, 0);
    let all = [("1", State::Success), ("names", State::Superseded), ("names", State::Success)];
    assert_eq!(states(&here, &view(second)).await, named(&all));
}

async fn what_is_undone_is_pending_again(here: Here) {
    let undo = ("U2__ada.sql", "DELETE FROM users WHERE id = 1");
    let third = ("V3__bob.sql", "INSERT INTO users VALUES (3, 'Bob')");
    let all = [USERS, ADA, third, undo, ("U3__bob.sql", "DELETE FROM users WHERE id = 3")];
    assert_eq!(up(&here, &all).await, 3);
    let report = here.of(&all).undo(None).await.unwrap();
    assert_eq!((report.applied.len(), report.version.as_deref()), (1, Some("2")));
    assert_eq!(here.count("SELECT COUNT(*) FROM users").await, 1);
    assert_eq!(here.history().await[3], (Some("3".to_owned()), "UNDO_SQL".to_owned(), true));
    assert_eq!(up(&here, &all).await, 1);
    // All down to and with the target; no half undo where a file is missing.
    let missing = here.of(&all).undo(Version::parse("1")).await;
    assert!(refused(missing, Code::MigrationUndo).contains("version 1 (users)"));
    assert_eq!(here.count("SELECT COUNT(*) FROM users").await, 2);
    let report = here.of(&all).undo(Version::parse("2")).await.unwrap();
    assert_eq!((report.applied.len(), report.version.as_deref()), (2, Some("1")));
    assert_eq!(here.count("SELECT COUNT(*) FROM users").await, 0);
    assert_eq!(up(&here, &all).await, 2);
}

async fn what_mainstay_keeps_for_itself_is_no_schema(here: Here) {
    here.run("CREATE TABLE mainstay_shard_map (epoch BIGINT NOT NULL)").await;
    assert_eq!(up(&here, &[USERS, ADA]).await, 2);
}

async fn a_baseline_stands_for_what_is_there(here: Here) {
    here.run(USERS.1).await;
    let report = refused(here.of(&[USERS, ADA]).up(Target::Latest).await, Code::MigrationNotEmpty);
    assert!(report.contains("it has users"), "{report}");
    assert!(!here.exists("flyway_schema_history").await);
    assert_eq!(here.of(&[USERS, ADA]).baseline().await.unwrap().as_str(), "1");
    // Twice is once.
    here.of(&[USERS, ADA]).baseline().await.unwrap();
    assert_eq!(up(&here, &[USERS, ADA]).await, 1);
    let all = [("1", State::IgnoredBaseline), ("1", State::Baseline), ("2", State::Success)];
    assert_eq!(states(&here, &[USERS, ADA]).await, named(&all));
    let options = Options { baseline_version: "7".to_owned(), ..Options::default() };
    let other = here.of(&[USERS]).options(options).baseline().await;
    refused(other, Code::MigrationHistory);
}

async fn a_baseline_file_stands_for_all_below_it(here: Here) {
    let all = [
        USERS,
        ADA,
        ("B2__all.sql", "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL)"),
        ("V3__more.sql", "INSERT INTO users VALUES (3, 'x')"),
    ];
    assert_eq!(up(&here, &all).await, 2);
    assert_eq!(here.count("SELECT COUNT(*) FROM users").await, 1);
    assert_eq!(here.history().await[0], (Some("2".to_owned()), "SQL_BASELINE".to_owned(), true));
    assert_eq!(up(&here, &all).await, 0);
    assert!(here.of(&all).validate().await.unwrap().problems.is_empty());
}

async fn versions_out_of_order_need_leave(here: Here) {
    let late = ("V1.5__late.sql", "INSERT INTO users VALUES (15, 'late')");
    assert_eq!(up(&here, &[USERS, ADA]).await, 2);
    let all = [USERS, ADA, late];
    let report = refused(here.of(&all).up(Target::Latest).await, Code::MigrationOutOfOrder);
    assert!(report.contains("version 1.5 (late) is not applied, and is below 2"), "{report}");
    let options = Options { out_of_order: true, ..Options::default() };
    let migrator = here.of(&all).options(options.clone());
    assert_eq!(migrator.up(Target::Latest).await.unwrap().applied.len(), 1);
    let states = states(&here, &all).await;
    assert_eq!(states[2], ("1.5".to_owned(), State::OutOfOrder));
}

async fn targets_bound_what_runs(here: Here) {
    let all = [USERS, ADA, ("V3__c.sql", "DELETE FROM users"), ("R__r.sql", "SELECT 1")];
    let to = async |target: &str| here.of(&all).up(target.parse().unwrap()).await;
    let ran = |report: mainstay_migrate::Report| -> Vec<String> {
        report.applied.into_iter().map(|r| r.script).collect()
    };
    assert_eq!(ran(to("next").await.unwrap()), ["V1__users.sql"]);
    assert_eq!(ran(to("2").await.unwrap()), ["V2__ada.sql", "R__r.sql"]);
    assert!(refused(to("9").await, Code::MigrationFile).contains("the highest is 3"));
    assert_eq!(ran(to("2.5?").await.unwrap()), [""; 0]);
    assert_eq!(ran(to("current").await.unwrap()), [""; 0]);
    assert_eq!(ran(to("latest").await.unwrap()), ["V3__c.sql"]);
}

async fn callbacks_run_at_their_events(here: Here) {
    here.run("CREATE TABLE log (n INT, what VARCHAR(40))").await;
    let events = [
        "beforeMigrate",
        "beforeEachMigrate",
        "beforeEachMigrateStatement",
        "afterEachMigrateStatement",
        "afterEachMigrate",
        "afterVersioned",
        "beforeRepeatables",
        "afterMigrateApplied",
        "afterMigrate",
        "afterMigrate__second",
        "afterMigrateError",
    ];
    let files: Vec<_> = events
        .iter()
        .map(|event| {
            let sql = format!("INSERT INTO log SELECT COUNT(*) + 1, '{event}' FROM log");
            (format!("{event}.sql"), sql)
        })
        .collect();
    let mut all: Vec<(&str, &str)> = vec![USERS, ADA, ("R__r.sql", "SELECT 1")];
    all.extend(files.iter().map(|(name, sql)| (name.as_str(), sql.as_str())));
    let options = Options {
        baseline_on_migrate: true,
        baseline_version: "0".to_owned(),
        ..Options::default()
    };
    here.of(&all).options(options.clone()).up(Target::Latest).await.unwrap();
    let logged: Vec<(String,)> =
        here.db.query("SELECT what FROM log ORDER BY n").all().await.unwrap();
    let logged: Vec<_> = logged.iter().map(|(what,)| what.as_str()).collect();
    let each = [
        "beforeEachMigrate",
        "beforeEachMigrateStatement",
        "afterEachMigrateStatement",
        "afterEachMigrate",
    ];
    // MySQL's first script has DDL: its statements are run one by one.
    let expected: Vec<&str> = ["beforeMigrate"]
        .into_iter()
        .chain(each)
        .chain(each)
        .chain(["afterVersioned", "beforeRepeatables"])
        .chain(each)
        .chain(["afterMigrateApplied", "afterMigrate", "afterMigrate__second"])
        .collect();
    assert_eq!(logged, expected);
    let mut failing = all.clone();
    failing.push(("V3__no.sql", "INSERT INTO nowhere VALUES (1)"));
    let failed = here.of(&failing).options(options).up(Target::Latest).await;
    refused(failed, Code::MigrationFailed);
    let last = here.count("SELECT COUNT(*) FROM log WHERE what = 'afterMigrateError'").await;
    assert_eq!(last, 1);
}

async fn placeholders_and_conf_are_heeded(here: Here) {
    let mut options = Options::default();
    options.placeholders.insert("who".to_owned(), "Bob".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| crate::support::write(folder.path(), name, text);
    file(USERS.0, USERS.1);
    file("V2__a.sql", "INSERT INTO users VALUES (1, '${WHO} ${flyway:filename} ${flyway:table}')");
    file("V3__b.sql", "INSERT INTO users VALUES (2, '${raw}')");
    file("V3__b.sql.conf", "placeholderReplacement=false");
    file("V4__c.sql", "INSERT INTO nowhere VALUES (1)");
    file("V4__c.sql.conf", "shouldExecute=${who}==Ada");
    let migrations = mainstay_migrate::Migrations::new().folder(folder.path());
    let migrator = here.migrator(migrations).options(options);
    assert_eq!(migrator.up(Target::Latest).await.unwrap().applied.len(), 3);
    let names: Vec<(String,)> =
        here.db.query("SELECT name FROM users ORDER BY id").all().await.unwrap();
    assert_eq!(names[0].0, "Bob V2__a.sql flyway_schema_history");
    assert_eq!(names[1].0, "${raw}");
    assert_eq!(migrator.info().await.unwrap().migrations[3].state, State::Ignored);
}

async fn a_dry_run_changes_nothing(here: Here) {
    let scripts = here.of(&[USERS, ADA]).dry_run(Target::Latest).await.unwrap();
    assert_eq!(scripts.len(), 2);
    assert_eq!(scripts[1].statements[0].text, ADA.1);
    assert!(!here.exists("flyway_schema_history").await && !here.exists("users").await);
}

async fn repair_makes_the_history_say_what_the_files_do(here: Here) {
    assert_eq!(up(&here, &[USERS, ADA]).await, 2);
    let edited = [("V1__people.sql", "CREATE TABLE users (id BIGINT)")];
    let report = refused(here.of(&edited).up(Target::Latest).await, Code::MigrationChanged);
    assert!(report.contains("the checksum of version 1 (users) was"), "{report}");
    assert!(report.contains("V1__people.sql"), "{report}");
    let v3 = ("V3__c.sql", "DELETE FROM users WHERE id = 99");
    let with_gap = [edited[0], v3];
    let found = here.of(&with_gap).validate().await.unwrap();
    let codes: Vec<_> = found.problems.iter().map(|p| p.code).collect();
    let expected = [Code::MigrationChanged, Code::MigrationMissing, Code::MigrationPending];
    assert_eq!(codes, expected);
    let repaired = here.of(&with_gap).repair().await.unwrap();
    assert_eq!((repaired.deleted.len(), repaired.realigned.len()), (1, 1));
    assert_eq!(up(&here, &with_gap).await, 1);
    let states = states(&here, &with_gap).await;
    assert_eq!(states[1], ("2".to_owned(), State::Deleted));
}

async fn what_cannot_be_in_a_transaction_runs_outside(here: Here) {
    let (alone, check): (&str, &str) = match here.db.engine() {
        Engine::Sqlite => ("PRAGMA foreign_keys = OFF; VACUUM", "SELECT 1"),
        Engine::Postgres => (
            "CREATE INDEX CONCURRENTLY users_name ON users (name); VACUUM users",
            "SELECT COUNT(*) FROM pg_indexes WHERE indexname = 'users_name'",
        ),
        Engine::MySql => {
            ("CREATE INDEX users_name ON users (name); OPTIMIZE TABLE users", "SELECT 1")
        }
    };
    let script = format!(
        "INSERT INTO users VALUES (5, 'a'); {alone}; BEGIN; DELETE FROM users WHERE id = 5; COMMIT"
    );
    assert_eq!(up(&here, &[USERS, ("V2__x.sql", &script)]).await, 2);
    assert_eq!(here.count(check).await, 1);
    assert_eq!(here.count("SELECT COUNT(*) FROM users").await, 0);
}

async fn a_failure_in_a_transaction_leaves_nothing(here: Here) {
    let script = "INSERT INTO users VALUES (1, 'a');\n\n  INSERT INTO nowhere VALUES (1);";
    let failed = here.of(&[USERS, ("V2__x.sql", script)]).up(Target::Latest).await;
    let report = refused(failed, Code::MigrationFailed);
    assert!(report.contains("V2__x.sql:3:3: "), "{report}");
    assert!(report.contains("INSERT INTO nowhere VALUES (1)"), "{report}");
    assert!(report.contains("nothing of it stays"), "{report}");
    assert_eq!(here.count("SELECT COUNT(*) FROM users").await, 0);
    assert_eq!(here.history().await.len(), 1);
    assert_eq!(up(&here, &[USERS, ("V2__x.sql", "INSERT INTO users VALUES (1, 'a')")]).await, 1);
}

async fn a_failure_outside_one_is_gone_on_from(here: Here) {
    let head = "CREATE TABLE a (id INT);\nINSERT INTO a VALUES (1);\n";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| crate::support::write(folder.path(), name, text);
    let migrations = mainstay_migrate::Migrations::new().folder(folder.path());
    let migrator = here.migrator(migrations);
    file("V1__a.sql.conf", "executeInTransaction=false");
    file("V1__a.sql", &format!("{head}INSERT INTO b VALUES (1);\nINSERT INTO a VALUES (2);\n"));
    let report = refused(migrator.up(Target::Latest).await, Code::MigrationFailed);
    assert!(report.contains("V1__a.sql:3:1: "), "{report}");
    assert!(report.contains("2 of its 4 statements are done and stay"), "{report}");
    assert_eq!(here.history().await, [(Some("1".to_owned()), "SQL".to_owned(), false)]);
    assert_eq!(migrator.info().await.unwrap().migrations[0].state, State::Failed);
    // What is done must not have changed.
    file("V1__a.sql", &format!("{head}INSERT INTO a VALUES (3);").replace("(1)", "(7)"));
    refused(migrator.up(Target::Latest).await, Code::MigrationHalf);
    file("V1__a.sql", &format!("{head}INSERT INTO a VALUES (3);\nINSERT INTO a VALUES (2);\n"));
    assert_eq!(migrator.up(Target::Latest).await.unwrap().applied.len(), 1);
    let rows: Vec<(i64,)> = here
        .db
        .query("SELECT CAST(id AS DECIMAL(9)) * 1 FROM a ORDER BY id")
        .all()
        .await
        .unwrap_or_default();
    let _ = rows;
    assert_eq!(here.count("SELECT COUNT(*) FROM a").await, 3);
    assert_eq!(here.count("SELECT COUNT(*) FROM a WHERE id = 1").await, 1);
    assert_eq!(here.history().await, [(Some("1".to_owned()), "SQL".to_owned(), true)]);
    assert!(migrator.validate().await.unwrap().problems.is_empty());
}

async fn a_moved_line_break_is_warned_of(here: Here) {
    let before = ("V2__c.sql", "-- all of them\nDELETE FROM users");
    let after = ("V2__c.sql", "-- all of themDELETE FROM users");
    assert_eq!(up(&here, &[USERS, before]).await, 2);
    let found = here.of(&[USERS, after]).validate().await.unwrap();
    assert!(found.problems.is_empty(), "{found:?}");
    assert!(found.warnings[0].what.contains("a line break has moved"), "{found:?}");
    here.of(&[USERS, after]).repair().await.unwrap();
    assert!(here.of(&[USERS, after]).validate().await.unwrap().warnings.is_empty());
}

async fn what_a_script_sets_ends_with_it(here: Here) {
    let (set, ask): (&str, &str) = match here.db.engine() {
        Engine::Sqlite => (
            "PRAGMA foreign_keys = OFF",
            "INSERT INTO users SELECT 1, CASE foreign_keys WHEN 1 THEN 'on' ELSE 'off' END FROM pragma_foreign_keys",
        ),
        Engine::Postgres => (
            "SET search_path TO pg_catalog",
            "INSERT INTO users SELECT 1, CASE current_schema() WHEN 'public' THEN 'on' ELSE 'off' END",
        ),
        Engine::MySql => (
            "SET foreign_key_checks = 0",
            "INSERT INTO users SELECT 1, IF(@@foreign_key_checks, 'on', 'off')",
        ),
    };
    up(&here, &[USERS, ("V2__set.sql", set), ("V3__ask.sql", ask)]).await;
    assert_eq!(here.count("SELECT COUNT(*) FROM users WHERE name = 'on'").await, 1);
}
