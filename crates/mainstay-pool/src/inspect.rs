//! What a pool shows of itself.

use mainstay_core::inspect::{Fact, Health, Inspect, Snapshot, Table};

use crate::advice::Server;
use crate::holder::InUse;
use crate::leak::shortened;
use crate::manage::Manage;
use crate::pool::Pool;
use crate::report::rounded;

/// Holders listed; those held for longest come first.
const ROWS_MAX: usize = 100;

impl<M: Manage> Inspect for Pool<M> {
    fn inspect(&self) -> Snapshot {
        let (status, usage, failure) = (self.status(), self.usage(), self.failure());
        let leak_after = self.options().leak_after;
        let held = self.in_use();
        let leaks = held.iter().filter(|h| h.idle.zip(leak_after).is_some_and(|(i, l)| i >= l));
        let leaks = leaks.count();
        let health = match &failure {
            _ if status.closed => Health::Bad,
            Some(_) if status.open == 0 => Health::Bad,
            Some(_) if status.waiting > 0 => Health::Degraded,
            _ if leaks > 0 || status.suspended || status.waiting > 0 => Health::Degraded,
            _ => Health::Good,
        };
        let mut snapshot = Snapshot::new("pool", self.name())
            .health(health)
            .fact(Fact::count("max", status.max_size))
            .fact(Fact::count("in use", status.in_use))
            .fact(Fact::count("idle", status.idle))
            .fact(Fact::count("being opened", status.connecting))
            .fact(Fact::count("waiting", status.waiting))
            .fact(Fact::count("suspected leaks", leaks))
            .fact(Fact::seconds("wait p99", usage.wait_p99))
            .fact(Fact::seconds("held on average", usage.mean_held()))
            .fact(Fact { name: "busy on average", value: usage.busy(), unit: "1" })
            .fact(Fact::count("timed out", usage.timeouts as usize))
            .fact(Fact::count("shed", usage.shed as usize))
            .table(Table {
                title: "in use",
                columns: vec!["connection", "held by", "held for", "state", "last statement"],
                rows: held.iter().take(ROWS_MAX).map(row).collect(),
            });
        if let Some(error) = failure {
            snapshot = snapshot.note(format!("connects fail: {error}"));
        }
        self.advice(&Server::default()).lines.into_iter().fold(snapshot, Snapshot::note)
    }
}

fn row(held: &InUse) -> Vec<String> {
    vec![
        held.connection.to_string(),
        held.who(),
        rounded(held.held),
        held.state().to_owned(),
        held.last.as_ref().map(|w| shortened(w.as_str())).unwrap_or_default(),
    ]
}
