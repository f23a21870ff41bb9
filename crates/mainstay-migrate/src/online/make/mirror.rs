//! Columns that take the place of an old one: renamed, of another type, or split. Old and new stand
//! beside each other and are kept in step until the old one goes.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::triggers::{self, Mirror, New};
use super::{Fill, How, Made, Site, Work, mirror_end};
use crate::online::change::{Kind, beside};
use crate::online::expr::{check, mentions, renamed};
use crate::online::ground::{Column, Index};
use crate::online::look::refused;
use crate::online::plan::Makes;
use crate::online::rebuild::{Edit, Rebuild};

pub(super) fn mirror(site: Site<'_>, kind: &Kind) -> Result<Made> {
    let engine = site.engine();
    let old = site.ground.need(engine, kind.old_column().unwrap_or_default())?;
    let mut mirror = match kind {
        Kind::RenameColumn(rename) => renaming(site, old, &rename.to),
        Kind::RetypeColumn(retype) => {
            let new = beside(&old.name);
            let back = match &retype.back {
                Some(back) => back.of(engine, "retype_column.back")?,
                None => cast_back(site, old, &new),
            };
            let kind = retype.kind.of(engine, "retype_column.type")?;
            let kind = if engine == Engine::Sqlite { with_collation(kind, old) } else { kind };
            let column = Column { name: new, kind, ..old.clone() };
            let fill = retype.using.of(engine, "retype_column.using")?;
            Mirror { old, new: vec![New { column, fill }], back, relaxed: false }
        }
        Kind::SplitColumn(split) => {
            let mut new = Vec::new();
            for part in &split.into {
                let column = Column {
                    name: part.column.clone(),
                    kind: part.kind.of(engine, "split_column.into.type")?,
                    nullable: old.nullable || part.nullable,
                    ..Column::default()
                };
                let fill = part.fill.of(engine, "split_column.into.fill")?;
                new.push(New { column, fill });
            }
            let back = split.back.of(engine, "split_column.back")?;
            Mirror { old, new, back, relaxed: false }
        }
        _ => return Err(refused("the change replaces no column")),
    };
    mirror.relaxed = engine == Engine::Sqlite && !old.nullable && old.default.is_none();
    checked(site, &mirror)?;
    let replaces = matches!(kind, Kind::RetypeColumn(_));
    let copied = !matches!(kind, Kind::SplitColumn(_));
    Ok(made(site, &mirror, replaces, copied))
}

fn renaming<'a>(site: Site<'_>, old: &'a Column, to: &str) -> Mirror<'a> {
    let column = Column { name: to.to_owned(), ..old.clone() };
    let new = New { column, fill: site.q(&old.name) };
    Mirror { old, new: vec![new], back: site.q(to), relaxed: false }
}

/// SQLite's new column compares as the old one did, unless its type says otherwise.
fn with_collation(kind: String, old: &Column) -> String {
    match old.kind.split_once(" COLLATE ") {
        Some((_, collation)) if !mentions(&kind, Engine::Sqlite, "COLLATE") => {
            format!("{kind} COLLATE {collation}")
        }
        _ => kind,
    }
}

/// PostgreSQL converts many types only where it is told to.
fn cast_back(site: Site<'_>, old: &Column, new: &str) -> String {
    let kind = old.kind.split(" COLLATE ").next().unwrap_or_default();
    match site.engine() {
        Engine::Postgres => format!("CAST({} AS {kind})", site.q(new)),
        Engine::MySql | Engine::Sqlite => site.q(new),
    }
}

fn checked(site: Site<'_>, mirror: &Mirror<'_>) -> Result<()> {
    let engine = site.engine();
    check(&mirror.back, engine, "back")?;
    for new in &mirror.new {
        let name = &new.column.name;
        check(&new.column.kind, engine, &format!("the type of {name}"))?;
        check(&new.fill, engine, &format!("what fills {name}"))?;
        triggers::may_use(site, &new.fill, &format!("what fills {name}"))?;
    }
    Ok(())
}

fn made(site: Site<'_>, mirror: &Mirror<'_>, replaces: bool, copied: bool) -> Made {
    let names: Vec<_> = mirror.new.iter().map(|new| new.column.name.clone()).collect();
    let copies = if copied { copies(site, mirror) } else { Vec::new() };
    let columns = mirror.new.iter().map(|new| &new.column);
    let mut expand: Vec<_> =
        columns.map(|new| site.add_column(&new.name, &new.kind, &new.comment)).collect();
    expand.push(keeps(site, mirror));
    expand.extend(copies.iter().map(|copy| copy.work(site)));
    let restores =
        if mirror.relaxed { vec![Edit::NotNull(mirror.old.name.clone())] } else { Vec::new() };
    let copy_names: Vec<_> = copies.iter().map(|copy| copy.name.clone()).collect();
    let mut drops = vec![format!("the column {}.{}", site.ground.table, mirror.old.name)];
    if !copied {
        let gone = site.ground.indexes_of(site.engine(), &mirror.old.name);
        drops.extend(gone.map(|index| format!("the index {}", index.name)));
    }
    drops.push("the triggers that keep old and new in step".to_owned());
    let mut notes = triggers::notes(site);
    if mirror.relaxed {
        notes.push(format!(
            "{} is written anew at the beginning, and again at the end: nobody writes meanwhile",
            site.ground.table
        ));
    }
    if replaces && site.engine() == Engine::MySql && !site.drops_at_once() {
        notes.push(format!(
            "the server drops no column at once: {}, of about {} rows, is locked at the end while it is \
             written anew",
            site.ground.table, site.ground.rows
        ));
    }
    Made {
        expand,
        fill: Some(fill(site, mirror)),
        contract: mirror_end::contract(site, mirror, &copies, replaces),
        abort: super::add::abort(site, &names, restores, &copy_names),
        drops,
        makes: copy_names.into_iter().map(Makes::Index).collect(),
        notes,
    }
}

