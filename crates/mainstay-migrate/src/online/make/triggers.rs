//! The triggers that keep old and new code's writes in step while both run.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::{Say, Site};
use crate::online::expr::{columns_in, prefixed};
use crate::online::ground::Column;
use crate::online::look::refused;

/// A column that is filled where old code leaves it out.
#[derive(Debug)]
pub(super) struct Fills<'a> {
    pub(super) column: &'a str,
    pub(super) fill: &'a str,
}

/// A column and those that take its place.
#[derive(Debug)]
pub(super) struct Mirror<'a> {
    pub(super) old: &'a Column,
    pub(super) new: Vec<New>,
    /// The old value out of the new ones.
    pub(super) back: String,
    /// Whether SQLite's table lets the old one be NULL meanwhile.
    pub(super) relaxed: bool,
}

/// A new column, as it is in the end.
#[derive(Debug)]
pub(super) struct New {
    pub(super) column: Column,
    /// Its value out of the old one.
    pub(super) fill: String,
}

const SQLITE_SUFFIXES: [&str; 6] = ["bi", "bu", "in", "io", "un", "uo"];
const MYSQL_SUFFIXES: [&str; 2] = ["bi", "bu"];

/// The names of SQLite's triggers, whether they are there or not.
pub(super) fn names(site: Site<'_>) -> Vec<String> {
    SQLITE_SUFFIXES.iter().map(|suffix| site.own(suffix)).collect()
}

/// The statements that drop the triggers, those that are there.
pub(super) fn drop(site: Site<'_>) -> Vec<String> {
    match site.engine() {
        Engine::Postgres => vec![
            format!("DROP TRIGGER IF EXISTS {} ON {}", site.q(&site.own("t")), site.table()),
            format!("DROP FUNCTION IF EXISTS {}()", site.named(&site.own("f"))),
        ],
        Engine::MySql => MYSQL_SUFFIXES
            .iter()
            .map(|suffix| format!("DROP TRIGGER IF EXISTS {}", site.named(&site.own(suffix))))
            .collect(),
        Engine::Sqlite => names(site)
            .iter()
            .map(|name| format!("DROP TRIGGER IF EXISTS {}", site.q(name)))
            .collect(),
    }
}

/// Refuses an expression over what a trigger before the write can't see. Errors: MIG-017.
pub(super) fn may_use(site: Site<'_>, expr: &str, key: &str) -> Result<()> {
    let engine = site.engine();
    if engine == Engine::Sqlite {
        return Ok(());
    }
    for column in columns_in(expr, engine, &site.ground.columns) {
        let numbered = column.numbered && engine == Engine::MySql;
        if column.generated || numbered {
            let name = &column.name;
            return Err(refused(format!(
                "{key} uses `{name}`, which is not known before the write"
            ))
            .why("the server computes it after the triggers have run"));
        }
    }
    Ok(())
}

/// What is to be known of the table's own triggers.
pub(super) fn notes(site: Site<'_>) -> Vec<String> {
    let triggers = &site.ground.triggers;
    if triggers.is_empty() {
        return Vec::new();
    }
    vec![format!("the backfill's updates fire the table's triggers: {}", triggers.join(", "))]
}

/// PostgreSQL's function and trigger of one body.
fn postgres(site: Site<'_>, body: &str) -> Vec<Say> {
    let (function, trigger) = (site.named(&site.own("f")), site.q(&site.own("t")));
    // A literal where the body itself holds the mark.
    let quoted = if body.contains("$mainstay$") {
        site.facts.literal(body)
    } else {
        format!("$mainstay${body}$mainstay$")
    };
    let table = site.table();
    [
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {quoted}"
        ),
        format!("DROP TRIGGER IF EXISTS {trigger} ON {table}"),
        format!(
            "CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW \
             EXECUTE FUNCTION {function}()"
        ),
    ]
    .into_iter()
    .map(Say::new)
    .collect()
}

/// MySQL's two triggers, the one for updates first: a row that comes in before the other is made has
/// no new values, and the backfill finds it, while one that has some and is updated unseen would keep
/// them. For the same reason none is taken away to be made again.
fn mysql(site: Site<'_>, insert: &str, update: &str) -> Vec<Say> {
    let each = |suffix: &str, event: &str, body: &str| {
        let name = site.own(suffix);
        let sql = format!(
            "CREATE TRIGGER {} BEFORE {event} ON {} FOR EACH ROW BEGIN {body} END",
            site.named(&name),
            site.table()
        );
        Say::unless(sql, site.has_trigger(&name))
    };
    vec![each("bu", "UPDATE", update), each("bi", "INSERT", insert)]
}

