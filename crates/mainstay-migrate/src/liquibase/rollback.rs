//! Change sets taken back, as Liquibase does: by their own rollback, or by undoing what they did.

use std::collections::{HashMap, HashSet};

use mainstay_core::{Code, Error, Result};

use super::report::{ChangelogReport, RollbackTo};
use super::run::{Changelog, Opened};
use super::store::{self, Ran, Who, who};
use super::{ChangeSet, render};
use crate::placeholder::Placeholders;
use crate::source::Scripts;

/// A row to be taken back, with the statements that do so.
struct Back {
    set: ChangeSet,
    row: Ran,
    statements: Vec<String>,
}

impl Changelog {
    /// Takes change sets back, the last that ran first: by their own rollback, or else by undoing each
    /// change that can be undone. All are looked at before any is taken back. Of one that is marked as
    /// run and never was, only the row goes; rows of files that this changelog does not have stay.
    ///
    /// Errors: MIG-012 (one can't be taken back), MIG-016 (no such tag), and as
    /// [`update`](Self::update).
    pub async fn rollback(&self, to: RollbackTo) -> Result<ChangelogReport> {
        let mut opened = self.open().await?;
        let locks = self.lock(&mut opened.database).await?;
        opened.ran = store::read(&mut opened.database).await?;
        let todo = self.todo(&opened, &to)?;
        let (scripts, values) = (Scripts::default(), Placeholders::default());
        let mut work = self.work(opened.database, locks, &scripts, &values).await?;
        let mut report = ChangelogReport::default();
        for Back { set, row, statements } in todo {
            let record = store::remove_sql(&work.run.database.facts, &row);
            work.execute(&set, statements, record).await?;
            report.ran.push(set.name());
        }
        Ok(report)
    }

    /// What is to be done, the last that ran first. Errors: MIG-012, MIG-016.
    fn todo(&self, opened: &Opened, to: &RollbackTo) -> Result<Vec<Back>> {
        let sets: HashMap<Who, &ChangeSet> =
            opened.log.sets.iter().map(|set| (who(set), set)).collect();
        let files: HashSet<&str> = sets.keys().map(|(file, ..)| file.as_str()).collect();
        let limit = if let RollbackTo::Count(count) = to { *count } else { usize::MAX };
        let (mut todo, mut seen) = (Vec::new(), HashSet::new());
        for row in last(&opened.ran, to)? {
            if todo.len() == limit {
                break;
            }
            let of = row.who();
            let Some(set) = sets.get(&of) else {
                if files.contains(of.0.as_str()) {
                    let what = format!("{} ran and is in its file no more", row.name());
                    return Err(Error::new(Code::MigrationUndo, what)
                        .fix("put it back into the file, with how it is taken back"));
                }
                self.tell.note(&format!("{} stays: this changelog has no such file", row.name()));
                continue;
            };
            // A Liquibase may have written several rows for one set.
            let statements = if row.kind == "MARK_RAN" || !seen.insert(of) {
                self.tell.note(&format!(
                    "{}: only its row goes: it did not run, or is back already",
                    row.name()
                ));
                Vec::new()
            } else {
                render::rollback(set, opened.target)?
            };
            todo.push(Back { set: (*set).clone(), row: row.clone(), statements });
        }
        Ok(todo)
    }
}

/// The rows that may be taken back, the last first. Errors: MIG-016.
fn last<'r>(ran: &'r [Ran], to: &RollbackTo) -> Result<Vec<&'r Ran>> {
    let mut rows: Vec<&Ran> = ran.iter().rev().collect();
    if let RollbackTo::Tag(tag) = to {
        let has = |row: &&Ran| {
            row.tag.as_deref().is_some_and(|has| has.to_lowercase() == tag.to_lowercase())
        };
        let at = rows.iter().position(has).ok_or_else(|| {
            Error::new(Code::MigrationHistory, format!("no change set has the tag `{tag}`"))
        })?;
        // A set that does nothing but set the tag belongs to what comes after it.
        let alone = rows[at].description.trim() == "tagDatabase";
        rows.truncate(at + usize::from(alone));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, tag: Option<&str>, description: &str) -> Ran {
        Ran {
            order: 1,
            kind: "EXECUTED".to_owned(),
            md5sum: None,
            tag: tag.map(str::to_owned),
            on: String::new(),
            file: "a.xml".to_owned(),
            id: id.to_owned(),
            author: "a".to_owned(),
            description: description.to_owned(),
        }
    }

    #[test]
    fn a_tag_of_its_own_goes_too() {
        let ran = [
            row("1", Some("v0"), "sql"),
            row("2", Some("V1"), "tagDatabase"),
            row("3", None, "sql"),
        ];
        let ids = |tag: &str| -> Vec<&str> {
            let to = RollbackTo::Tag(tag.to_owned());
            last(&ran, &to).unwrap().into_iter().map(|row| row.id.as_str()).collect()
        };
        assert_eq!(ids("v1"), ["3", "2"]);
        assert_eq!(ids("v0"), ["3", "2"]);
        let none = last(&ran, &RollbackTo::Tag("v2".to_owned()));
        assert_eq!(none.unwrap_err().code(), Code::MigrationHistory);
    }
}
