//! Our own table beside Flyway's: a strong hash of each script, and how far a script came whose
//! statements can't all be in one transaction, so that it goes on there.

use mainstay_core::Result;
use mainstay_db::Engine;
use sha2::{Digest, Sha256};

use crate::checksum::hex;
use crate::database::{Database, Facts};
use crate::name::Kind;

/// Which script a row is of: its kind's letter, and its version or description.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: char,
    pub(crate) name: String,
}

impl Key {
    /// `None` for callbacks, which leave no trace.
    pub(crate) fn of(kind: &Kind, description: &str) -> Option<Self> {
        let (kind, name) = match kind {
            Kind::Versioned(v) => ('V', v.to_string()),
            Kind::Undo(v) => ('U', v.to_string()),
            Kind::Baseline(v) => ('B', v.to_string()),
            Kind::Repeatable => ('R', crate::history::abbreviate(description)),
            Kind::Callback(_) => return None,
        };
        Some(Self { kind, name })
    }
}

/// How far a script came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Of the whole script; what `strong` gives.
    pub(crate) sha256: String,
    pub(crate) total: usize,
    /// Statements that are done.
    pub(crate) done: usize,
    /// A hash over their texts; empty once the history has the script.
    pub(crate) done_sha256: String,
    /// Of the statement that was begun after those and of whose end nobody heard; empty if none.
    pub(crate) doubt_sha256: String,
    /// How the tables that it changes looked before it.
    pub(crate) before: String,
}

impl Progress {
    /// Whether the history has it. All statements may be done before that.
    pub(crate) fn is_complete(&self) -> bool {
        self.done_sha256.is_empty()
    }
}

/// A hash over the texts of statements, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct DoneHash(Sha256);

impl DoneHash {
    pub(crate) fn push(&mut self, text: &str) {
        // A length before each, so that no two lists agree by where they are cut.
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    pub(crate) fn hex(&self) -> String {
        hex(&self.0.clone().finalize())
    }
}

pub(crate) fn hash_of<'a>(statements: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = DoneHash::default();
    statements.into_iter().for_each(|text| hash.push(text));
    hash.hex()
}

const COLUMNS: &str = "kind, name, sha256, total, done, done_sha256, doubt_sha256, before_sha256";

/// All rows; none where the table is not there.
pub(crate) async fn read(database: &mut Database) -> Result<Vec<(Key, Progress)>> {
    let table = format!("{}_mainstay", database.facts.table);
    if !database.has_table(&table).await? {
        return Ok(Vec::new());
    }
    let columns: Vec<String> = COLUMNS.split(", ").map(str::to_owned).collect();
    let table = database.facts.progress();
    Ok(database.texts(&columns, &table).await?.into_iter().map(row).collect())
}

fn row(row: Vec<Option<String>>) -> (Key, Progress) {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten().unwrap_or_default();
    let key = Key { kind: next().chars().next().unwrap_or(' '), name: next() };
    let progress = Progress {
        sha256: next(),
        total: next().parse().unwrap_or(0),
        done: next().parse().unwrap_or(0),
        done_sha256: next(),
        doubt_sha256: next(),
        before: next(),
    };
    (key, progress)
}

/// Makes the table, unless it is there.
pub(crate) async fn create(database: &mut Database) -> Result<()> {
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (kind VARCHAR(1) NOT NULL, name VARCHAR(200) NOT NULL, \
         sha256 VARCHAR(64) NOT NULL, total INT NOT NULL, done INT NOT NULL, \
         done_sha256 VARCHAR(64) NOT NULL, doubt_sha256 VARCHAR(64) NOT NULL, \
         before_sha256 VARCHAR(64) NOT NULL, PRIMARY KEY (kind, name))",
        database.facts.progress()
    );
    database.run(&sql).await.map(drop)
}

/// The statement that writes `progress` down, in place of what was there.
pub(crate) fn write_sql(facts: &Facts, key: &Key, progress: &Progress) -> String {
    let text = |text: &str| facts.literal(text);
    let values = format!(
        "{}, {}, {}, {}, {}, {}, {}, {}",
        text(&key.kind.to_string()),
        text(&key.name),
        text(&progress.sha256),
        progress.total,
        progress.done,
        text(&progress.done_sha256),
        text(&progress.doubt_sha256),
        text(&progress.before),
    );
    let table = facts.progress();
    match facts.engine {
        Engine::MySql => format!("REPLACE INTO {table} ({COLUMNS}) VALUES ({values})"),
        Engine::Sqlite | Engine::Postgres => format!(
            "INSERT INTO {table} ({COLUMNS}) VALUES ({values}) ON CONFLICT (kind, name) DO UPDATE \
             SET sha256 = excluded.sha256, total = excluded.total, done = excluded.done, \
             done_sha256 = excluded.done_sha256, doubt_sha256 = excluded.doubt_sha256, \
             before_sha256 = excluded.before_sha256"
        ),
    }
}

/// The statement that forgets a script.
pub(crate) fn remove_sql(facts: &Facts, key: &Key) -> String {
    let (kind, name) = (facts.literal(&key.kind.to_string()), facts.literal(&key.name));
    format!("DELETE FROM {} WHERE kind = {kind} AND name = {name}", facts.progress())
}
