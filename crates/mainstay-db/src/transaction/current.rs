//! Which transactions the running task has open: so that a statement past them is noticed, and a
//! second connection is refused where it could never be had.
//!
//! It goes with the task: what a closure spawns is not inside any more.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use mainstay_core::observe::{Finding, FindingKind};
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Place};

use super::open::{Open, Whole};
use crate::db::{Db, Shared};

tokio::task_local! {
    static CURRENT: Frame;
}

/// A transaction or savepoint whose closure runs. Those outside of it are behind its
/// [`Whole::outer`].
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    open: Arc<Open>,
    /// A part runs without a transaction on purpose, with this database's own handle: NOT_SUPPORTED.
    past: Option<Arc<Shared>>,
}

impl Frame {
    pub(crate) fn of(open: &Arc<Open>) -> Self {
        Self { open: Arc::clone(open), past: None }
    }

    /// Runs `work` inside.
    pub(crate) async fn run<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// As it is for a part that goes past the transactions on `shared` on purpose.
    pub(crate) fn past(self, shared: &Arc<Shared>) -> Self {
        Self { past: Some(Arc::clone(shared)), ..self }
    }

    /// This and those outside of it.
    fn chain(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(self), |frame| frame.open.whole.outer.as_ref())
    }
}

/// The innermost transaction of the task, or that of the handle where a task has been given one.
pub(crate) fn frame(db: &Db) -> Option<Frame> {
    CURRENT.try_with(Frame::clone).ok().or_else(|| db.transaction.as_ref().map(Frame::of))
}

/// Whether the running closure is that of a savepoint inside `open`.
pub(crate) fn is_inside(open: &Open) -> bool {
    let inside = |frame: &Frame| {
        let mut part = frame.open.savepoint.as_ref().map(|s| &s.parent);
        while let Some(parent) = part {
            if std::ptr::eq(Arc::as_ptr(parent), open) {
                return true;
            }
            part = parent.savepoint.as_ref().map(|s| &s.parent);
        }
        false
    };
    CURRENT.try_with(inside).unwrap_or(false)
}

/// A caller that waits for a second connection, until dropped: the connections that it keeps
/// meanwhile, of the pool it waits for, are counted, each once however many of its parts wait.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    kept: Vec<Arc<Open>>,
    /// How many are counted by this one, or none if it keeps none.
    pub(crate) held: Option<usize>,
}

impl Beside {
    /// `db` is about to have a connection from the pool that serves `reads`.
    pub(crate) fn new(db: &Db, reads: bool) -> Self {
        let mut kept: Vec<Arc<Open>> = Vec::new();
        let mut look = |frame: &Frame| {
            for open in frame.chain().map(|frame| &frame.open) {
                let known = kept.iter().any(|k| Arc::ptr_eq(&k.whole, &open.whole));
                if !known
                    && keeps(&open.whole, db, reads)
                    && open.check_open(open.whole.place).is_ok()
                {
                    kept.push(Arc::clone(open));
                }
            }
        };
        let _ = CURRENT.try_with(&mut look);
        if let Some(open) = &db.transaction {
            look(&Frame::of(open));
        }
        if kept.is_empty() {
            return Self::default();
        }
        let first = |open: &&Arc<Open>| open.whole.waiting.fetch_add(1, SeqCst) == 0;
        let held = kept.iter().filter(first).count();
        Self { kept, held: Some(held) }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        for open in &self.kept {
            open.whole.waiting.fetch_sub(1, SeqCst);
        }
    }
}

/// Whether the transaction has a connection of the pool that serves `reads` of `db`.
fn keeps(whole: &Whole, db: &Db, reads: bool) -> bool {
    let shared = &db.shared;
    Arc::ptr_eq(&whole.shared, shared)
        && std::ptr::eq(shared.pool(whole.access.read_only), shared.pool(reads))
}

/// A statement or a transaction goes to the pool at `place`, by its own handle: a finding (TX-010) if
/// the task has a transaction open on it.
pub(crate) fn look_past(db: &Db, place: Place) {
    let _ = CURRENT.try_with(|frame| {
        let on_purpose = frame.past.as_ref().is_some_and(|past| Arc::ptr_eq(past, &db.shared));
        let own = frame.chain().find(|f| Arc::ptr_eq(&f.open.whole.shared, &db.shared));
        if let Some(own) = own.filter(|_| !on_purpose) {
            let what = "a statement goes past the open transaction of its task, to the pool";
            tell(&own.open.whole, FindingKind::OuterHandle, Code::TxOuterHandle, what, place);
        }
    });
}

/// Tells the doctor of a call over the network that is about to be made at the caller's place: each
/// transaction that the task has open is a finding (TX-012), since its locks and its connection
/// wait for the other side. For HTTP clients and the like; `what` is such as `POST payments`, never
/// with anything secret. Costs nothing to speak of where none is open.
///
/// ```
/// async fn charge(cents: i64) {
///     mainstay_db::network_call("POST payments");
///     // ... and then the call
/// }
/// ```
#[track_caller]
pub fn network_call(what: &str) {
    let place = Place::here();
    let _ = CURRENT.try_with(|frame| {
        for open in frame.chain() {
            let what = format!("a call over the network inside a transaction: {what}");
            let (kind, code) = (FindingKind::NetworkCall, Code::TxNetworkCall);
            tell(&open.open.whole, kind, code, &what, place);
        }
    });
}

fn tell(whole: &Whole, kind: FindingKind, code: Code, what: &str, place: Place) {
    let error = Error::new(code, what.to_owned())
        .why(format!("the transaction was begun at {}", whole.place))
        .at(place);
    report(whole, kind, &error, place);
}

pub(crate) fn report(whole: &Whole, kind: FindingKind, error: &Error, place: Place) {
    let shared = &whole.shared;
    if shared.findings.is_new((whole.place, place)) {
        tracing::warn!("{}", error.report());
    }
    if shared.observer.is_active() {
        shared.observer.finding(&Finding {
            pool: &shared.name,
            kind,
            transaction: whole.id,
            begun: whole.place,
            place,
            scope: Scope::current().as_ref(),
            open: shared.clock.now().saturating_duration_since(whole.begun),
            report: error,
        });
    }
}