/// The triggers. Of SQLite's, those of a table that lets the old column be NULL meanwhile come with
/// it, in one transaction.
fn keeps(site: Site<'_>, mirror: &Mirror<'_>) -> Work {
    let title = format!("keeps {} and what takes its place in step", mirror.old.name);
    let sync = triggers::sync(site, mirror);
    if !mirror.relaxed {
        return Work::new(title, How::Run(sync));
    }
    let rebuild = Rebuild {
        table: site.ground.table.clone(),
        edits: vec![Edit::Nullable(mirror.old.name.clone())],
        without: Vec::new(),
        then: sync.into_iter().map(|say| say.sql).collect(),
    };
    Work::new(title, How::Rebuild(rebuild))
}

fn fill(site: Site<'_>, mirror: &Mirror<'_>) -> Fill {
    let each = |by: &str, of: &dyn Fn(&New) -> String| {
        mirror.new.iter().map(of).collect::<Vec<_>>().join(by)
    };
    let q = |new: &New| site.q(&new.column.name);
    let empty = each(" AND ", &|new| site.is_null(&q(new)));
    let some = each(" OR ", &|new| site.is_given(&format!("({})", new.fill)));
    let needs = format!("{empty} AND ({some})");
    let nulls = mirror.new.iter().filter(|new| !new.column.nullable);
    let nulls: Vec<_> = nulls.map(|new| format!(" OR {}", site.is_null(&q(new)))).collect();
    let nulls = nulls.concat();
    let set = match site.engine() {
        // Its triggers tell by the values who writes.
        Engine::Sqlite => each(", ", &|new| format!("{} = ({})", q(new), new.fill)),
        // The trigger fills a row that is touched: were the new columns written here, it would take
        // this for new code's doing and make the old one of them.
        Engine::Postgres | Engine::MySql => {
            let kept = site.ground.columns.iter().filter(|c| c.on_update);
            let touched = std::iter::once(mirror.old).chain(kept);
            touched.map(|c| format!("{0} = {0}", site.q(&c.name))).collect::<Vec<_>>().join(", ")
        }
    };
    Fill {
        set,
        wrong: format!("({needs}){nulls}"),
        needs,
        what: format!("what takes the place of {} stays NULL in some rows", mirror.old.name),
    }
}

/// An index of the old column, made again for the new one.
#[derive(Debug)]
pub(super) struct Twin<'a> {
    pub(super) of: &'a Index,
    /// What it is called until the old one is gone.
    pub(super) name: String,
    pub(super) definition: String,
}

fn copies<'a>(site: Site<'a>, mirror: &'a Mirror<'_>) -> Vec<Twin<'a>> {
    let engine = site.engine();
    let Some(new) = mirror.new.first() else { return Vec::new() };
    let indexes = site.ground.indexes_of(engine, &mirror.old.name);
    indexes
        .filter(|index| !index.definition.is_empty())
        .map(|of| Twin {
            of,
            name: beside(&of.name),
            definition: renamed(&of.definition, engine, &mirror.old.name, &new.column.name),
        })
        .collect()
}

impl Twin<'_> {
    fn work(&self, site: Site<'_>) -> Work {
        let title = format!("builds the index {} for the new column, beside writers", self.of.name);
        let unique = if self.of.unique { "UNIQUE " } else { "" };
        let (table, name) = (site.table(), site.q(&self.name));
        match site.engine() {
            Engine::Postgres => Work::new(
                title,
                How::Index(format!(
                    "CREATE {unique}INDEX CONCURRENTLY {name} ON {table} {}",
                    self.definition
                )),
            ),
            Engine::MySql => {
                let sql =
                    format!("ALTER TABLE {table} ADD {unique}INDEX {name} {}", self.definition);
                site.alter(title, &sql, Some(&site.has_index(&self.name)))
            }
            Engine::Sqlite => Work::run(
                format!("builds the index {} for the new column", self.of.name),
                [format!("CREATE {unique}INDEX {name} ON {table} {}", self.definition)],
            ),
        }
    }
}
