//! What changes the history other than by applying: undo, repair, baseline.

use mainstay_core::{Code, Error, Result};
use serde::Serialize;

use crate::callback::Event;
use crate::history::{Applied, abbreviate};
use crate::info::kind_of;
use crate::migrator::{Migrator, Ran, Report};
use crate::plan::{Inputs, Item, Plan, Target};
use crate::progress::{self, Key};
use crate::run::{Runner, UNDO};
use crate::state::State;
use crate::version::Version;

/// What `repair` did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The failed migrations that were taken out of the history.
    pub removed: Vec<String>,
    /// Those without a file, now marked as deleted.
    pub deleted: Vec<String>,
    /// Those whose row now says what the file does.
    pub realigned: Vec<String>,
}

impl Migrator {
    async fn runner<R>(
        &self,
        work: impl AsyncFnOnce(&mut Runner<'_>) -> Result<R>,
        [before, after, error]: [Event; 3],
    ) -> Result<R> {
        let opened = self.open().await?;
        self.locked(opened, async |run: &mut Runner<'_>| {
            run.callback(before).await?;
            let done = work(run).await;
            let event = if done.is_ok() { after } else { error };
            match (run.callback(event).await, done) {
                (Err(error), Err(first)) => {
                    self.tell.note(&format!("{} failed: {error}", event.as_str()));
                    Err(first)
                }
                (called, done) => called.and(done),
            }
        })
        .await
    }

    /// Takes back the last version that was applied, or with `target` all from the last down to and
    /// with that one, each by its undo file. What was taken back is pending again.
    ///
    /// Cancel safe as [`up`](Self::up).
    ///
    /// Errors: MIG-012 (no undo file), and as [`up`](Self::up).
    pub async fn undo(&self, target: Option<Version>) -> Result<Report> {
        let events = [Event::BeforeUndo, Event::AfterUndo, Event::AfterUndoError];
        self.runner(
            async |run: &mut Runner<'_>| self.undo_locked(run, target.as_ref()).await,
            events,
        )
        .await
    }

