//! Which transactions the running task has open: so that a statement past them is noticed, and a
//! second connection is refused where it could never be had.
//!
//! It goes with the task: what a closure spawns is not inside any more.

use std::sync::Arc;

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
    pub(crate) open: Arc<Open>,
    /// A part that runs without it on purpose: NOT_SUPPORTED.
    pub(crate) suspended: bool,
}

impl Frame {
    /// Runs `work` inside.
    pub(crate) async fn run<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// This and those outside of it.
    fn chain(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(self), |frame| frame.open.whole.outer.as_ref())
    }
}

/// The innermost.
pub(crate) fn frame() -> Option<Frame> {
    CURRENT.try_with(Frame::clone).ok()
}

/// Whether the running closure is that of a savepoint inside `open`.
pub(crate) fn is_inside(open: &Open) -> bool {
    let inside = |frame: &Frame| {
        let mut part = frame.open.savepoint.as_ref().map(|s| &s.parent);
        while let Some(parent) = part {
            if std::ptr::eq(&**parent, open) {
                return true;
            }
            part = parent.savepoint.as_ref().map(|s| &s.parent);
        }
        false
    };
    CURRENT.try_with(inside).unwrap_or(false)
}

/// How many connections of the pool that serves `reads` on `shared` are held by `frame` and those
/// outside of it.
pub(crate) fn held(frame: Option<&Frame>, shared: &Shared, reads: bool) -> usize {
    let pool = std::ptr::from_ref(shared.pool(reads));
    let of_pool = |whole: &Whole| {
        std::ptr::eq(&*whole.shared, shared)
            && std::ptr::eq(shared.pool(whole.access.read_only), pool)
    };
    frame.map_or(0, |frame| frame.chain().filter(|f| of_pool(&f.open.whole)).count())
}

/// A connection is about to be had from the pool at `place`, by its own handle: told as a finding
/// (TX-010) if the task has a transaction open on it. Returns how many connections of that pool it
/// holds.
pub(crate) fn beside(db: &Db, reads: bool, place: Place) -> usize {
    let look = |frame: &Frame| {
        let own = frame.chain().find(|f| std::ptr::eq(&*f.open.whole.shared, &*db.shared));
        if let Some(own) = own.filter(|f| !f.suspended) {
            let what = "a statement goes past the open transaction of its task, to the pool";
            tell(&own.open.whole, FindingKind::OuterHandle, Code::TxOuterHandle, what, place);
        }
        held(Some(frame), &db.shared, reads)
    };
    CURRENT.try_with(look).unwrap_or(0)
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
        for open in frame.chain().filter(|f| !f.suspended) {
            let what = format!("a call over the network inside a transaction: {what}");
            let (kind, code) = (FindingKind::NetworkCall, Code::TxNetworkCall);
            tell(&open.open.whole, kind, code, &what, place);
        }
    });
}

pub(crate) fn tell(whole: &Whole, kind: FindingKind, code: Code, what: &str, place: Place) {
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
