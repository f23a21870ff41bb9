//! What is told while a change is made, for whoever shows it.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::Error;
use serde::Serialize;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Told<'a> {
    /// A step begins.
    Step {
        /// What it does.
        title: &'a str,
        /// Which, from 1.
        n: usize,
        /// Of how many in its phase.
        steps: usize,
    },
    /// A batch of the backfill is done.
    Progress(Progress),
    /// A lock was not had in time: it is tried again.
    Again {
        /// What is tried.
        title: &'a str,
        /// Which try comes next, from 2.
        attempt: u32,
        /// After how long.
        pause: Duration,
        /// What stood in the way.
        why: &'a Error,
    },
    /// Something was put right or noticed on the way.
    Note(&'a str),
}

/// How far the backfill is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Rows that were gone through.
    pub rows_done: u64,
    /// About how many there are: the server's estimate when the change began.
    pub rows_total: u64,
    /// Of this run, its pauses included.
    pub rows_per_s: f64,
    /// About how long it will take still.
    #[serde(rename = "eta_s", serialize_with = "as_seconds")]
    pub eta: Option<Duration>,
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn as_seconds<S: serde::Serializer>(
    eta: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match eta {
        Some(eta) => serializer.serialize_some(&eta.as_secs()),
        None => serializer.serialize_none(),
    }
}

/// Who is told.
#[derive(Clone)]
pub(crate) struct Tell(Arc<dyn Fn(Told<'_>) + Send + Sync>);

impl Tell {
    pub(crate) fn new(tell: impl Fn(Told<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, told: Told<'_>) {
        (self.0)(told);
    }

    pub(crate) fn note(&self, text: &str) {
        self.tell(Told::Note(text));
    }
}

impl Default for Tell {
    /// The log.
    fn default() -> Self {
        Self::new(|told| match told {
            Told::Step { title, n, steps } => tracing::info!("step {n} of {steps}: {title}"),
            Told::Progress(p) => {
                tracing::debug!(rows_done = p.rows_done, rows_total = p.rows_total, "backfill");
            }
            Told::Again { title, attempt, pause, why } => {
                tracing::warn!("{title}: attempt {attempt} in {pause:.1?}, since {why}");
            }
            Told::Note(text) => tracing::warn!("{text}"),
        })
    }
}

impl std::fmt::Debug for Tell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tell")
    }
}