    async fn undo_locked(&self, run: &mut Runner<'_>, target: Option<&Version>) -> Result<Report> {
        let history = run.history.clone();
        let latest = Target::Latest;
        let inputs = self.plan_inputs(run, &history, &latest);
        let plan = Plan::make(&inputs)?;
        let undoable = |item: &&Item<'_>| {
            let row = item.applied.filter(|row| !row.is_undo() && !row.is_synthetic());
            row.is_some_and(|row| row.version.is_some())
                && !matches!(item.state, State::Undone | State::Deleted)
        };
        let mut items: Vec<_> = plan.items.iter().filter(undoable).collect();
        items.reverse();
        if let Some((key, _)) =
            run.progress.iter().find(|(key, p)| key.kind != 'U' && !p.is_complete())
        {
            let what = format!("{} is half done: what there is to undo of it is unknown", key.name);
            return Err(Error::new(Code::MigrationHalf, what)
                .fix("run mainstay migrate up, which goes on with it, or repair it"));
        }
        match target {
            None => items.truncate(1),
            Some(target) => items.retain(|item| item.version().is_some_and(|v| v >= target)),
        }
        // All are looked for before any runs: half an undo helps nobody.
        for item in &items {
            let version = item.version();
            if !version.is_some_and(|v| run.scripts.undo.contains_key(v)) {
                let what = format!("there is no undo file for {}", item.name());
                return Err(Error::new(Code::MigrationUndo, what));
            }
        }
        let mut report = Report::default();
        if !items.is_empty() {
            progress::create(&mut run.database).await?;
        }
        for item in items {
            let Some(script) = item.version().and_then(|v| run.scripts.undo.get(v)) else {
                continue;
            };
            let version = script.kind.version().cloned();
            let mut row =
                Applied::new(kind_of(script), version.clone(), &script.description, &script.script);
            row.checksum = Some(crate::checksum::checksum(&script.text));
            row.by = self.installed_by(&run.database);
            let took = run.apply(script, row, &UNDO).await?;
            report.applied.push(Ran {
                script: script.script.clone(),
                version: version.map(|v| v.to_string()),
                description: script.description.clone(),
                took,
            });
        }
        let history = run.history.clone();
        let inputs = self.plan_inputs(run, &history, &latest);
        report.version = Plan::make(&inputs)?.current.map(|v| v.to_string());
        Ok(report)
    }

    /// What is there counts, whatever order it came in.
    fn plan_inputs<'a>(
        &self,
        run: &Runner<'a>,
        history: &'a crate::history::History,
        target: &'a Target,
    ) -> Inputs<'a> {
        let inputs = Inputs::of(&self.options, run.scripts, run.values, history, target);
        Inputs { out_of_order: true, ..inputs }
    }

    /// Makes the history say what the files do: failed rows go, rows without a file are marked as
    /// deleted, and checksums, descriptions and types become the files'. It changes no table but the
    /// history: what a failed migration left is put right by hand before.
    ///
    /// In one transaction: all of it or nothing. Errors: MIG-001, MIG-007, MIG-008, MIG-016.
    pub async fn repair(&self) -> Result<Repaired> {
        let events = [Event::BeforeRepair, Event::AfterRepair, Event::AfterRepairError];
        self.runner(
            async |run: &mut Runner<'_>| {
                if !run.history.exists {
                    return Ok(Repaired::default());
                }
                progress::create(&mut run.database).await?;
                run.database.begin().await?;
                let done = self.repair_locked(run).await;
                let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
                run.database.run(end).await?;
                done
            },
            events,
        )
        .await
    }

    async fn repair_locked(&self, run: &mut Runner<'_>) -> Result<Repaired> {
        let mut repaired = Repaired::default();
        let removed = run.history.remove(&mut run.database, |row| !row.success).await?;
        repaired.removed = removed.iter().map(Applied::name).collect();
        self.forget_halves(run).await?;
        let history = run.history.clone();
        let latest = Target::Latest;
        let inputs = self.plan_inputs(run, &history, &latest);
        let plan = Plan::make(&inputs)?;
        for item in &plan.items {
            let Some(row) = item.applied.filter(|row| !row.is_undo() && !row.is_synthetic()) else {
                continue;
            };
            let versioned = row.version.is_some();
            let gone = item.state.is_missing() && !self.options.ignores(versioned, "missing")
                || item.state.is_future() && !self.options.ignores(versioned, "future");
            if gone {
                let mut mark = row.clone();
                "DELETE".clone_into(&mut mark.kind);
                mark.execution_ms = 0;
                mark.by = self.installed_by(&run.database);
                run.history.insert(&mut run.database, mark).await?;
                repaired.deleted.push(row.name());
            } else if self.realign(run, item, row).await? {
                repaired.realigned.push(row.name());
            }
        }
        Ok(repaired)
    }

    /// Makes the row say what the file does; whether it did not.
    async fn realign(&self, run: &mut Runner<'_>, item: &Item<'_>, row: &Applied) -> Result<bool> {
        let (Some(script), Some(checksum)) = (item.script, item.checksum) else { return Ok(false) };
        if matches!(item.state, State::Undone | State::Deleted) {
            return Ok(false);
        }
        if row.version.is_none() {
            // One that has changed runs again; of one that has not, only line breaks may have moved.
            if item.state == State::Success {
                self.restate(run, script).await?;
            }
            return Ok(false);
        }
        let (kind, description) = (kind_of(script), &script.description);
        let same = row.checksum == Some(checksum)
            && row.kind == kind
            && row.description == abbreviate(description);
        if !same {
            run.history.realign(&mut run.database, row.rank, description, kind, checksum).await?;
        }
        self.restate(run, script).await?;
        Ok(!same)
    }

    /// The strong hash becomes the file's.
    async fn restate(&self, run: &mut Runner<'_>, script: &crate::source::Script) -> Result<()> {
        let Some(key) = Key::of(&script.kind, &script.description) else { return Ok(()) };
        let sha256 = crate::checksum::strong(&script.text);
        if let Some(kept) = run.progress.get_mut(&key).filter(|kept| kept.sha256 != sha256) {
            kept.sha256 = sha256;
            let sql = progress::write_sql(&run.database.facts, &key, kept);
            run.database.run(&sql).await?;
        }
        Ok(())
    }

    /// What was half done was put right by hand: it begins anew.
    async fn forget_halves(&self, run: &mut Runner<'_>) -> Result<()> {
        let halves: Vec<Key> =
            run.progress.iter().filter(|(_, p)| !p.is_complete()).map(|(k, _)| k.clone()).collect();
        for key in halves {
            let sql = progress::remove_sql(&run.database.facts, &key);
            run.database.run(&sql).await?;
            run.progress.remove(&key);
        }
        Ok(())
    }

    /// Takes a database that has tables and no history for one at `baseline_version`: migrations up
    /// to that one do not run. Done twice with the same version, it changes nothing.
    ///
    /// Errors: MIG-016 where there is a history of migrations already.
    pub async fn baseline(&self) -> Result<Version> {
        let events = [Event::BeforeBaseline, Event::AfterBaseline, Event::AfterBaselineError];
        self.runner(async |run: &mut Runner<'_>| self.baseline_locked(run).await, events).await
    }

    async fn baseline_locked(&self, run: &mut Runner<'_>) -> Result<Version> {
        let row = self.baseline_row(&run.database)?;
        let version =
            row.version.clone().ok_or_else(|| Error::new(Code::ConfigValue, "no version"))?;
        let refuse = |why: String| {
            let what = format!("{} can't be given a baseline", run.database.facts.history());
            Err(Error::new(Code::MigrationHistory, what).why(why))
        };
        if let Some(before) = run.history.rows.iter().take(2).find(|row| row.is_baseline()) {
            let same = before.version == row.version && before.description == row.description;
            return if same { Ok(version) } else { refuse(format!("it has {}", before.name())) };
        }
        if let Some(first) = run.history.rows.iter().find(|row| !row.is_synthetic()) {
            return refuse(format!("it has migrations already, first {}", first.name()));
        }
        if run.history.exists {
            run.history.insert(&mut run.database, row).await?;
        } else {
            run.history.create_with(&mut run.database, Some(row)).await?;
        }
        progress::create(&mut run.database).await?;
        Ok(version)
    }
}
