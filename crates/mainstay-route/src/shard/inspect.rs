//! How the shards stand, for whoever shows it.

use mainstay_core::inspect::{Fact, Inspect, Snapshot, Table};

use super::handle::Shards;

impl Inspect for Shards {
    fn inspect(&self) -> Snapshot {
        let map = self.map();
        let row = |(name, db): (std::sync::Arc<str>, mainstay_db::Db)| {
            let (region, status) = (map.shard(&name).and_then(|s| s.region.clone()), db.status());
            vec![
                name.to_string(),
                region.unwrap_or_default(),
                map.logical_count(&name).to_string(),
                db.place(),
                status.in_use.to_string(),
                status.idle.to_string(),
            ]
        };
        let rows: Vec<_> = self.all().into_iter().map(row).collect();
        let mut snapshot = Snapshot::new("shards", format!("epoch {}", map.epoch()))
            .fact(Fact::count("shards", rows.len()));
        snapshot.tables.push(Table {
            title: "shards",
            columns: vec!["name", "region", "logical", "place", "in use", "idle"],
            rows,
        });
        snapshot
    }
}
