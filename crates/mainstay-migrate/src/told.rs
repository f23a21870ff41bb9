//! What is told while migrations run, for whoever shows it.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::Error;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Told<'a> {
    /// Another process migrates; this one waits for it.
    Waiting,
    /// A migration begins.
    Begun {
        /// Which.
        name: &'a str,
        /// How many statements it has.
        statements: usize,
        /// Those that an earlier run had done already.
        done: usize,
    },
    /// One of its statements is done.
    Statement {
        /// Which, from 1.
        n: usize,
        /// Of how many.
        statements: usize,
    },
    /// A lock was not had in time: it is tried again.
    Again {
        /// What is tried.
        name: &'a str,
        /// Which try comes next, from 2.
        attempt: u32,
        /// After how long.
        pause: Duration,
        /// What stood in the way.
        why: &'a Error,
    },
    /// Something was put right or noticed on the way.
    Note(&'a str),
    /// A migration is done.
    Done {
        /// Which.
        name: &'a str,
        /// How long it took.
        took: Duration,
    },
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
            Told::Waiting => tracing::info!("another process migrates: waiting for it"),
            Told::Begun { name, statements, done: 0 } => {
                tracing::info!(statements, "migrating {name}");
            }
            Told::Begun { name, statements, done } => {
                tracing::info!(statements, done, "going on with {name}");
            }
            Told::Statement { n, statements } => tracing::debug!("statement {n} of {statements}"),
            Told::Again { name, attempt, pause, why } => {
                tracing::warn!("{name}: attempt {attempt} in {pause:.1?}, since {why}");
            }
            Told::Note(text) => tracing::warn!("{text}"),
            Told::Done { name, took } => tracing::info!("migrated {name} in {took:.1?}"),
        })
    }
}

impl std::fmt::Debug for Tell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tell")
    }
}
