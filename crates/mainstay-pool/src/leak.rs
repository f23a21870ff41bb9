//! Telling of connections that are held as they should not be: leaks, and tasks that hold one and
//! ask for another.

use std::sync::{Mutex, PoisonError};
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

/// Pairs of places that were told of; beyond, all are told anew.
const PAIRS_MAX: usize = 256;

/// The pairs of places whose nested acquires were logged: once each is enough for a person.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<(Place, Place)>>);

impl Told {
    fn is_new(&self, pair: (Place, Place)) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(&pair) {
            return false;
        }
        if told.len() >= PAIRS_MAX {
            told.clear();
        }
        told.push(pair);
        true
    }
}

/// Looks at every connection that is out, and reports each that nobody has used for `leak_after`,
/// once. A statement under way is not a leak, however long it takes: its caller waits for it.
pub(crate) fn look<M: Manage>(shared: &Shared<M>, now: Tick) {
    let Some(leak_after) = shared.options.leak_after else { return };
    let used = shared.hub.look().slots_used();
    for slot in 0..used {
        let leaked = {
            let mut cell = shared.hub.slots.lock(slot);
            let leaked = cell.in_use(now).filter(|h| h.idle.is_some_and(|idle| idle >= leak_after));
            let is_new = |holder: &mut Holder| !std::mem::replace(&mut holder.leak_told, true);
            leaked.filter(|_| cell.holder.as_mut().is_some_and(is_new))
        };
        if let Some(leaked) = leaked {
            report(shared, &leaked, leak_after);
        }
    }
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
