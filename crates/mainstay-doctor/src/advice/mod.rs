//! Index advice, verified: which indexes a workload lacks, tried before they are told.
//!
//! Candidates come of the statements' syntax (equality, then sort, then range), the planner chooses among them, and what
//! is told has halved a statement's cost and, where it could be run on a copy, the pages that it reads. Nothing is changed
//! where the workload runs: PostgreSQL is asked with hypothetical indexes where HypoPG is there, and everything else is
//! tried on a [copy](Scratch).
//!
//! It does not know how often statements run, and advises on no table under 1000 rows.

mod candidate;
mod catalogue;
mod compare;
mod facts;
mod ground;
mod index;
mod mariadb;
mod options;
mod said;
mod scope;
mod scratch;
mod search;
mod sqlite;
mod suggest;
mod table;
mod work;
mod workload;

use std::collections::{HashMap, HashSet};

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

pub use index::Method;
pub use options::{Options, Scratch};
pub use said::{Advice, Change, Column, PassedOver, Served, Suggestion, WriteCost};
pub use workload::{Query, workload};

use crate::plan::Sizes;
use work::Work;

/// Advises on `queries`, statements that are run at `db`.
///
/// It has a session of its own that reads only, waits for no lock longer than `lock_timeout`, and runs none of the
/// statements there: they are planned. Behind a transaction pooler there is no such session.
///
/// Cancel safe: dropped, its session is closed and a private copy goes; tables in a database that was named for the copy
/// stay.
///
/// Errors: DOC-024 (the catalogue can't be read), DB-036 (a transaction pooler), and those of the connection. A statement
/// that can't be planned is [passed over](Advice::passed_over), and what can't be verified is [noted](Advice::notes).
///
/// ```no_run
/// # async fn f() -> mainstay_core::Result<()> {
/// use mainstay_db::{Db, Engine};
/// use mainstay_doctor::advice::{Options, advise, workload};
///
/// let db = Db::connect("postgres://me@localhost/shop").await?;
/// let queries = workload("SELECT id FROM orders WHERE status = 'new';", Engine::Postgres);
/// for suggestion in advise(&db, &queries, &Options::default()).await?.suggestions {
///     println!("{};", suggestion.ddl);
/// }
/// # Ok(()) }
/// ```
pub async fn advise(db: &Db, queries: &[Query], options: &Options) -> Result<Advice> {
    let mut work = Work::begin(db, queries, options).await?;
    // Many calls deep, and each would hold the whole of it.
    Box::pin(work.run()).await?;
    Ok(work.said)
}

/// What the rules about plans ask of a statement's tables: how large they are, and which the statement filters.
pub(crate) async fn sizes(db: &Db, sql: &str, options: &Options) -> Result<Sizes> {
    let mut sizes = Sizes::default();
    let Ok(statement) = facts::parse(sql, db.engine()) else { return Ok(sizes) };
    let names = facts::relations(&statement, db.engine());
    let mut session = work::session(db, options).await?;
    let tables = work::tables(db.engine(), &mut session, &names).await?;
    let mut rows: HashMap<String, f64> = HashMap::new();
    for table in &tables {
        rows.insert(table.name.to_lowercase(), table.rows);
    }
    let mut filtered = HashSet::new();
    let facts = facts::facts(&statement, &tables, db.engine());
    for (alias, table) in &facts.mentioned {
        rows.insert(alias.to_lowercase(), tables[*table].rows);
    }
    for access in facts.accesses {
        let alias = access.alias.to_lowercase();
        if !access.tests.is_empty() || !access.inside.is_empty() || !access.arms.is_empty() {
            filtered.insert(alias);
        }
    }
    (sizes.rows, sizes.filtered) = (rows, filtered);
    Ok(sizes)
}

/// Whether a statement only reads, so that it may be run to see its plan.
pub(crate) fn only_reads(sql: &str, engine: Engine) -> bool {
    facts::parse(sql, engine).is_ok_and(|statement| facts::only_reads(&statement))
}

/// Whether `sql` is one statement that can be planned. What the parser does not know may be one all the same. Fails with
/// what a person is told.
pub(crate) fn is_one(sql: &str, engine: Engine) -> std::result::Result<(), String> {
    if workload(sql, engine).len() == 1 && is_planned(sql) {
        return Ok(());
    }
    facts::parse(sql, engine).map(drop)
}

/// Whether `sql` begins as a statement does that has a plan: settings, transactions and changes of the schema have none.
///
/// ```
/// use mainstay_doctor::advice::is_planned;
///
/// assert!(is_planned("(SELECT 1) UNION (SELECT 2)") && !is_planned("SET LOCAL lock_timeout = 1"));
/// ```
pub fn is_planned(sql: &str) -> bool {
    const PLANNED: &[&str] = &["select", "with", "insert", "update", "delete", "values", "table"];
    let first = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let first = first.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    PLANNED.contains(&first.to_lowercase().as_str())
}
