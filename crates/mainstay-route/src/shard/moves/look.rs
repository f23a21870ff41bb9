//! What the tables are like on a side, and whether they can be moved at all. It changes nothing.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Session};

use super::column::{Category, Column};
use super::dialect::Dialect;
use super::table::{Named, Table};
use super::which::{Which, can_be_key};

/// What the triggers of moves are called.
pub(super) const OWN: &str = "mainstay_move_";

fn refused(what: String) -> Error {
    Error::new(Code::MoveRefused, what)
}

/// The schema that what is ours is in: quoted.
pub(super) async fn schema(db: &Db, d: Dialect) -> Result<String> {
    let sql = match d {
        Dialect::Postgres => "SELECT current_schema()::text",
        Dialect::MariaDb => "SELECT DATABASE()",
    };
    let name: Option<String> = db.query(sql).scalar().await?;
    let none = || refused("there is no schema that tables could be made in".to_owned());
    Ok(d.name(&name.ok_or_else(none)?))
}

/// The tables as they are on the side `side`. Errors: ROUTE-050, and those of the database.
pub(super) async fn tables(db: &Db, d: Dialect, side: &str, named: &[Named]) -> Result<Vec<Table>> {
    let mut out = Vec::with_capacity(named.len());
    for name in named {
        out.push(match d {
            Dialect::Postgres => postgres(db, side, name).await?,
            Dialect::MariaDb => mariadb(db, side, name).await?,
        });
    }
    Ok(out)
}

/// A table of one side before it is checked.
struct Found {
    full: String,
    rows: i64,
    columns: Vec<Column>,
    generated: Vec<String>,
    primary: Vec<String>,
}

fn checked(named: &Named, side: &str, found: Found) -> Result<Table> {
    let Found { full, rows, columns, generated, primary } = found;
    let name = &named.name;
    if primary.is_empty() {
        return Err(refused(format!("the table {name:?} on {side} has no primary key"))
            .why("rows are copied, followed and compared by it")
            .fix("give it one"));
    }
    let place = |column: &String| columns.iter().position(|c| c.name == *column);
    let places: Vec<usize> = primary.iter().filter_map(place).collect();
    let orderly = places.iter().all(|at| columns[*at].is_ordered());
    if places.len() < primary.len() || !orderly {
        return Err(refused(format!(
            "the primary key of {name:?} on {side} can't be gone through in order"
        ))
        .why("one of its columns is generated, or of a type whose texts are in another order"));
    }
    if let Some(at) = places.iter().find(|at| columns[**at].is_zoned()) {
        let column = &columns[*at].name;
        return Err(refused(format!(
            "the primary key of {name:?} on {side} has the TIMESTAMP {column:?}"
        ))
        .why("its text, by which changes are logged, depends on the time zone of who writes")
        .fix("make it a DATETIME"));
    }
    let mut keys = Vec::new();
    for key in &named.key {
        let column = columns.iter().find(|c| c.name == *key).ok_or_else(|| {
            let what = format!("the table {name:?} on {side} has no column {key:?} for its key");
            let why = generated.contains(key).then_some("it is generated");
            let error = refused(what);
            match why {
                Some(why) => error.why(why),
                None => error,
            }
        })?;
        if !can_be_key(column) {
            return Err(refused(format!("the column {key:?} of {name:?} can't be a key"))
                .why("keys are integers, texts and UUIDs"));
        }
        keys.push(column.clone());
    }
    Ok(Table {
        name: name.clone(),
        full,
        primary: places,
        keys,
        rows_estimate: rows.max(0).unsigned_abs(),
        columns,
    })
}

fn missing(side: &str, name: &str) -> Error {
    refused(format!("there is no table {name:?} on {side}"))
        .fix("correct its name, or run the migrations there first")
}

