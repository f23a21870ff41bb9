//! What a service does about its migrations when it starts.

use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use crate::migrator::{Migrator, todo, unknown};
use crate::options::OnStart;
use crate::plan::{Plan, Target};
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
                Ok(Started {
                    applied: report.applied.into_iter().map(|ran| ran.script).collect(),
                    pending: Vec::new(),
                    unknown: report.unknown,
                    version: report.version,
                })
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
        let opened = self.open().await?;
        let target = Target::Latest;
        let inputs = self.inputs(&opened, &target);
        let plan = Plan::make(&inputs)?;
        self.checked(&plan, &opened.progress)?.iter().for_each(|warning| self.tell.note(warning));
        let scripts = todo(&plan, &opened.progress).into_iter().filter_map(|item| item.script);
        Ok(Started {
            applied: Vec::new(),
            pending: scripts.map(|script| script.script.clone()).collect(),
            unknown: unknown(&plan),
            version: plan.current.as_ref().map(ToString::to_string),
        })
    }
}

fn pending(started: &Started) -> Error {
    let n = started.pending.len();
    let (s, are) = if n == 1 { ("", "is") } else { ("s", "are") };
    Error::new(Code::MigrationPending, format!("{n} migration{s} {are} not applied"))
        .why(started.pending.join("\n"))
}
