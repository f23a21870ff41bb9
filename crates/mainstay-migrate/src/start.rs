//! What a service does about its migrations when it starts.

use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use crate::info::Info;
use crate::migrator::Migrator;
use crate::options::OnStart;
use crate::plan::Target;
use crate::state::State;
use crate::told::Told;

/// Between two looks whether somebody else has applied them.
const LOOK: Duration = Duration::from_millis(500);

/// How the database stood when the service started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// The scripts that were applied just now.
    pub applied: Vec<String>,
    /// Those that are pending still, with `on_start = "ignore"`.
    pub pending: Vec<String>,
    /// Those in the database that this program does not know: a newer one was here.
    pub unknown: Vec<String>,
    /// The highest version that is applied.
    pub version: Option<String>,
}

impl Migrator {
    /// Brings the database to where this program needs it, or says that it is not there, as
    /// [`Options::on_start`](crate::Options::on_start) asks: call it before the service listens. What
    /// a newer program applied is told and, where `options.ignore` has no `*:future`, refused.
    ///
    /// Errors: MIG-011 (pending, with `refuse` or `wait`), MIG-004, and those of [`up`](Self::up).
    pub async fn start(&self) -> Result<Started> {
        match self.options.on_start {
            OnStart::Apply => {
                let report = self.up(Target::Latest).await?;
                report.warnings.iter().for_each(|warning| self.tell.note(warning));
                let mut started = self.look().await?;
                started.applied = report.applied.into_iter().map(|ran| ran.script).collect();
                Ok(started)
            }
            OnStart::Wait => self.wait().await,
            OnStart::Refuse => {
                let started = self.look().await?;
                if started.pending.is_empty() { Ok(started) } else { Err(pending(&started)) }
            }
            OnStart::Ignore => {
                let started = self.look().await?;
                for script in &started.pending {
                    self.tell.note(&format!("{script} is not applied"));
                }
                Ok(started)
            }
        }
    }

    async fn wait(&self) -> Result<Started> {
        let clock = mainstay_core::clock::Clock::system();
        let until = clock.now() + self.options.lock_wait;
        let mut told = false;
        loop {
            let started = self.look().await?;
            if started.pending.is_empty() {
                return Ok(started);
            }
            if clock.now() >= until {
                return Err(pending(&started));
            }
            if !std::mem::replace(&mut told, true) {
                self.tell.tell(Told::Waiting);
            }
            clock.sleep(LOOK).await;
        }
    }

    /// How the database stands. Errors: MIG-004, and what `validate` finds of what was applied.
    async fn look(&self) -> Result<Started> {
        let found = self.validate().await?;
        let mut others = found.clone();
        others.problems.retain(|problem| problem.code != Code::MigrationPending);
        others.check()?;
        found.warnings.iter().for_each(|warning| self.tell.note(&warning.what));
        let Info { version, migrations, .. } = self.info().await?;
        let mut started = Started { version, ..Started::default() };
        for migration in migrations {
            match migration.state {
                State::Pending | State::Outdated => started.pending.push(migration.script),
                state if state.is_future() => {
                    self.tell.note(&format!("{} was applied by a newer program", migration.script));
                    started.unknown.push(migration.script);
                }
                _ => {}
            }
        }
        Ok(started)
    }
}

fn pending(started: &Started) -> Error {
    let n = started.pending.len();
    let (s, are) = if n == 1 { ("", "is") } else { ("s", "are") };
    Error::new(Code::MigrationPending, format!("{n} migration{s} {are} not applied"))
        .why(started.pending.join("\n"))
}