async fn postgres(db: &Db, side: &str, named: &Named) -> Result<Table> {
    const TABLE: &str = "SELECT c.oid::bigint, n.nspname::text, c.reltuples::bigint, row_security_active(c.oid), \
        c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhparent = c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relname = $1 AND c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)";
    // A length of -1 is that of the type without one, which no text is cut off to.
    const COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, -1), \
        CASE WHEN t.typcategory IN ('S', 'E') THEN t.typcategory::text ELSE t.typname::text END, \
        a.attgenerated <> '', format_type(a.atttypid, a.atttypmod) \
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
        WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    const PRIMARY: &str = "SELECT a.attname::text FROM pg_index i \
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(n, place) \
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n \
        WHERE i.indrelid = $1::bigint::oid AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place";
    let name = &named.name;
    let found: Option<(i64, String, i64, bool, bool)> =
        db.query(TABLE).bind(name.as_str()).optional().await?;
    let (oid, schema, rows, hides, has_children) = found.ok_or_else(|| missing(side, name))?;
    if hides {
        return Err(refused(format!(
            "the table {name:?} on {side} hides rows from the account that moves"
        ))
        .why("its row-level security holds for that account, and what it does not see stays behind")
        .fix("move with the table's owner, or with an account that has BYPASSRLS"));
    }
    if has_children {
        return Err(refused(format!("other tables on {side} inherit from {name:?}"))
            .why("their rows are seen with its own, and none of its triggers runs for them")
            .fix("make them partitions, or tables by themselves"));
    }
    let all: Vec<(String, String, String, bool, String)> =
        db.query(COLUMNS).bind(oid).all().await?;
    let primary: Vec<(String,)> = db.query(PRIMARY).bind(oid).all().await?;
    let d = Dialect::Postgres;
    let (generated, columns): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, _, _, made, _)| *made);
    let column = |(name, cast, kind, _, full): (String, String, String, bool, String)| {
        Column::postgres(name, cast, &kind, full)
    };
    checked(
        named,
        side,
        Found {
            full: format!("{}.{}", d.name(&schema), d.name(&named.name)),
            rows,
            columns: columns.into_iter().map(column).collect(),
            generated: generated.into_iter().map(|(name, ..)| name).collect(),
            primary: primary.into_iter().map(|(name,)| name).collect(),
        },
    )
}

async fn mariadb(db: &Db, side: &str, named: &Named) -> Result<Table> {
    const TABLE: &str = "SELECT CAST(COALESCE(table_rows, 0) AS SIGNED), engine FROM information_schema.tables \
        WHERE table_schema = DATABASE() AND BINARY table_name = $1 AND table_type = 'BASE TABLE'";
    const COLUMNS: &str = "SELECT column_name, data_type, column_type, \
        CAST(COALESCE(collation_name = 'binary', 0) AS SIGNED), CAST(is_generated <> 'NEVER' AS SIGNED) \
        FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND BINARY table_name = $1 ORDER BY ordinal_position";
    const PRIMARY: &str = "SELECT column_name FROM information_schema.key_column_usage \
        WHERE table_schema = DATABASE() AND BINARY table_name = $1 AND constraint_name = 'PRIMARY' \
        ORDER BY ordinal_position";
    let name = named.name.as_str();
    let found: Option<(i64, Option<String>)> = db.query(TABLE).bind(name).optional().await?;
    let (rows, engine) = found.ok_or_else(|| missing(side, name))?;
    if engine.as_deref() != Some("InnoDB") {
        return Err(refused(format!("the table {name:?} on {side} is not InnoDB's"))
            .why("it has no transactions"));
    }
    let all: Vec<(String, String, String, i64, i64)> = db.query(COLUMNS).bind(name).all().await?;
    let primary: Vec<(String,)> = db.query(PRIMARY).bind(name).all().await?;
    let (mut columns, mut generated) = (Vec::new(), Vec::new());
    for (column, data, full, binary, made) in all {
        if made == 1 {
            generated.push(column);
        } else {
            columns.push(Column::mariadb(column, &data, &full, binary == 1)?);
        }
    }
    checked(
        named,
        side,
        Found {
            full: Dialect::MariaDb.name(name),
            rows,
            columns,
            generated,
            primary: primary.into_iter().map(|(name,)| name).collect(),
        },
    )
}

/// What keys the placement asks for. Errors: ROUTE-050.
pub(super) fn fits(which: &Which, tables: &[Table]) -> Result<()> {
    for table in tables.iter().filter(|_| which.asks_numbers()) {
        if table.keys.first().is_none_or(|key| key.category() != Category::Integer) {
            let what = format!(
                "the key of {:?} is no number, and the map's ranges are of numbers",
                table.name
            );
            return Err(refused(what));
        }
    }
    Ok(())
}

/// Foreign keys of a table and to it: the child, the parent, and whether the child changes with it by itself, unseen by
/// triggers.
async fn foreign(db: &Db, d: Dialect, table: &str) -> Result<Vec<(String, String, bool)>> {
    const POSTGRES: &str = "SELECT c.relname::text, p.relname::text, FALSE FROM pg_constraint k \
        JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid \
        WHERE k.contype = 'f' AND k.conparentid = 0 AND (c.relname = $1 OR p.relname = $1)";
    const MARIADB: &str = "SELECT table_name, referenced_table_name, \
        delete_rule NOT IN ('RESTRICT', 'NO ACTION') OR update_rule NOT IN ('RESTRICT', 'NO ACTION') \
        FROM information_schema.referential_constraints WHERE constraint_schema = DATABASE() \
        AND (BINARY table_name = $1 OR BINARY referenced_table_name = $1)";
    let sql = if d == Dialect::Postgres { POSTGRES } else { MARIADB };
    db.query(sql).bind(table).all().await
}

