//! What a refused caller is told: the counts, who holds the connections, why none can be opened.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Place};

use crate::acquire::Refused;
use crate::core::Holder;
use crate::manage::Manage;
use crate::pool::{Shared, Status};

/// How many groups of holders a message names.
const GROUPS_MAX: usize = 3;

pub(crate) fn refused<M: Manage>(
    shared: &Shared<M>,
    refused: Refused,
    place: Place,
    begun: Instant,
) -> Error {
    let name = &shared.name;
    match refused {
        Refused::Closed => Error::new(Code::PoolClosed, format!("pool `{name}` is closed")),
        Refused::Down(error) => {
            let what = format!("no connection in pool `{name}`: {}", error.what());
            Error::new(Code::PoolDown, what).cause(Shown(error))
        }
        Refused::Full => {
            let what = format!("{} callers wait already", shared.options.max_waiting);
            Error::new(Code::PoolQueueFull, what).why(shared.holders())
        }
        Refused::TimedOut => timed_out(shared, begun),
    }
    .at(place)
}

fn timed_out<M: Manage>(shared: &Shared<M>, begun: Instant) -> Error {
    let now = shared.clock.now();
    let (status, failure) = {
        let core = shared.lock();
        (shared.status(&core), core.failure.clone())
    };
    let Status { max_size, idle, in_use, connecting, waiting, .. } = status;
    let waited = rounded(now - begun);
    let opening =
        if connecting > 0 { format!(", {connecting} being opened") } else { String::new() };
    let error = Error::new(
        Code::PoolTimeout,
        format!(
            "no connection within {waited} (max {max_size}: {in_use} in use, {idle} idle{opening}, {waiting} waiting)"
        ),
    );
    match failure {
        Some(failure) => error.cause(Shown(failure.error)),
        None => error.why(shared.holders()),
    }
}

impl<M: Manage> Shared<M> {
    /// The holders grouped by place and scope, the largest group first.
    pub(crate) fn holders(&self) -> String {
        let now = self.clock.now();
        let holders: Vec<Holder> = self.lock().holders().cloned().collect();
        describe(&holders, now)
    }
}

fn describe(holders: &[Holder], now: Instant) -> String {
    let mut groups: BTreeMap<(Place, Option<&str>), Vec<Duration>> = BTreeMap::new();
    for holder in holders {
        let scope = holder.scope.as_ref().map(Scope::name);
        let held = now.saturating_duration_since(holder.since);
        groups.entry((holder.place, scope)).or_default().push(held);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, held)| std::cmp::Reverse((held.len(), held.iter().max().copied())));
    let rest = groups.len().saturating_sub(GROUPS_MAX);
    let mut lines: Vec<String> = groups
        .into_iter()
        .take(GROUPS_MAX)
        .map(|((place, scope), held)| {
            let by = scope.map_or_else(|| place.to_string(), |s| format!("{s} ({place})"));
            let longest = held.iter().max().copied().unwrap_or_default();
            let verb = if held.len() == 1 { "is" } else { "are" };
            format!("{} {verb} held by {by}, the longest for {}", held.len(), rounded(longest))
        })
        .collect();
    if rest > 0 {
        lines.push(format!("and {rest} other places hold connections"));
    }
    if lines.is_empty() {
        lines.push("nobody holds one: connections are being opened or put right".to_owned());
    }
    lines.join("\n")
}

/// Milliseconds below a second, tenths of a second above.
fn rounded(d: Duration) -> String {
    match d.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms => format!("{:.1} s", ms as f64 / 1000.0).replace(".0 s", " s"),
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