fn sqlite(site: Site<'_>, suffix: &str, event: &str, when: &str, body: &str) -> String {
    format!(
        "CREATE TRIGGER {} {event} ON {} FOR EACH ROW WHEN {when} BEGIN {body}; END",
        site.q(&site.own(suffix)),
        site.table()
    )
}

/// The condition, in a trigger of SQLite's, that a row is the one written.
fn this_row(site: Site<'_>) -> String {
    let key = site.ground.key.iter().map(|key| {
        let name = site.q(&key.name);
        format!("{name} = NEW.{name}")
    });
    key.collect::<Vec<_>>().join(" AND ")
}

/// Triggers that fill a column where it is left out.
pub(super) fn fill(site: Site<'_>, fills: &Fills<'_>) -> Vec<Say> {
    let engine = site.engine();
    let (column, columns) = (site.q(fills.column), &site.ground.columns);
    let fill = prefixed(fills.fill, engine, columns, "NEW.");
    match engine {
        Engine::Postgres => postgres(
            site,
            &format!(
                " BEGIN IF {} THEN NEW.{column} := ({fill}); END IF; RETURN NEW; END ",
                site.is_null(&format!("NEW.{column}"))
            ),
        ),
        Engine::MySql => {
            let body = format!("IF NEW.{column} IS NULL THEN SET NEW.{column} = ({fill}); END IF;");
            mysql(site, &body, &body)
        }
        Engine::Sqlite => {
            // That it gives something is asked again, or a trigger that may call itself would not end.
            let body = format!(
                "UPDATE {} SET {column} = ({expr}) WHERE {} AND ({expr}) IS NOT NULL",
                site.table(),
                this_row(site),
                expr = fills.fill
            );
            let when = format!("NEW.{column} IS NULL");
            let update = format!("AFTER UPDATE OF {column}");
            vec![
                Say::new(sqlite(site, "in", "AFTER INSERT", &when, &body)),
                Say::new(sqlite(site, "un", &update, &when, &body)),
            ]
        }
    }
}

/// Triggers that keep the old column and the new ones in step, whichever side is written. Where both
/// are, the new side wins.
pub(super) fn sync(site: Site<'_>, mirror: &Mirror<'_>) -> Vec<Say> {
    let mut columns = site.ground.columns.clone();
    columns.extend(mirror.new.iter().map(|new| new.column.clone()));
    let texts = Texts { site, mirror, columns };
    match site.engine() {
        Engine::Postgres => texts.postgres(),
        Engine::MySql => texts.mysql(),
        Engine::Sqlite => texts.sqlite(),
    }
}

struct Texts<'a> {
    site: Site<'a>,
    mirror: &'a Mirror<'a>,
    /// The old ones and the new.
    columns: Vec<Column>,
}

