//! Where the change sets of a changelog stand: which are pending, which were edited since they ran.

use mainstay_core::{Code, Error, Result};

use super::report::{ChangeSetSql, ChangeSetStatus};
use super::run::{Changelog, Opened};
use super::store::{self, Ran, Rows, who};
use super::{ChangeSet, checksum, render};

/// What is to be done about a set that the history has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    No,
    Yes,
    /// The row is given the checksum: it has none, or one of an older Liquibase.
    Restate,
}

pub(super) fn again(set: &ChangeSet, row: &Ran, sum: &str) -> Again {
    match row.md5sum.as_deref() {
        _ if set.run_always => Again::Yes,
        Some(before) if before == sum => Again::No,
        // One of another version can't be compared: running again does no harm, leaving out might.
        Some(_) if set.run_on_change => Again::Yes,
        Some(_) if is_current(row) => Again::No,
        _ => Again::Restate,
    }
}

/// Whether the row's checksum is one that ours can be compared with.
fn is_current(row: &Ran) -> bool {
    row.md5sum.as_deref().is_some_and(|sum| sum.starts_with("9:"))
}

fn is_changed(set: &ChangeSet, row: &Ran, sum: &str) -> bool {
    let allowed = || {
        set.valid_checksums.iter().any(|valid| {
            let valid = valid.trim();
            valid == sum || valid.eq_ignore_ascii_case("any") || valid.ends_with(":any")
        })
    };
    is_current(row)
        && row.md5sum.as_deref() != Some(sum)
        && !(set.run_on_change || set.run_always)
        && !allowed()
}

impl Opened {
    /// Whether what ran of the sets that this run means is what they say. Errors: MIG-002, naming
    /// every one that was edited.
    pub(super) fn check_sums(&self, rows: &Rows) -> Result<()> {
        let mut changed = Vec::new();
        for set in &self.log.sets {
            if !self.meant.means(set)? {
                continue;
            }
            let Some(row) = rows.get(&who(set)) else { continue };
            let sum = checksum::set(set, self.target.name());
            if is_changed(set, row, &sum) {
                let before = row.md5sum.clone().unwrap_or_default();
                changed.push(format!("{}: {} was {before}, and is {sum}", set.at, set.name()));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let what = format!("{} change sets are not what ran", changed.len());
        Err(Error::new(Code::MigrationChanged, what).why(changed.join("\n")).fix(
            "put them back as they were and write the change as a new change set; \
             or allow the new checksum with validCheckSum, or runOnChange",
        ))
    }

    /// The sets that the next update runs, in their order.
    pub(super) fn pending(&self, rows: &Rows) -> Result<Vec<&ChangeSet>> {
        let mut pending = Vec::new();
        for set in &self.log.sets {
            if self.meant.means(set)? && self.is_pending(set, rows) {
                pending.push(set);
            }
        }
        Ok(pending)
    }

    fn is_pending(&self, set: &ChangeSet, rows: &Rows) -> bool {
        let sum = || checksum::set(set, self.target.name());
        let row = rows.get(&who(set));
        row.is_none_or(|row| again(set, row, &sum()) == Again::Yes)
    }

    /// Meets what the engine can't do before anything runs. What a precondition may pass over, a stop
    /// and what counts as run in that case are looked at in their turn. Errors: MIG-014.
    pub(super) fn can_run(&self, rows: &Rows) -> Result<()> {
        let in_turn =
            |set: &ChangeSet| set.preconditions.is_some() || set.stops() || set.mark_invalid;
        for set in self.pending(rows)? {
            if !in_turn(set) {
                render::statements(set, self.target)?;
            }
        }
        Ok(())
    }
}

impl Changelog {
    /// What `update` would send, without what it records. Preconditions are not asked.
    ///
    /// Errors: MIG-002, MIG-014.
    pub async fn dry_run(&self) -> Result<Vec<ChangeSetSql>> {
        let opened = self.open().await?;
        let rows = store::index(&opened.ran);
        opened.check_sums(&rows)?;
        let sql = |set: &ChangeSet| {
            let (statements, refused) = match render::statements(set, opened.target) {
                Ok(statements) => (statements, None),
                Err(error) => (Vec::new(), Some(error.what().to_owned())),
            };
            ChangeSetSql { name: set.name(), statements, refused }
        };
        Ok(opened.pending(&rows)?.into_iter().map(sql).collect())
    }

    /// Each change set that is meant, with where it stands. Errors: MIG-014.
    pub async fn status(&self) -> Result<Vec<ChangeSetStatus>> {
        let opened = self.open().await?;
        let rows = store::index(&opened.ran);
        let mut out = Vec::new();
        for set in &opened.log.sets {
            if !opened.meant.means(set)? {
                continue;
            }
            let sum = checksum::set(set, opened.target.name());
            let row = rows.get(&who(set));
            out.push(ChangeSetStatus {
                name: set.name(),
                line: set.line(),
                pending: opened.is_pending(set, &rows),
                state: row.map(|row| row.kind.clone()),
                executed_on: row.map(|row| row.on.clone()),
                changed: row.is_some_and(|row| is_changed(set, row, &sum)),
                checksum: sum,
            });
        }
        Ok(out)
    }

    /// Whether the changelog can be read and what ran is what it says. Errors: MIG-002, MIG-014.
    pub async fn validate(&self) -> Result<()> {
        let opened = self.open().await?;
        opened.check_sums(&store::index(&opened.ran))
    }
}

#[cfg(test)]
mod tests {
    use super::super::location::Location;
    use super::*;

    fn row(sum: Option<&str>) -> Ran {
        Ran {
            order: 1,
            kind: "EXECUTED".to_owned(),
            md5sum: sum.map(str::to_owned),
            tag: None,
            on: String::new(),
            file: "classpath:a.xml".to_owned(),
            id: "1".to_owned(),
            author: "a".to_owned(),
            description: String::new(),
        }
    }

    #[test]
    fn a_set_runs_again_where_it_says_so() {
        let mut set = ChangeSet::new("1", "a", "a.xml", Location::new(&"a.xml".into(), 1));
        assert_eq!(row(None).who(), who(&set));
        let of = |set: &ChangeSet, sum| again(set, &row(sum), "9:new");
        assert_eq!(of(&set, Some("9:new")), Again::No);
        assert_eq!(of(&set, Some("9:old")), Again::No);
        assert_eq!(of(&set, Some("8:old")), Again::Restate);
        assert_eq!(of(&set, None), Again::Restate);
        set.run_on_change = true;
        assert_eq!(of(&set, Some("9:new")), Again::No);
        assert_eq!(of(&set, Some("9:old")), Again::Yes);
        assert_eq!(of(&set, Some("8:old")), Again::Yes);
        assert_eq!(of(&set, None), Again::Restate);
        set.run_always = true;
        assert_eq!(of(&set, Some("9:new")), Again::Yes);
    }
}
