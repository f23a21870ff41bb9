//! Writes a batch with its cursor in one transaction; of a batch that the target refuses, finds the row.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use super::cursor::{self, Cursor};
use super::pair::Pair;
use super::read::literal_of;
use super::side::Side;
use super::value::{Cell, Class};

/// A statement of about so many bytes is long enough.
const STATEMENT_BYTES: usize = 512 * 1024;

/// A row as the target takes it.
pub(super) type Cells = Vec<Option<Cell>>;

/// Inserts all rows and moves the cursor, or neither. `name` names a row by its place.
///
/// Errors: COPY-003 where the target refuses a row.
pub(super) async fn batch(
    target: &mut Side,
    pair: &Pair,
    rows: &[Cells],
    cursor: &Cursor,
    name: impl Fn(usize) -> String,
) -> Result<()> {
    let noted = cursor::write_sql(target, pair.name(), cursor);
    target.begin().await?;
    let written = async {
        insert(target, pair, rows).await?;
        target.run(&noted).await?;
        target.run("COMMIT").await
    };
    let Err(error) = written.await else { return Ok(()) };
    if !is_of_a_row(error.code()) || target.run("ROLLBACK").await.is_err() {
        return Err(error);
    }
    let refused = refused(target, pair, rows).await?;
    // The server's own message may quote what is stored.
    let what = format!("the target refuses the row of {} with {}", pair.name(), name(refused));
    Err(Error::new(Code::CopyRow, what).why(match error.code() {
        Code::Unique => "a row with a value that must be unique is there already",
        Code::ForeignKey => "it refers to a row that is not there",
        Code::NotNull => "a column that must have a value gets none",
        Code::Check => "a check or an exclusion constraint does not hold",
        _ => "a value does not fit its column's type",
    }))
}

fn is_of_a_row(code: Code) -> bool {
    matches!(
        code,
        Code::Unique
            | Code::ForeignKey
            | Code::NotNull
            | Code::Check
            | Code::Data
            | Code::TypeMismatch
    )
}

/// The place of the first row that the target refuses: the least number of rows that can't be inserted
/// together is looked for by halves, and nothing of it stays.
async fn refused(target: &mut Side, pair: &Pair, rows: &[Cells]) -> Result<usize> {
    let (mut fine, mut failing) = (0, rows.len());
    while fine + 1 < failing {
        let middle = usize::midpoint(fine, failing);
        target.begin().await?;
        let outcome = insert(target, pair, &rows[..middle]).await;
        target.run("ROLLBACK").await?;
        match outcome {
            Ok(()) => fine = middle,
            Err(error) if is_of_a_row(error.code()) => failing = middle,
            Err(error) => return Err(error),
        }
    }
    Ok(failing.saturating_sub(1))
}

async fn insert(target: &mut Side, pair: &Pair, rows: &[Cells]) -> Result<()> {
    if rows.is_empty() || pair.columns.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = pair.columns.iter().map(|c| target.quote(&c.target.name)).collect();
    let (table, names) = (target.quote(&pair.target.name), names.join(", "));
    if target.engine == Engine::Postgres {
        let sql = format!("COPY {table} ({names}) FROM STDIN");
        return target.session.copy_in(&sql, &lines(rows)).await.map(drop);
    }
    let head = format!("INSERT INTO {table} ({names}) VALUES ");
    let mut sql = String::new();
    for row in rows {
        let before = if sql.is_empty() { head.as_str() } else { ", " };
        sql += before;
        sql.push('(');
        for (n, cell) in row.iter().enumerate() {
            sql += if n > 0 { ", " } else { "" };
            match cell {
                None => sql += "NULL",
                Some(cell) => sql += &literal_of(target.engine, cell.class, &cell.text),
            }
        }
        sql.push(')');
        if sql.len() >= STATEMENT_BYTES {
            target.run(&sql).await?;
            sql.clear();
        }
    }
    if !sql.is_empty() {
        target.run(&sql).await?;
    }
    Ok(())
}

/// The rows in the text format of PostgreSQL's COPY.
fn lines(rows: &[Cells]) -> String {
    let mut out = String::new();
    for row in rows {
        for (n, cell) in row.iter().enumerate() {
            if n > 0 {
                out.push('\t');
            }
            match cell {
                None => out += "\\N",
                Some(cell) if cell.class == Class::Bytes => {
                    out += "\\\\x";
                    out += &cell.text;
                }
                Some(cell) => escape(&mut out, &cell.text),
            }
        }
        out.push('\n');
    }
    out
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => *out += "\\\\",
            '\t' => *out += "\\t",
            '\n' => *out += "\\n",
            '\r' => *out += "\\r",
            c => out.push(c),
        }
    }
}
