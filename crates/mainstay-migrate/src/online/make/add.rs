//! A new column that is NOT NULL in the end.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::triggers::{self, Fills};
use super::{Fill, How, Made, Site, Work, none};
use crate::online::change::AddColumn;
use crate::online::expr::{check, is_constant};
use crate::online::ground::Column;
use crate::online::rebuild::{Edit, Rebuild};

pub(super) fn column(site: Site<'_>, add: &AddColumn) -> Result<Made> {
    let engine = site.engine();
    let kind = add.kind.of(engine, "add_column.type")?;
    let fill = add.fill.of(engine, "add_column.fill")?;
    let default = match &add.default {
        Some(default) => Some(default.of(engine, "add_column.default")?),
        None => None,
    };
    check(&kind, engine, "add_column.type")?;
    check(&fill, engine, "add_column.fill")?;
    if let Some(default) = &default {
        check(default, engine, "add_column.default")?;
        if is_constant(default, engine) && *default == fill && instant(site) {
            return Ok(at_once(site, &add.column, &kind, default));
        }
    }
    let column = site.q(&add.column);
    let fills = Fills { column: &add.column, fill: &fill };
    triggers::may_use(site, &fill, "add_column.fill")?;
    let mut expand = vec![site.add_column(&add.column, &kind, "")];
    expand.push(Work::new(
        format!("fills {} in rows that old code writes", add.column),
        How::Run(triggers::fill(site, &fills)),
    ));
    let full = Column { name: add.column.clone(), kind, default, ..Column::default() };
    Ok(Made {
        expand,
        fill: Some(Fill {
            set: format!("{column} = ({fill}){}", kept(site)),
            needs: format!("{} AND {}", site.is_null(&column), site.is_given(&format!("({fill})"))),
            wrong: site.is_null(&column),
            what: format!("{} stays NULL: fill gives nothing for some rows", add.column),
        }),
        contract: contract(site, &full),
        abort: abort(site, std::slice::from_ref(&add.column), Vec::new(), &[]),
        drops: vec![format!("the triggers that fill {} for old code", add.column)],
        makes: Vec::new(),
        notes: triggers::notes(site),
    })
}

/// MySQL's columns that it would set at the update: nobody but the backfill has touched the row.
fn kept(site: Site<'_>) -> String {
    let kept = site.ground.columns.iter().filter(|column| column.on_update);
    let kept: Vec<_> = kept.map(|column| format!(", {0} = {0}", site.q(&column.name))).collect();
    kept.concat()
}

/// Whether the server adds a NOT NULL column with a default without touching the rows.
fn instant(site: Site<'_>) -> bool {
    match (site.engine(), site.facts.mariadb) {
        (Engine::Postgres | Engine::Sqlite, _) => true,
        (Engine::MySql, true) => site.facts.at_least(10, 3, 0),
        (Engine::MySql, false) => site.facts.at_least(8, 0, 12),
    }
}

fn at_once(site: Site<'_>, name: &str, kind: &str, default: &str) -> Made {
    let sql = format!(
        "ALTER TABLE {} ADD COLUMN {} {kind} NOT NULL DEFAULT {default}",
        site.table(),
        site.q(name)
    );
    let title = format!("adds the column {name}, with {default} in every row");
    let work = match site.engine() {
        Engine::MySql => site.alter(title, &sql, Some(&site.has_column(name))),
        Engine::Postgres | Engine::Sqlite => Work::run(title, [sql]),
    };
    let abort = abort(site, &[name.to_owned()], Vec::new(), &[]);
    Made { expand: vec![work], abort, ..Made::default() }
}

fn contract(site: Site<'_>, column: &Column) -> Vec<Work> {
    let (name, table) = (site.q(&column.name), site.table());
    let title = format!("makes {} NOT NULL", column.name);
    match site.engine() {
        Engine::Postgres => {
            let names = [column.name.clone()];
            let mut works = site.not_null_checks(&names);
            let mut sql = site.not_null_set(&names);
            if let Some(default) = &column.default {
                sql.push(format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {default}"));
            }
            sql.extend(triggers::drop(site));
            works.push(Work::run(format!("{title}, and drops the trigger"), sql));
            works
        }
        Engine::MySql => {
            let sql =
                format!("ALTER TABLE {table} MODIFY COLUMN {name} {}", site.definition(column));
            let done = format!("{} AND IS_NULLABLE = 'NO'", site.has_column(&column.name));
            vec![
                site.alter(title, &sql, Some(&done)),
                Work::run("drops the triggers", triggers::drop(site)),
            ]
        }
        Engine::Sqlite => {
            let mut edits = vec![Edit::NotNull(column.name.clone())];
            if let Some(default) = &column.default {
                edits.push(Edit::Default(column.name.clone(), format!("({default})")));
            }
            let rebuild = Rebuild {
                table: site.ground.table.clone(),
                edits,
                without: triggers::names(site),
                then: Vec::new(),
            };
            vec![Work::new(format!("{title}, and drops the triggers"), How::Rebuild(rebuild))]
        }
    }
}

/// Takes back what the expand phase did, as far as it came. `edits` are SQLite's further ones, and
/// `indexes` those that were made for the new columns.
pub(super) fn abort(
    site: Site<'_>,
    columns: &[String],
    edits: Vec<Edit>,
    indexes: &[String],
) -> Vec<Work> {
    let names = columns.join(", ");
    let title = format!("drops the triggers and {names}");
    let table = site.table();
    match site.engine() {
        Engine::Postgres => {
            let drops = columns.iter().map(|column| {
                format!("ALTER TABLE {table} DROP COLUMN IF EXISTS {}", site.q(column))
            });
            vec![Work::run(title, triggers::drop(site).into_iter().chain(drops))]
        }
        Engine::MySql => {
            let mut works = vec![Work::run("drops the triggers", triggers::drop(site))];
            for index in indexes {
                let sql = format!("ALTER TABLE {table} DROP INDEX {}", site.q(index));
                let gone = none(&site.has_index(index));
                works.push(site.alter(format!("drops the index {index}"), &sql, Some(&gone)));
            }
            works.extend(columns.iter().map(|column| {
                let sql = format!("ALTER TABLE {table} DROP COLUMN {}", site.q(column));
                let gone = none(&site.has_column(column));
                site.alter(format!("drops the column {column}"), &sql, Some(&gone))
            }));
            works
        }
        Engine::Sqlite => {
            let drops = columns.iter().cloned().map(Edit::Drop);
            let rebuild = Rebuild {
                table: site.ground.table.clone(),
                edits: drops.chain(edits).collect(),
                without: triggers::names(site).into_iter().chain(indexes.iter().cloned()).collect(),
                then: Vec::new(),
            };
            vec![Work::new(title, How::Rebuild(rebuild))]
        }
    }
}
