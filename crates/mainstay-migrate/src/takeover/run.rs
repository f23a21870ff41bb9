//! The takeover itself: looks for everything that does not fit, and only then writes.

use std::path::PathBuf;

use mainstay_core::{Code, Error, Result};
use serde::Serialize;

use super::convert::{self, OldFile};
use super::find::{self, Source};
use super::pair::{self, Taken};
use super::read::{self, When};
use super::{Tool, store};
use crate::database::Database;
use crate::history::{Applied, History};
use crate::migrator::Migrator;
use crate::plan::{Inputs, Target};
use crate::version::Version;

/// What is to be taken over. By default it is found out; files are ours already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Takeover {
    /// Whose history it is. It must be said where a database has several.
    pub tool: Option<Tool>,
    /// The tool's table, where it is not called as usual.
    pub table: Option<String>,
    /// The folder with the tool's own files. Each that was applied must be there, unchanged.
    pub from: Option<PathBuf>,
    /// Where those are written under our names; migrations are then read there alone. What is there
    /// already is left as it is, and must be the same.
    pub write: Option<PathBuf>,
    /// Of Liquibase alone, whose changelogs stay as they are: the version that the database is taken
    /// for, where SQL files are to go on from there.
    pub baseline: Option<Version>,
}

/// What was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TakenOver {
    /// Whose history it was.
    pub tool: Tool,
    /// Its table, which stays as it is.
    pub table: String,
    /// The files whose rows were added to the history; none if it had them already.
    pub rows: Vec<String>,
    /// The files that were written.
    pub files: Vec<String>,
}

impl Migrator {
    /// Goes on where another tool stopped: what its table says was applied is written into the
    /// history, so that [`up`](Self::up) runs what is new. Checksums, where the tool keeps some, are
    /// worked out anew first. All rows are written, or none; the tool's own table stays as it is.
    /// Done twice, it changes nothing the second time.
    ///
    /// Migrations that the tool runs in Rust have no file that could be checked; write their SQL down
    /// first. The tool must not run meanwhile: only Flyway heeds the same lock.
    ///
    /// Cancel safe: dropped, all rows are written or none. Files that were written stay.
    ///
    /// Errors: MIG-001 (a file), MIG-002 (it is not what was applied), MIG-003 (there is none), MIG-006
    /// (the tool left a migration half-way), MIG-016 (no history of another tool, several, or ours has
    /// migrations already), MIG-007, APP-003, CFG-003; those of connecting.
    pub async fn takeover(&self, how: &Takeover) -> Result<TakenOver> {
        self.options.validate()?;
        if how.write.is_some() && how.from.is_none() {
            let what = "where files are written, it must be said where they are read";
            return Err(Error::new(Code::Argument, what).fix("add --from-dir"));
        }
        let mut database = Database::open(&self.db, &self.options).await?;
        let mut lock = self.lock(&mut database).await?;
        let source = find::source(&mut database, how).await?;
        let Source { tool, table } = source.clone();
        if tool == Tool::Flyway && table == database.facts.table {
            let note = format!("{table} is Flyway's own table, which is gone on with as it is");
            self.tell.note(&note);
            return Ok(TakenOver { tool, table, rows: Vec::new(), files: Vec::new() });
        }
        if how.baseline.is_some() && tool != Tool::Liquibase {
            let what = format!("what {tool} applied has files, and needs no baseline");
            return Err(Error::new(Code::Argument, what).fix("leave --baseline out"));
        }
        let old_files = match &how.from {
            Some(folder) => Some(convert::read(tool, folder)?),
            None => None,
        };
        let taken = self.taken(&mut database, how, &source, old_files.as_deref()).await?;
        let history = History::read(&mut database).await?;
        let is_new = is_new(&database, &history, &taken)?;
        let files = match (&how.write, &old_files) {
            (Some(folder), Some(files)) => {
                self.tell_of_late_ones(tool, files);
                convert::write(files, folder)?
            }
            _ => Vec::new(),
        };
        let mut rows = Vec::new();
        if is_new {
            lock.check().await?;
            store::write(&mut database, history, &taken).await?;
            rows = taken.names();
        }
        Ok(TakenOver { tool, table, rows, files })
    }

    /// What is to be written, once everything fits.
    async fn taken(
        &self,
        database: &mut Database,
        how: &Takeover,
        source: &Source,
        old_files: Option<&[OldFile]>,
    ) -> Result<Taken> {
        if source.tool == Tool::Liquibase {
            return self.liquibase(database, how);
        }
        let scripts_for = database.facts.scripts_for();
        let scripts = match (old_files, &how.write) {
            (Some(files), Some(_)) => convert::migrations(files).load(scripts_for)?,
            _ => self.migrations.load(scripts_for)?,
        };
        if source.tool == Tool::Flyway {
            let rows = read::flyway(database, source).await?;
            let history = History { exists: true, rows };
            let values = self.values(database);
            let inputs = Inputs {
                scripts: &scripts,
                history: &history,
                target: &Target::Latest,
                out_of_order: true,
                values: &values,
                replaces: self.options.replace_placeholders,
            };
            return pair::flyway(&inputs, &self.options);
        }
        let old = read::rows(database, source).await?;
        pair::pair(source, old, &scripts, old_files, &self.installed_by(database))
    }

    /// Nothing is taken over from Liquibase: a changelog goes on by its own table.
    fn liquibase(&self, database: &Database, how: &Takeover) -> Result<Taken> {
        let Some(version) = &how.baseline else {
            let what = "Liquibase's changelogs and table are gone on with as they are";
            return Err(Error::new(Code::MigrationHistory, what)
                .why("there is nothing to take over")
                .fix(
                    "run the changelog with mainstay migrate liquibase; to write SQL files from now on, \
                     say with --baseline which version the database has",
                ));
        };
        let description = &self.options.baseline_description;
        let mut row = Applied::new("BASELINE", Some(version.clone()), description, description);
        row.by = self.installed_by(database);
        let mut taken = Taken::default();
        taken.push(row, When::Unknown, None);
        Ok(taken)
    }

    /// What refinery calls U takes nothing back there, as a U does here.
    fn tell_of_late_ones(&self, tool: Tool, files: &[OldFile]) {
        if tool != Tool::Refinery {
            return;
        }
        for file in files {
            let name = file.path.rsplit(['/', '\\']).next().unwrap_or_default();
            if name.starts_with('U') {
                self.tell.note(&format!(
                    "{} may run late under refinery and takes nothing back: it becomes {}",
                    file.path, file.name
                ));
            }
        }
    }
}

/// Whether there is something to write. Errors: MIG-016 where the history has other migrations.
fn is_new(database: &Database, history: &History, taken: &Taken) -> Result<bool> {
    if taken.is_in(history) {
        return Ok(false);
    }
    match history.rows.iter().find(|row| row.kind != "SCHEMA") {
        None => Ok(true),
        Some(first) => {
            let what = format!("{} has migrations already", database.facts.history());
            let why =
                format!("its first is {}, and not all of the other tool's are in it", first.name());
            Err(Error::new(Code::MigrationHistory, what).why(why))
        }
    }
}
