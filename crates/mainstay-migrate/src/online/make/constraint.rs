//! Unique constraints, foreign keys and indexes: nothing is filled and nothing goes, but the rows must
//! allow it, and writers are not to wait for it.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::{How, Made, Say, Site, Work, none};
use crate::online::change::{AddForeignKey, AddIndex, AddUnique, fitting};
use crate::online::expr::check;
use crate::online::look::refused;
use crate::online::plan::{Look, Makes};
use crate::online::rebuild::{Edit, Rebuild};

/// Rows that are named.
const SHOWN_MAX: usize = 5;

pub(super) fn unique(site: Site<'_>, unique: &AddUnique) -> Made {
    let usual = if site.engine() == Engine::Postgres { "key" } else { "unique" };
    let name = named(site, unique.name.as_ref(), &unique.columns, usual);
    let columns = site.list(&unique.columns);
    let mut expand = vec![duplicates(site, &unique.columns, None)];
    let mut abort = vec![drop_index(site, &name)];
    let mut makes = vec![Makes::Index(name.clone())];
    let title = format!("builds the unique index {name}");
    expand.push(build(site, &title, &name, &columns, true, None));
    if site.engine() == Engine::Postgres {
        let (table, quoted) = (site.table(), site.q(&name));
        expand.push(Work::run(
            format!("makes a constraint of {name}"),
            [format!("ALTER TABLE {table} ADD CONSTRAINT {quoted} UNIQUE USING INDEX {quoted}")],
        ));
        let sql = format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quoted}");
        abort.insert(0, Work::run(format!("drops the constraint {name}"), [sql]));
        makes.push(Makes::Constraint(name));
    }
    Made { expand, abort, makes, ..Made::default() }
}

pub(super) fn index(site: Site<'_>, index: &AddIndex) -> Result<Made> {
    let name = named(site, index.name.as_ref(), &index.columns, "idx");
    if let Some(filter) = &index.filter {
        if site.engine() == Engine::MySql {
            return Err(refused("add_index.where: MySQL has no partial indexes"));
        }
        check(filter, site.engine(), "add_index.where")?;
    }
    let columns = site.list(&index.columns);
    let filter = index.filter.as_deref();
    let mut expand = Vec::new();
    if index.unique {
        expand.push(duplicates(site, &index.columns, filter));
    }
    let title = format!("builds the index {name}");
    expand.push(build(site, &title, &name, &columns, index.unique, filter));
    let abort = vec![drop_index(site, &name)];
    Ok(Made { expand, abort, makes: vec![Makes::Index(name)], ..Made::default() })
}

pub(super) fn foreign_key(site: Site<'_>, key: &AddForeignKey) -> Made {
    let engine = site.engine();
    let name = named(site, key.name.as_ref(), &key.columns, "fkey");
    let mut expand = vec![orphans(site, key, None)];
    let (mut abort, mut makes) = (Vec::new(), Vec::new());
    if engine != Engine::Sqlite && !site.ground.has_index_on(engine, &key.columns) {
        let index = named(site, None, &key.columns, "idx");
        let title = format!("builds the index {index}, for deletions there");
        let columns = site.list(&key.columns);
        expand.push(build(site, &title, &index, &columns, false, None));
        abort.push(drop_index(site, &index));
        makes.push(Makes::Index(index));
    }
    if engine != Engine::Sqlite {
        makes.push(Makes::Constraint(name.clone()));
    }
    let delete = key.on_delete.map(|d| format!(" ON DELETE {}", d.sql())).unwrap_or_default();
    let sql = format!(
        "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){delete}",
        site.q(&name),
        site.list(&key.columns),
        site.named(&key.references),
        site.list(&key.to)
    );
    let (table, quoted) = (site.table(), site.q(&name));
    match engine {
        Engine::Postgres => {
            expand.push(Work::run(
                format!("has new rows checked: {name}"),
                [format!("ALTER TABLE {table} ADD {sql} NOT VALID")],
            ));
            expand.push(Work::run(
                format!("checks old rows, beside writers: {name}"),
                [format!("ALTER TABLE {table} VALIDATE CONSTRAINT {quoted}")],
            ));
            let sql = format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quoted}");
            abort.insert(0, Work::run(format!("drops the constraint {name}"), [sql]));
        }
        Engine::MySql => mysql_key(site, key, &name, &sql, &mut expand, &mut abort),
        Engine::Sqlite => {
            let rebuild = Rebuild {
                table: site.ground.table.clone(),
                edits: vec![Edit::Constraint(sql)],
                ..Rebuild::default()
            };
            expand.push(Work::new(format!("adds the constraint {name}"), How::Rebuild(rebuild)));
        }
    }
    Made { expand, abort, makes, ..Made::default() }
}

