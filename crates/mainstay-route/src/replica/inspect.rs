//! How a cluster stands, for whoever shows it.

use mainstay_core::inspect::{Fact, Health, Inspect, Snapshot, Table};

use super::cluster::{Cluster, ServerStatus};
use super::node::Role;

impl Inspect for Cluster {
    /// Bad without a primary; degraded while a server is out.
    fn inspect(&self) -> Snapshot {
        let servers = self.status();
        let count = |role| servers.iter().filter(|server| server.role == role).count();
        let handles = self.handles();
        let row = |(server, db): (&ServerStatus, &Option<mainstay_db::Db>)| {
            let status = db.as_ref().map(mainstay_db::Db::status);
            vec![
                server.name.to_string(),
                format!("{:?}", server.role).to_lowercase(),
                db.as_ref().map(mainstay_db::Db::place).unwrap_or_default(),
                server.lag.map(|lag| format!("{:.3} s", lag.as_secs_f64())).unwrap_or_default(),
                server.position.clone().unwrap_or_default(),
                status.as_ref().map(|status| status.in_use.to_string()).unwrap_or_default(),
                status.as_ref().map(|status| status.idle.to_string()).unwrap_or_default(),
                server.why.as_deref().unwrap_or_default().to_owned(),
            ]
        };
        let lag = servers.iter().filter(|s| s.role == Role::Replica).filter_map(|s| s.lag).max();
        let (primaries, out) = (count(Role::Primary), count(Role::Out));
        let mut snapshot = Snapshot::new("cluster", self.name())
            .fact(Fact::count("replicas", count(Role::Replica)))
            .fact(Fact::count("out", out))
            .fact(Fact::seconds("lag", lag.unwrap_or_default()))
            .table(Table {
                title: "servers",
                columns: vec![
                    "name", "role", "place", "lag", "position", "in use", "idle", "why out",
                ],
                rows: servers.iter().zip(&handles).map(row).collect(),
            });
        if primaries == 0 {
            snapshot = snapshot.health(Health::Bad).note("no server takes writes");
        } else if out > 0 {
            snapshot = snapshot.health(Health::Degraded);
        }
        if let Some(primary) = servers.iter().find(|server| server.role == Role::Primary) {
            let waits = &primary.synchronous;
            snapshot = snapshot.note(if waits.is_empty() {
                "no standby is synchronous: COMMIT waits for none, whatever Durability is asked for"
                    .to_owned()
            } else {
                format!("a COMMIT that waits for standbys waits for: {waits}")
            });
        }
        snapshot
    }
}
