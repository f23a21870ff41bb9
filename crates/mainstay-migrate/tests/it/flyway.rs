//! A history as Flyway writes it, gone on with; and ours as Flyway would find it.
//!
//! The tables and the checksums are those of a real Flyway; none runs here.

use mainstay_db::Engine;
use mainstay_migrate::{Options, State, Target};

use crate::support::{Here, on_every_engine};

on_every_engine!(a_history_of_flyways_is_gone_on_with, our_history_is_flyways);

const PERSON: &str =
    "CREATE TABLE person (\n    id INT NOT NULL,\n    name VARCHAR(100) NOT NULL\n);\n";
const ROW: &str = "INSERT INTO person VALUES (1, 'Zürich');\n\n-- c\n";
const VIEW: &str = "CREATE VIEW v AS SELECT * FROM person;";

const FILES: [(&str, &str); 3] =
    [("V1__person.sql", PERSON), ("V1.1__a_row.sql", ROW), ("R__v.sql", VIEW)];

/// As Flyway makes it.
fn table(engine: Engine, name: &str) -> String {
    match engine {
        Engine::Postgres => format!(
            r#"CREATE TABLE "public"."{name}" (
                "installed_rank" INT NOT NULL, "version" VARCHAR(50),
                "description" VARCHAR(200) NOT NULL, "type" VARCHAR(20) NOT NULL,
                "script" VARCHAR(1000) NOT NULL, "checksum" INTEGER,
                "installed_by" VARCHAR(100) NOT NULL,
                "installed_on" TIMESTAMP NOT NULL DEFAULT now(),
                "execution_time" INTEGER NOT NULL, "success" BOOLEAN NOT NULL);
               ALTER TABLE "public"."{name}" ADD CONSTRAINT "{name}_pk" PRIMARY KEY ("installed_rank");
               CREATE INDEX "{name}_s_idx" ON "public"."{name}" ("success");"#
        ),
        Engine::MySql => format!(
            "CREATE TABLE `{name}` (
                `installed_rank` INT NOT NULL, `version` VARCHAR(50),
                `description` VARCHAR(200) NOT NULL, `type` VARCHAR(20) NOT NULL,
                `script` VARCHAR(1000) NOT NULL, `checksum` INT,
                `installed_by` VARCHAR(100) NOT NULL,
                `installed_on` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
                `execution_time` INT NOT NULL, `success` BOOL NOT NULL,
                CONSTRAINT `{name}_pk` PRIMARY KEY (`installed_rank`));
             CREATE INDEX `{name}_s_idx` ON `{name}` (`success`);"
        ),
        Engine::Sqlite => format!(
            r#"CREATE TABLE "main"."{name}" (
                "installed_rank" INT NOT NULL PRIMARY KEY, "version" VARCHAR(50),
                "description" VARCHAR(200) NOT NULL, "type" VARCHAR(20) NOT NULL,
                "script" VARCHAR(1000) NOT NULL, "checksum" INT,
                "installed_by" VARCHAR(100) NOT NULL,
                "installed_on" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f','now')),
                "execution_time" INT NOT NULL, "success" BOOLEAN NOT NULL);
               CREATE INDEX "main"."{name}_s_idx" ON "{name}" ("success");"#
        ),
    }
}

async fn a_history_of_flyways_is_gone_on_with(here: Here) {
    here.run(&table(here.db.engine(), "flyway_schema_history")).await;
    here.run(&format!("{PERSON}{ROW}{VIEW}")).await;
    let q = |name: &str| here.db.engine().quote(name);
    let rows = [
        (1, "'1'", "person", "V1__person.sql", "-1455529326"),
        (2, "'1.1'", "a row", "V1.1__a_row.sql", "-1286852971"),
        (3, "NULL", "v", "R__v.sql", "1842084908"),
    ];
    for (rank, version, description, script, checksum) in rows {
        here.run(&format!(
            "INSERT INTO {} ({}, {}, {}, {}, {}, {}, {}, {}, {}) VALUES \
             ({rank}, {version}, '{description}', 'SQL', '{script}', {checksum}, 'me', 7, TRUE)",
            q("flyway_schema_history"),
            q("installed_rank"),
            q("version"),
            q("description"),
            q("type"),
            q("script"),
            q("checksum"),
            q("installed_by"),
            q("execution_time"),
            q("success"),
        ))
        .await;
    }
    let files = here.of(&FILES);
    let found = files.validate().await.unwrap();
    assert!(found.problems.is_empty() && found.warnings.is_empty(), "{found:?}");
    assert_eq!(files.up(Target::Latest).await.unwrap().applied.len(), 0);
    let mut more = FILES.to_vec();
    more.push(("V2__more.sql", "INSERT INTO person VALUES (2, 'x')"));
    assert_eq!(here.of(&more).up(Target::Latest).await.unwrap().applied.len(), 1);
    let info = here.of(&more).info().await.unwrap();
    assert!(info.migrations.iter().all(|m| m.state == State::Success), "{info:?}");
    assert_eq!(info.migrations[3].rank, Some(4));
}

async fn our_history_is_flyways(here: Here) {
    let options = Options { table: "ours".to_owned(), ..Options::default() };
    here.of(&FILES).options(options).up(Target::Latest).await.unwrap();
    here.run(&table(here.db.engine(), "theirs")).await;
    let shape = async |name: &str| -> String {
        let sql = match here.db.engine() {
            Engine::Postgres => format!(
                "SELECT string_agg(c.column_name || ' ' || c.data_type || coalesce(c.character_maximum_length::text, '') \
                 || ' ' || c.is_nullable || ' ' || coalesce(c.column_default, ''), ', ' ORDER BY c.ordinal_position) \
                 || (SELECT string_agg(indexdef, ' ' ORDER BY indexname) FROM pg_indexes WHERE tablename = '{name}') \
                 FROM information_schema.columns c WHERE c.table_name = '{name}'"
            ),
            Engine::MySql => format!(
                "SELECT CONCAT((SELECT GROUP_CONCAT(CONCAT(column_name, ' ', column_type, ' ', is_nullable, ' ', \
                 IFNULL(column_default, '')) ORDER BY ordinal_position) FROM information_schema.columns \
                 WHERE table_schema = DATABASE() AND table_name = '{name}'), \
                 (SELECT GROUP_CONCAT(CONCAT(index_name, ' ', column_name) ORDER BY index_name <> 'PRIMARY') \
                 FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = '{name}'))"
            ),
            Engine::Sqlite => format!(
                "SELECT (SELECT group_concat(name || ' ' || type || ' ' || \"notnull\" || ' ' || coalesce(dflt_value, '') \
                 || ' ' || pk) FROM pragma_table_info('{name}')) || \
                 (SELECT group_concat(name) FROM pragma_index_list('{name}'))"
            ),
        };
        let mut session = here.db.session().await.unwrap();
        let rows = session.rows(&sql, Vec::new()).await.unwrap();
        rows[0].at::<String>(0).unwrap().replace(name, "TABLE")
    };
    assert_eq!(shape("ours").await, shape("theirs").await);
}