impl Texts<'_> {
    fn old(&self) -> String {
        self.site.q(&self.mirror.old.name)
    }

    fn in_new(&self, expr: &str) -> String {
        prefixed(expr, self.site.engine(), &self.columns, "NEW.")
    }

    /// Something of each new column's name, joined.
    fn each(&self, by: &str, of: impl Fn(&str) -> String) -> String {
        let all = self.mirror.new.iter().map(|new| of(&self.site.q(&new.column.name)));
        all.collect::<Vec<_>>().join(by)
    }

    /// Something of each new column's name and its value out of the old one, joined.
    fn each_fill(&self, by: &str, of: impl Fn(&str, &str) -> String) -> String {
        let all = self.mirror.new.iter().map(|new| of(&self.site.q(&new.column.name), &new.fill));
        all.collect::<Vec<_>>().join(by)
    }

    fn postgres(&self) -> Vec<Say> {
        let old = self.old();
        // Byte by byte: also for types that have no equality, and where it is blind to case.
        let differs =
            |c: &str| format!("ROW(NEW.{c})::record OPERATOR(pg_catalog.*<>) ROW(OLD.{c})::record");
        let back = format!("NEW.{old} := ({});", self.in_new(&self.mirror.back));
        let forth = self.each_fill(" ", |c, fill| format!("NEW.{c} := ({});", self.in_new(fill)));
        let null = |c: &str| self.site.is_null(&format!("NEW.{c}"));
        let rest = self.each_fill(" ", |c, fill| {
            format!("IF {} THEN NEW.{c} := ({}); END IF;", null(c), self.in_new(fill))
        });
        let body = format!(
            " BEGIN IF TG_OP = 'INSERT' THEN \
             IF {given} THEN {back} ELSE {forth} END IF; \
             ELSIF {changed} THEN IF {unfilled} THEN {rest} END IF; {back} \
             ELSIF {written} OR ({empty}) THEN {forth} END IF; RETURN NEW; END ",
            given = self.each(" OR ", |c| self.site.is_given(&format!("NEW.{c}"))),
            changed = self.each(" OR ", differs),
            unfilled = self.unfilled(),
            written = differs(&old),
            empty = self.each(" AND ", null),
        );
        postgres(self.site, &body)
    }

    /// A row that the backfill has not come to, and of whose new columns some are written: the others
    /// must be filled before the old one is made of all. Of a single column there are no others.
    fn unfilled(&self) -> String {
        let empty = self.each(" AND ", |c| self.site.is_null(&format!("OLD.{c}")));
        if self.mirror.new.len() > 1 { empty } else { "FALSE".to_owned() }
    }

    fn mysql(&self) -> Vec<Say> {
        let old = self.old();
        // Also byte by byte: a collation may be blind to case. Not that alone: of a FLOAT it sees six
        // digits.
        let differs = |c: &str| {
            format!(
                "(NOT (NEW.{c} <=> OLD.{c}) OR \
                 NOT (CAST(NEW.{c} AS BINARY) <=> CAST(OLD.{c} AS BINARY)))"
            )
        };
        let back = format!("SET NEW.{old} = ({});", self.in_new(&self.mirror.back));
        let forth =
            self.each_fill(" ", |c, fill| format!("SET NEW.{c} = ({});", self.in_new(fill)));
        let rest = self.each_fill(" ", |c, fill| {
            format!("IF NEW.{c} IS NULL THEN SET NEW.{c} = ({}); END IF;", self.in_new(fill))
        });
        let given = self.each(" OR ", |c| format!("NEW.{c} IS NOT NULL"));
        let insert = format!("IF {given} THEN {back} ELSE {forth} END IF;");
        let update = format!(
            "IF {} THEN IF {} THEN {rest} END IF; {back} ELSEIF {} OR ({}) THEN {forth} END IF;",
            self.each(" OR ", differs),
            self.unfilled(),
            differs(&old),
            self.each(" AND ", |c| format!("NEW.{c} IS NULL")),
        );
        mysql(self.site, &insert, &update)
    }

    /// A trigger of SQLite's writes by an UPDATE of its own, which fires the others: each does
    /// something only where the two sides are not in step, so that they come to rest.
    fn sqlite(&self) -> Vec<Say> {
        let (site, old, row, table) =
            (self.site, self.old(), this_row(self.site), self.site.table());
        let back = format!(
            "UPDATE {table} SET {old} = ({expr}) WHERE {row} AND {old} COLLATE BINARY IS NOT ({expr})",
            expr = self.mirror.back
        );
        let forth = self.each_fill(", ", |c, fill| format!("{c} = ({fill})"));
        let forth = format!("UPDATE {table} SET {forth} WHERE {row}");
        let rest = self.each_fill(", ", |c, fill| format!("{c} = COALESCE({c}, ({fill}))"));
        let rest = format!("UPDATE {table} SET {rest} WHERE {row} AND {}", self.unfilled());
        let empty = self.each(" AND ", |c| format!("NEW.{c} IS NULL"));
        let same = self.each(" AND ", |c| format!("NEW.{c} COLLATE BINARY IS OLD.{c}"));
        let off = self.each_fill(" OR ", |c, fill| {
            format!("NEW.{c} COLLATE BINARY IS NOT ({})", self.in_new(fill))
        });
        let written = format!(
            "({same}) AND NEW.{old} COLLATE BINARY IS NOT OLD.{old} \
             AND NEW.{old} COLLATE BINARY IS NOT ({})",
            self.in_new(&self.mirror.back)
        );
        let both = if self.mirror.new.len() > 1 { format!("{rest}; {back}") } else { back.clone() };
        let mut all = vec![
            sqlite(site, "in", "AFTER INSERT", &format!("NOT ({empty})"), &back),
            sqlite(site, "io", "AFTER INSERT", &empty, &forth),
            sqlite(site, "un", "AFTER UPDATE", &format!("NOT ({same}) AND ({off})"), &both),
            sqlite(site, "uo", "AFTER UPDATE", &written, &forth),
        ];
        if self.mirror.relaxed {
            let message = format!(
                "NOT NULL constraint failed: {}.{}",
                site.ground.table, self.mirror.old.name
            );
            let raise = format!("SELECT RAISE(ABORT, {})", site.facts.literal(&message));
            let insert = format!("NEW.{old} IS NULL AND {empty}");
            let update = format!("NEW.{old} IS NULL AND {same}");
            all.push(sqlite(site, "bi", "BEFORE INSERT", &insert, &raise));
            all.push(sqlite(site, "bu", "BEFORE UPDATE", &update, &raise));
        }
        all.into_iter().map(Say::new).collect()
    }
}
