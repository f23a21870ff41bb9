//! What a refused caller is told: the counts, who holds the connections, why none can be opened.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::clock::Tick;
use mainstay_core::{Code, Error, Place};

use crate::acquire::{Ask, Refused};
use crate::holder::InUse;
use crate::manage::Manage;
use crate::pool::Status;
use crate::shared::Shared;

/// How many groups of holders a message names.
const GROUPS_MAX: usize = 3;

pub(crate) fn refused<M: Manage>(
    shared: &Shared<M>,
    refused: Refused,
    ask: &Ask,
    begun: Tick,
) -> Error {
    let name = &shared.name;
    match refused {
        Refused::Closed => Error::new(Code::PoolClosed, format!("pool `{name}` is closed")),
        Refused::Down(error) => {
            let what = format!("no connection in pool `{name}`: {}", error.what());
            Error::new(Code::PoolDown, what).cause(Shown(error))
        }
        Refused::Full => {
            shared.tallies.shed();
            let what = format!("{} callers wait already", shared.options.max_waiting);
            Error::new(Code::PoolQueueFull, what).why(shared.holders())
        }
        Refused::Shed => {
            shared.tallies.shed();
            shed(shared, begun)
        }
        Refused::TimedOut => {
            shared.tallies.timed_out();
            timed_out(shared, ask, begun)
        }
    }
    .at(ask.place)
}

/// Of one who holds `held` and asks for one more, where that could never come.
pub(crate) fn deadlocked<M: Manage>(shared: &Shared<M>, held: usize, ask: &Ask) -> Error {
    let max_size = shared.hub.look().max_size;
    let what = format!(
        "a second connection of pool `{}` is asked for while {held} {} held, and none can come free",
        shared.name,
        if held == 1 { "is" } else { "are" },
    );
    let why = match max_size {
        1 => "the pool has one connection, and the caller holds it".to_owned(),
        _ => format!(
            "all {max_size} are held by callers that wait for another\n{}",
            shared.holders()
        ),
    };
    Error::new(Code::PoolDeadlock, what).why(why).at(ask.place)
}

fn shed<M: Manage>(shared: &Shared<M>, begun: Tick) -> Error {
    let Status { waiting, .. } = shared.status();
    let waited = rounded(shared.exact().since(begun));
    let target = shared.options.shed_target.unwrap_or_default();
    let what = format!(
        "refused after {waited}, since pool `{}` is overloaded ({waiting} waiting)",
        shared.name
    );
    Error::new(Code::PoolShed, what).why(format!(
        "the queue has not been empty for 4 x {}, and whoever waits for more than that is refused\n{}",
        rounded(target),
        shared.holders()
    ))
}

fn timed_out<M: Manage>(shared: &Shared<M>, ask: &Ask, begun: Tick) -> Error {
    let now = shared.exact();
    let status = shared.status();
    let failure = shared.hub.look().failure.clone();
    let Status { max_size, idle, in_use, connecting, waiting, suspended, .. } = status;
    let waited = rounded(now.since(begun));
    let opening =
        if connecting > 0 { format!(", {connecting} being opened") } else { String::new() };
    let suspension = if suspended { "; the pool is suspended" } else { "" };
    let error = Error::new(
        Code::PoolTimeout,
        format!(
            "no connection within {waited} (max {max_size}: {in_use} in use, {idle} idle{opening}, {waiting} waiting){suspension}"
        ),
    );
    if suspended {
        return error.fix("resume the pool with resume()");
    }
    let held = shared.in_use(now);
    let mut why = describe(&held);
    // A task that waits for itself is the one case in which more time would never have helped.
    let own = shared.askers.held_by(ask.asker).and_then(|slot| {
        let cell = shared.hub.slots.lock(slot);
        cell.holder.as_ref().filter(|h| h.asker == ask.asker).map(|h| h.place)
    });
    if let Some(first) = own {
        why += &format!("\nthis task holds one itself, since {first}, and waits for another");
    }
    let error = match failure {
        Some(failure) => error.cause(Shown(failure.error)),
        None => error,
    };
    let in_transaction = held.iter().filter(|h| h.idle.is_some() && h.transaction.is_some());
    match own {
        Some(_) => error.why(why).fix(Code::PoolNested.fix()),
        None if in_transaction.count() * 2 >= held.len().max(1) => error.why(why).fix(
            "move what is not SQL, such as a call to another service, out of the transaction, or raise pool.max_size",
        ),
        None => error.why(why),
    }
}

impl<M: Manage> Shared<M> {
    /// The holders grouped by place, scope and what they do, the largest group first.
    pub(crate) fn holders(&self) -> String {
        describe(&self.in_use(self.exact()))
    }
}

fn describe(held: &[InUse]) -> String {
    let mut groups: BTreeMap<(Place, Option<&str>, &str), Vec<Duration>> = BTreeMap::new();
    for one in held {
        let scope = one.scope.as_ref().map(mainstay_core::scope::Scope::name);
        groups.entry((one.place, scope, one.state())).or_default().push(one.held);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, held)| std::cmp::Reverse((held.len(), held.iter().max().copied())));
    let rest = groups.len().saturating_sub(GROUPS_MAX);
    let mut lines: Vec<String> = groups
        .into_iter()
        .take(GROUPS_MAX)
        .map(|((place, scope, state), held)| {
            let by = scope.map_or_else(|| place.to_string(), |s| format!("{s} ({place})"));
            let least = held.iter().min().copied().unwrap_or_default();
            let verb = if held.len() == 1 { "is" } else { "are" };
            format!("{} {verb} held for over {} by {by}, {state}", held.len(), rounded(least))
        })
        .collect();
    if rest > 0 {
        lines.push(format!("and {rest} other groups hold connections"));
    }
    if lines.is_empty() {
        lines.push("nobody holds one: connections are being opened or put right".to_owned());
    }
    lines.join("\n")
}

/// Milliseconds below a second, tenths of a second above.
pub(crate) fn rounded(d: Duration) -> String {
    match d.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        // Down, since it is read as "over".
        ms => format!("{:.1} s", (ms / 100) as f64 / 10.0).replace(".0 s", " s"),
    }
}

/// An error that several callers are told of.
#[derive(Debug)]
struct Shown(Arc<Error>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Shown {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
