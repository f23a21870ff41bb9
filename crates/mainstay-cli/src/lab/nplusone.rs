//! `mainstay lab n-plus-one`: a list of authors, and the books of each: a query for each author, then one for all.

use mainstay_core::Result;
use mainstay_core::scope::{Kind, Scope};
use mainstay_db::{AssertSqlSafe, Db, Engine};
use mainstay_doctor::Finding;
use mainstay_load::load_many;
use serde::Serialize;

use super::table::Table;
use super::watch::Watched;

/// Authors, and the books of each.
const AUTHORS: u32 = 200;
const BOOKS: u32 = 5;

/// A list with its children, loaded in two ways.
#[derive(Clone, Debug, Serialize)]
pub struct NPlusOne {
    /// Rows of the list.
    pub parents: usize,
    /// The statement that was run once for each of them.
    pub sql: String,
    /// A query for each.
    pub before: Loaded,
    /// One for all.
    pub after: Loaded,
    /// Whether both have found the same.
    pub same: bool,
}

/// What loading took.
#[derive(Clone, Debug, Serialize)]
pub struct Loaded {
    /// Statements that were sent.
    pub statements: u64,
    /// Times that the network was gone through; 0 where the database is in the process.
    pub round_trips: u64,
    /// Rows that came.
    pub rows: u64,
    /// How long it took.
    pub time_us: u64,
    /// What the doctor said of it.
    pub findings: Vec<Finding>,
}

/// Runs it on `db`. `say` is told what is about to happen.
///
/// Errors: those of a statement; what it made is dropped again.
pub async fn n_plus_one(db: &Db, say: impl Fn(&str) + Sync) -> Result<NPlusOne> {
    say("authors and their books are made");
    let columns = "id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL";
    let authors = Table::make(db, "authors", columns).await?;
    let columns = "id BIGINT PRIMARY KEY, author_id BIGINT NOT NULL, title VARCHAR(40) NOT NULL";
    let books = match Table::make(db, "books", columns).await {
        Ok(books) => books,
        Err(error) => {
            authors.drop().await?;
            return Err(error);
        }
    };
    let report = compare(db, &authors, &books, &say).await;
    let dropped = books.drop().await.and(authors.drop().await);
    let report = report?;
    dropped.map(|()| report)
}

type Books = Vec<Vec<(i64, String)>>;

async fn compare(
    db: &Db,
    authors: &Table<'_>,
    books: &Table<'_>,
    say: &(impl Fn(&str) + Sync),
) -> Result<NPlusOne> {
    authors.fill("id, name", "n + 1, 'somebody'", AUTHORS).await?;
    let of = format!("n, 1 + n % {AUTHORS}, 'a book'");
    books.fill("id, author_id, title", &of, AUTHORS * BOOKS).await?;
    books.run(&format!("CREATE INDEX {}_author ON {{t}} (author_id)", books.name())).await?;
    books.analyze().await?;
    let list = authors.sql("SELECT id FROM {t} ORDER BY id");
    let each = books.sql("SELECT author_id, title FROM {t} WHERE author_id = $1 ORDER BY id");
    let all = books.sql("SELECT author_id, title FROM {t} WHERE author_id IN ($keys) ORDER BY id");
    // Both ways prepare their statements before they are measured.
    for_each(db, &format!("{list} LIMIT 1"), &each).await?;
    for_all(db, &format!("{list} LIMIT 1"), &all).await?;

    say("a query for each author");
    let watched = Watched::begin(db);
    let scope = Scope::new(Kind::Request, "GET /authors");
    let found = scope.run(for_each(db, &list, &each)).await?;
    let before = loaded(db, &watched);

    say("one query for all");
    let watched = Watched::begin(db);
    let scope = Scope::new(Kind::Request, "GET /authors");
    let again = scope.run(for_all(db, &list, &all)).await?;
    let after = loaded(db, &watched);
    Ok(NPlusOne { parents: found.len(), sql: each, before, after, same: found == again })
}

/// The mistake: it looks harmless, and is a round trip a row.
async fn for_each(db: &Db, list: &str, each: &str) -> Result<Books> {
    let authors: Vec<(i64,)> = db.query(AssertSqlSafe(list.to_owned())).all().await?;
    let mut all = Vec::with_capacity(authors.len());
    for (author,) in authors {
        all.push(db.query(AssertSqlSafe(each.to_owned())).bind(author).all().await?);
    }
    Ok(all)
}

async fn for_all(db: &Db, list: &str, all: &str) -> Result<Books> {
    let authors: Vec<(i64,)> = db.query(AssertSqlSafe(list.to_owned())).all().await?;
    load_many(db, &authors, |(id,)| *id, AssertSqlSafe(all.to_owned())).await
}

fn loaded(db: &Db, watched: &Watched) -> Loaded {
    let (time_us, statements) = (watched.micros(), watched.statements());
    let round_trips = if db.engine() == Engine::Sqlite { 0 } else { statements };
    Loaded { statements, round_trips, rows: watched.rows(), time_us, findings: watched.findings() }
}
