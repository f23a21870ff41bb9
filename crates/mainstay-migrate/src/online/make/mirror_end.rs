//! The contract phase of columns that take the place of an old one: NOT NULL and default carried over,
//! the old column gone, its indexes' names given to the new ones.

use mainstay_db::Engine;

use super::mirror::Twin;
use super::triggers::{self, Mirror};
use super::{How, Say, Site, Work, none};
use crate::online::ground::Column;
use crate::online::rebuild::{Edit, Rebuild};

/// `replaces` says that the new column takes the old one's name.
pub(super) fn contract(
    site: Site<'_>,
    mirror: &Mirror<'_>,
    copies: &[Twin<'_>],
    replaces: bool,
) -> Vec<Work> {
    match site.engine() {
        Engine::Postgres => postgres(site, mirror, copies, replaces),
        Engine::MySql => mysql(site, mirror, copies, replaces),
        Engine::Sqlite => vec![sqlite(site, mirror, copies, replaces)],
    }
}

fn postgres(site: Site<'_>, mirror: &Mirror<'_>, copies: &[Twin<'_>], replaces: bool) -> Vec<Work> {
    let (table, old) = (site.table(), site.q(&mirror.old.name));
    let required = mirror.new.iter().filter(|new| !new.column.nullable);
    let required: Vec<_> = required.map(|new| new.column.name.clone()).collect();
    let mut works = site.not_null_checks(&required);
    let mut sql = triggers::drop(site);
    sql.extend(site.not_null_set(&required));
    for Column { name, default, .. } in mirror.new.iter().map(|new| &new.column) {
        if let Some(default) = default {
            let name = site.q(name);
            sql.push(format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {default}"));
        }
    }
    sql.push(format!("ALTER TABLE {table} DROP COLUMN {old}"));
    if replaces && let Some(new) = mirror.new.first() {
        let new = site.q(&new.column.name);
        sql.push(format!("ALTER TABLE {table} RENAME COLUMN {new} TO {old}"));
    }
    for copy in copies {
        let name = site.q(&copy.of.name);
        sql.push(match &copy.of.constraint {
            Some(constraint) => format!(
                "ALTER TABLE {table} ADD CONSTRAINT {} UNIQUE USING INDEX {}",
                site.q(constraint),
                site.q(&copy.name)
            ),
            None => format!("ALTER INDEX {} RENAME TO {name}", site.named(&copy.name)),
        });
    }
    works.push(Work::run(format!("drops the triggers and {}", mirror.old.name), sql));
    works
}

fn mysql(site: Site<'_>, mirror: &Mirror<'_>, copies: &[Twin<'_>], replaces: bool) -> Vec<Work> {
    let table = site.table();
    let mut works = Vec::new();
    for new in mirror.new.iter().filter(|new| !new.column.nullable) {
        // Its default only comes when the triggers are gone, which take a value for new code's.
        let plain = Column { default: None, ..new.column.clone() };
        let sql = format!(
            "ALTER TABLE {table} MODIFY COLUMN {} {}",
            site.q(&plain.name),
            site.definition(&plain)
        );
        works.push(site.alter(format!("makes {} NOT NULL", plain.name), &sql, None));
    }
    if replaces || site.drops_at_once() {
        let each = mysql_locked(site, mirror, copies, replaces);
        let title = format!("drops {} and the triggers", mirror.old.name);
        works.push(Work::new(title, How::Locked { table, each }));
    } else {
        works.extend(mysql_beside_writers(site, mirror, copies));
    }
    works
}

/// Between the triggers' end and the old column's nobody may write, or the write would be lost or
/// fail: the table is locked for a moment. The triggers go last: where it ends in between, writers
/// fail, since those name a column that is gone, rather than that their writes are lost.
fn mysql_locked(
    site: Site<'_>,
    mirror: &Mirror<'_>,
    copies: &[Twin<'_>],
    replaces: bool,
) -> Vec<Vec<Say>> {
    let (table, old_name) = (site.table(), &mirror.old.name);
    let old = site.q(old_name);
    // Once the old column is gone, or has given its name away, all before that is done.
    let gone = mirror.new.iter().map(|new| new.column.name.as_str()).chain([old_name.as_str()]);
    let gone: Vec<_> = gone.map(|name| none(&site.has_column(name))).collect();
    let gone = gone.join(" UNION ALL ");
    let mut each = Vec::new();
    for index in site.ground.indexes_of(Engine::MySql, old_name) {
        let done = format!("{gone} UNION ALL {}", none(&site.has_index(&index.name)));
        let sql = format!("ALTER TABLE {table} DROP INDEX {}", site.q(&index.name));
        each.push(site.ways(&sql, Some(&done), false));
    }
    each.push(site.ways(&format!("ALTER TABLE {table} DROP COLUMN {old}"), Some(&gone), false));
    for new in &mirror.new {
        let (name, definition) = (site.q(&new.column.name), site.definition(&new.column));
        let done = none(&site.has_column(&new.column.name));
        if replaces {
            let sql = format!("ALTER TABLE {table} CHANGE COLUMN {name} {old} {definition}");
            each.push(site.ways(&sql, Some(&done), false));
        } else if new.column.default.is_some() {
            let sql = format!("ALTER TABLE {table} MODIFY COLUMN {name} {definition}");
            each.push(site.ways(&sql, None, false));
        }
    }
    each.extend(
        index_names(site, copies)
            .into_iter()
            .map(|(_, sql, done)| site.ways(&sql, Some(&done), false)),
    );
    each.extend(triggers::drop(site).into_iter().map(|sql| vec![Say::new(sql)]));
    each
}

/// Of a server that writes the table anew to drop a column, which it can do while others write: the
/// old column may be left out before the triggers are gone, and goes after them.
fn mysql_beside_writers(site: Site<'_>, mirror: &Mirror<'_>, copies: &[Twin<'_>]) -> Vec<Work> {
    let (table, old_name) = (site.table(), &mirror.old.name);
    let old = site.q(old_name);
    let mut works = Vec::new();
    if !mirror.old.nullable {
        let loose = Column { nullable: true, ..mirror.old.clone() };
        let sql = format!("ALTER TABLE {table} MODIFY COLUMN {old} {}", site.definition(&loose));
        works.push(site.alter(format!("lets {old_name} be left out"), &sql, None));
    }
    for index in site.ground.indexes_of(Engine::MySql, old_name) {
        let sql = format!("ALTER TABLE {table} DROP INDEX {}", site.q(&index.name));
        let done = none(&site.has_index(&index.name));
        works.push(site.alter(format!("drops the index {}", index.name), &sql, Some(&done)));
    }
    works.push(Work::run("drops the triggers", triggers::drop(site)));
    let sql = format!("ALTER TABLE {table} DROP COLUMN {old}");
    let done = none(&site.has_column(old_name));
    works.push(site.alter(format!("drops {old_name}, beside writers"), &sql, Some(&done)));
    for column in mirror.new.iter().map(|new| &new.column).filter(|c| c.default.is_some()) {
        let (name, definition) = (site.q(&column.name), site.definition(column));
        let sql = format!("ALTER TABLE {table} MODIFY COLUMN {name} {definition}");
        works.push(site.alter(format!("gives {} its default", column.name), &sql, None));
    }
    works.extend(index_names(site, copies).into_iter().map(|(name, sql, done)| {
        site.alter(format!("gives the index {name} its name"), &sql, Some(&done))
    }));
    works
}

/// For each of the new columns' indexes its name, the statement that gives it, and what has a row once
/// it has it. None where the server can't rename an index.
fn index_names(site: Site<'_>, copies: &[Twin<'_>]) -> Vec<(String, String, String)> {
    if site.facts.mariadb && !site.facts.at_least(10, 5, 2) {
        return Vec::new();
    }
    let table = site.table();
    let named = copies.iter().map(|copy| {
        let (from, to) = (site.q(&copy.name), site.q(&copy.of.name));
        let sql = format!("ALTER TABLE {table} RENAME INDEX {from} TO {to}");
        (copy.of.name.clone(), sql, none(&site.has_index(&copy.name)))
    });
    named.collect()
}

fn sqlite(site: Site<'_>, mirror: &Mirror<'_>, copies: &[Twin<'_>], replaces: bool) -> Work {
    let old = &mirror.old.name;
    let mut edits = vec![Edit::Drop(old.clone())];
    for Column { name, nullable, default, .. } in mirror.new.iter().map(|new| &new.column) {
        if !nullable {
            edits.push(Edit::NotNull(name.clone()));
        }
        if let Some(default) = default {
            edits.push(Edit::Default(name.clone(), default.clone()));
        }
        if replaces {
            edits.push(Edit::Rename(name.clone(), old.clone()));
        }
    }
    let indexes = site.ground.indexes_of(Engine::Sqlite, old).map(|index| index.name.clone());
    let without = triggers::names(site)
        .into_iter()
        .chain(indexes)
        .chain(copies.iter().map(|copy| copy.name.clone()));
    let then = copies.iter().map(|copy| {
        let unique = if copy.of.unique { "UNIQUE " } else { "" };
        let definition = if replaces { &copy.of.definition } else { &copy.definition };
        let (name, table) = (site.q(&copy.of.name), site.table());
        format!("CREATE {unique}INDEX {name} ON {table} {definition}")
    });
    let rebuild = Rebuild {
        table: site.ground.table.clone(),
        edits,
        without: without.collect(),
        then: then.collect(),
    };
    Work::new(format!("drops the triggers and {old}"), How::Rebuild(rebuild))
}
