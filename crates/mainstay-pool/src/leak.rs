//! Telling of connections that are held as they should not be: leaks, transactions that lie idle, and
//! tasks that hold one and ask for another.

use std::time::Duration;

use mainstay_core::clock::Tick;
use mainstay_core::observe::{Hold, HoldKind};
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Place};

use crate::holder::{Holder, InUse, who};
use crate::manage::Manage;
use crate::nested::Asker;
use crate::report::rounded;
use crate::shared::Shared;

/// Looks at every connection that is out, and reports each that nobody has used for `leak_after`, or
/// with an open transaction for `transaction_idle_after`, once. A statement under way is not a leak,
/// however long it takes: its caller waits for it.
pub(crate) fn look<M: Manage>(shared: &Shared<M>, now: Tick) {
    let (leak_after, idle_after) =
        (shared.options.leak_after, shared.options.transaction_idle_after);
    if leak_after.is_none() && idle_after.is_none() {
        return;
    }
    let used = shared.hub.look().slots_used();
    for slot in 0..used {
        let found = {
            let mut cell = shared.hub.slots.lock(slot);
            let Some((held, idle)) = cell.in_use(now).and_then(|h| h.idle.map(|idle| (h, idle)))
            else {
                continue;
            };
            let Some(holder) = cell.holder.as_mut() else { continue };
            let passed = |limit: Option<Duration>| limit.is_some_and(|limit| idle >= limit);
            let is_new = |told: &mut bool| !std::mem::replace(told, true);
            let lies_open = held.transaction.is_some() && passed(idle_after);
            (
                lies_open && is_new(&mut holder.idle_told),
                passed(leak_after) && is_new(&mut holder.leak_told),
                held,
            )
        };
        let (is_idle, leaks, held) = found;
        if is_idle {
            tell(shared, HoldKind::IdleInTransaction, &held, None, &idle_report(shared, &held));
        }
        if leaks {
            report(shared, &held, leak_after.unwrap_or_default());
        }
    }
}

/// Of a transaction that is open and not used.
fn idle_report<M: Manage>(shared: &Shared<M>, held: &InUse) -> Error {
    let what = format!(
        "a transaction on pool `{}`, of {}, was not used for {}",
        shared.name,
        held.who(),
        rounded(held.idle.unwrap_or_default()),
    );
    let mut why = format!("open for {}", rounded(held.transaction.unwrap_or_default()));
    if let Some(last) = &held.last {
        why += &format!("\nlast: {}", shortened(last.as_str()));
    }
    let error = Error::new(Code::TxIdle, what).why(why).at(held.place);
    tracing::warn!("{}", error.report());
    error
}

fn report<M: Manage>(shared: &Shared<M>, leaked: &InUse, leak_after: Duration) {
    let what = format!(
        "a connection of pool `{}` is held by {} and was not used for {}",
        shared.name,
        leaked.who(),
        rounded(leaked.idle.unwrap_or(leak_after)),
    );
    let mut why = format!("held for {}, {}", rounded(leaked.held), leaked.state());
    if let Some(age) = leaked.transaction {
        why += &format!(" that is open for {}", rounded(age));
    }
    if let Some(last) = &leaked.last {
        why += &format!("\nlast: {}", shortened(last.as_str()));
    }
    let error = Error::new(Code::PoolLeak, what).why(why).at(leaked.place);
    tracing::warn!("{}", error.report());
    tell(shared, HoldKind::Leak, leaked, None, &error);
}

/// What was reported as a leak came back.
pub(crate) fn returned<M: Manage>(shared: &Shared<M>, id: u64, holder: &Holder, now: Tick) {
    let held = now.since(holder.since);
    let what = format!(
        "a connection of pool `{}` that looked like a leak came back after {}",
        shared.name,
        rounded(held)
    );
    let who = who(holder.scope.as_ref(), holder.place);
    let error = Error::new(Code::PoolLeakReturned, what)
        .why(format!("it was held by {who}"))
        .at(holder.place);
    tracing::warn!("{}", error.report());
    if shared.observer.is_active() {
        shared.observer.hold(&Hold {
            pool: &shared.name,
            kind: HoldKind::LeakReturned,
            connection: id,
            place: holder.place,
            scope: holder.scope.as_ref(),
            held,
            second: None,
            report: &error,
        });
    }
}

/// Whether `asker` has a connection that it does nothing with at this moment: then its asking for
/// another, from `place`, is told. One with a statement under way belongs to another branch of the
/// same task, such as of a `join!`.
pub(crate) fn check_nested<M: Manage>(
    shared: &Shared<M>,
    asker: Asker,
    place: Place,
    scope: Option<&Scope>,
) {
    let Some(slot) = shared.askers.held_by(asker) else { return };
    let now = shared.now();
    let first = {
        let cell = shared.hub.slots.lock(slot);
        let is_theirs = cell.holder.as_ref().is_some_and(|h| h.asker == asker);
        cell.in_use(now).filter(|held| is_theirs && held.idle.is_some())
    };
    if let Some(first) = first {
        let what = format!(
            "a task asks pool `{}` for a second connection while it holds one",
            shared.name
        );
        let of = scope.map(|s| format!("{}: ", s.name())).unwrap_or_default();
        let why = format!(
            "{of}the first is held by {}, {}\n{} such tasks at once wait for each other",
            first.who(),
            first.state(),
            shared.hub.look().max_size,
        );
        let error = Error::new(Code::PoolNested, what).why(why).at(place);
        if shared.tallies.nested_told.is_new((first.place, place)) {
            tracing::warn!("{}", error.report());
        }
        tell(shared, HoldKind::Nested, &first, Some(place), &error);
    }
}

fn tell<M: Manage>(
    shared: &Shared<M>,
    kind: HoldKind,
    held: &InUse,
    second: Option<Place>,
    report: &Error,
) {
    if shared.observer.is_active() {
        shared.observer.hold(&Hold {
            pool: &shared.name,
            kind,
            connection: held.connection,
            place: held.place,
            scope: held.scope.as_ref(),
            held: held.held,
            second,
            report,
        });
    }
}

/// A statement's beginning, on one line.
pub(crate) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(CHARS_MAX) {
        line.truncate(at);
        line += " ...";
    }
    line
}