/// MySQL adds a foreign key beside writers only where it does not check the rows: they are looked at
/// once more after it.
fn mysql_key(
    site: Site<'_>,
    key: &AddForeignKey,
    name: &str,
    sql: &str,
    expand: &mut Vec<Work>,
    abort: &mut Vec<Work>,
) {
    let (table, quoted, has) = (site.table(), site.q(name), site.has_foreign_key(name));
    let back = expand.len();
    expand.push(Work::new(
        format!("adds the constraint {name}"),
        How::Run(vec![
            Say::new("SET SESSION foreign_key_checks = 0"),
            Say::unless(
                format!("ALTER TABLE {table} ADD {sql}, ALGORITHM=INPLACE, LOCK=NONE"),
                has.clone(),
            ),
            Say::new("SET SESSION foreign_key_checks = 1"),
        ]),
    ));
    let undo = Say::unless(format!("ALTER TABLE {table} DROP FOREIGN KEY {quoted}"), none(&has));
    expand.push(orphans(site, key, Some((undo.clone(), back))));
    abort.insert(0, Work::new(format!("drops the constraint {name}"), How::Run(vec![undo])));
}

/// What it is called.
fn named(site: Site<'_>, given: Option<&String>, columns: &[String], usual: &str) -> String {
    const BYTES_MAX: usize = 63;
    let name = given
        .cloned()
        .unwrap_or_else(|| format!("{}_{}_{usual}", site.ground.table, columns.join("_")));
    fitting(&name, BYTES_MAX)
}

fn build(
    site: Site<'_>,
    title: &str,
    name: &str,
    columns: &str,
    unique: bool,
    filter: Option<&str>,
) -> Work {
    let unique = if unique { "UNIQUE " } else { "" };
    let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
    let (table, quoted) = (site.table(), site.q(name));
    match site.engine() {
        Engine::Postgres => Work::new(
            format!("{title}, beside writers"),
            How::Index(format!(
                "CREATE {unique}INDEX CONCURRENTLY {quoted} ON {table} ({columns}){filter}"
            )),
        ),
        Engine::MySql => {
            let sql = format!("ALTER TABLE {table} ADD {unique}INDEX {quoted} ({columns})");
            site.alter(format!("{title}, beside writers"), &sql, Some(&site.has_index(name)))
        }
        Engine::Sqlite => Work::run(
            title,
            [format!("CREATE {unique}INDEX {quoted} ON {table} ({columns}){filter}")],
        ),
    }
}

fn drop_index(site: Site<'_>, name: &str) -> Work {
    let title = format!("drops the index {name}");
    match site.engine() {
        Engine::Postgres | Engine::Sqlite => {
            Work::run(title, [format!("DROP INDEX IF EXISTS {}", site.named(name))])
        }
        Engine::MySql => {
            let sql = format!("ALTER TABLE {} DROP INDEX {}", site.table(), site.q(name));
            site.alter(title, &sql, Some(&none(&site.has_index(name))))
        }
    }
}

/// Looks for values that are there several times, and tells the keys of their rows.
fn duplicates(site: Site<'_>, columns: &[String], filter: Option<&str>) -> Work {
    let (table, list) = (site.table(), site.list(columns));
    let given: Vec<_> = columns.iter().map(|c| format!("{} IS NOT NULL", site.q(c))).collect();
    let filter = filter.map(|filter| format!(" AND ({filter})")).unwrap_or_default();
    let given = format!("{}{filter}", given.join(" AND "));
    let joined = columns.iter().map(|c| format!("a.{0} = d.{0}", site.q(c)));
    let sql = format!(
        "SELECT {} FROM {table} a JOIN (SELECT {list} FROM {table} WHERE {given} GROUP BY {list} \
         HAVING COUNT(*) > 1 LIMIT {SHOWN_MAX}) d ON {} LIMIT {SHOWN_MAX}",
        site.key_shown("a"),
        joined.collect::<Vec<_>>().join(" AND "),
    );
    let what = format!("{} ({}) is not unique", site.ground.table, columns.join(", "));
    let title = format!("looks for duplicates in {}", columns.join(", "));
    Work::new(title, How::Look(Look { sql, what, undo: None }))
}

/// Looks for rows that refer to none.
fn orphans(site: Site<'_>, key: &AddForeignKey, undo: Option<(Say, usize)>) -> Work {
    let pairs = key.columns.iter().zip(&key.to);
    let joined: Vec<_> =
        pairs.map(|(from, to)| format!("r.{} = a.{}", site.q(to), site.q(from))).collect();
    let given: Vec<_> =
        key.columns.iter().map(|c| format!("a.{} IS NOT NULL", site.q(c))).collect();
    let sql = format!(
        "SELECT {} FROM {} a WHERE {} AND NOT EXISTS (SELECT 1 FROM {} r WHERE {}) LIMIT {SHOWN_MAX}",
        site.key_shown("a"),
        site.table(),
        given.join(" AND "),
        site.named(&key.references),
        joined.join(" AND "),
    );
    let what = format!(
        "rows of {} refer to rows of {} that do not exist",
        site.ground.table, key.references
    );
    let title = format!("looks for rows that refer to none in {}", key.references);
    Work::new(title, How::Look(Look { sql, what, undo }))
}