/// The tables in an order in which foreign keys hold, as far as there is one.
pub(super) async fn ordered(db: &Db, d: Dialect, named: &[Named]) -> Result<Vec<Named>> {
    let mut parents: Vec<(String, String)> = Vec::new();
    for table in named {
        let all = foreign(db, d, &table.name).await?.into_iter();
        parents.extend(
            all.filter(|(child, parent, _)| child != parent)
                .map(|(child, parent, _)| (child, parent)),
        );
    }
    let (mut left, mut out): (Vec<&Named>, Vec<Named>) = (named.iter().collect(), Vec::new());
    while !left.is_empty() {
        let waits = |table: &Named| {
            let mut own = parents.iter().filter(|(child, _)| *child == table.name);
            own.any(|(_, parent)| left.iter().any(|other| other.name == *parent))
        };
        // Of a circle, any: what does not hold is told later.
        let next = left.iter().position(|table| !waits(table)).unwrap_or(0);
        out.push(left.remove(next).clone());
    }
    Ok(out)
}

/// What else hangs on the tables of a side. Errors: ROUTE-050.
pub(super) async fn relations(
    db: &Db,
    d: Dialect,
    side: &str,
    tables: &[Table],
    is_reference: impl Fn(&str) -> bool,
) -> Result<()> {
    let at = |name: &str| tables.iter().position(|t| t.name == name);
    for table in tables {
        for (child, parent, acts) in foreign(db, d, &table.name).await? {
            if acts {
                let what = format!("{child:?} on {side} changes by itself when {parent:?} does");
                return Err(refused(what)
                    .why("MariaDB runs no triggers for what a foreign key's CASCADE or SET NULL changes")
                    .fix("make the foreign key RESTRICT, and delete what depends on a row by a statement"));
            }
            match (at(&child), at(&parent)) {
                (Some(child), Some(parent)) if parent <= child => {}
                (Some(_), Some(_)) => {
                    let what = format!("{child:?} and {parent:?} refer to each other");
                    return Err(refused(what)
                        .fix("drop one of the two foreign keys for the time of the move"));
                }
                (Some(_), None) if is_reference(&parent) => {}
                _ => {
                    let what =
                        format!("{child:?} refers to {parent:?}, and only one of them would move");
                    return Err(refused(what)
                        .fix("name both, or make the one that all shards have a reference table"));
                }
            }
        }
    }
    Ok(())
}

/// Triggers that copied rows would run: of PostgreSQL only those that a replica runs too, where `silent`.
/// Errors: ROUTE-050.
pub(super) async fn triggers(
    db: &Db,
    d: Dialect,
    side: &str,
    tables: &[Table],
    silent: bool,
) -> Result<()> {
    const POSTGRES: &str = "SELECT g.tgname::text, g.tgenabled = 'A' FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid \
        WHERE c.relname = $1 AND pg_table_is_visible(c.oid) AND g.tgenabled <> 'D' \
        AND (NOT g.tgisinternal OR g.tgconstraint <> 0)";
    const MARIADB: &str = "SELECT trigger_name, TRUE FROM information_schema.triggers \
        WHERE event_object_schema = DATABASE() AND BINARY event_object_table = $1";
    let sql = if d == Dialect::Postgres { POSTGRES } else { MARIADB };
    for table in tables {
        let all: Vec<(String, bool)> = db.query(sql).bind(table.name.as_str()).all().await?;
        let mut loud =
            all.iter().filter(|(name, always)| !name.starts_with(OWN) && (*always || !silent));
        if let Some((name, _)) = loud.next() {
            let what = format!("the table {:?} on {side} has the trigger {name:?}", table.name);
            let fix = match d {
                Dialect::Postgres => {
                    "GRANT SET ON PARAMETER session_replication_role to the account that moves, so that it does not run"
                }
                Dialect::MariaDb => "drop it for the time of the move",
            };
            return Err(refused(what).why("it would run for rows that are only copied").fix(fix));
        }
    }
    Ok(())
}

/// Whether the session may leave triggers and foreign keys alone, as a replica does.
pub(super) async fn may_be_silent(session: &mut Session, d: Dialect) -> Result<bool> {
    if d == Dialect::MariaDb {
        return Ok(false);
    }
    let tried = session.run("BEGIN; SET LOCAL session_replication_role = replica").await;
    let over = session.run("ROLLBACK").await;
    match tried {
        Ok(_) => over.map(|_| true),
        Err(error) if error.code() == Code::Denied => over.map(|_| false),
        Err(error) => Err(error),
    }
}
