//! How each database and each of its servers stands, for whoever shows it.

use std::fmt::{self, Write};

use mainstay_core::inspect::{Fact, Health, Inspect, Snapshot, Table};

use super::databases::{Databases, Servers};
use crate::replica::{Role, ServerStatus};

/// A database of a topology as it stands. Its `Display` is a line, with one below for each server of several.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// `main`, or the shard's name.
    pub name: String,
    /// What it is, without user and password; of several servers the one that was configured as the primary.
    pub place: String,
    /// How many of the 4,096 logical shards are its own; `None` of what is no shard in the map.
    pub logical: Option<usize>,
    /// Its servers, where it has replicas.
    pub servers: Vec<ServerStatus>,
    /// Why work for it fails at the moment, as far as that is known without asking it.
    pub why: Option<String>,
}

impl Databases {
    /// All databases, `main` first. It asks no server: a database without replicas may be down without a word here.
    pub fn status(&self) -> Vec<Status> {
        let map = self.shards().map();
        let of = |(name, one): (&str, &super::databases::One)| {
            let servers = one.cluster().map(crate::Cluster::status).unwrap_or_default();
            let writes = servers.is_empty() || servers.iter().any(|s| s.role == Role::Primary);
            let why = match &one.servers {
                Servers::Late(late) if late.cluster().is_none() => Some(late.why()),
                _ if !writes => Some("it has no primary".to_owned()),
                _ => None,
            };
            let logical = map.shard(name).map(|_| map.logical_count(name));
            Status { name: name.to_owned(), place: one.db.place(), logical, servers, why }
        };
        self.all().map(of).collect()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logical = self.logical.map(|n| format!("{n} of 4096")).unwrap_or_default();
        let mut line = format!("{:<12} {:<36} {logical}", self.name, self.place);
        if let Some(why) = &self.why {
            write!(line, "  out: {why}")?;
        }
        f.write_str(line.trim_end())?;
        for server in &self.servers {
            let mut line = format!("\n  {:<8} {}", role(server.role), server.name);
            if let Some(lag) = server.lag {
                write!(line, ", {} ms behind", lag.as_millis())?;
            }
            if let Some(why) = &server.why {
                write!(line, ": {why}")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl Inspect for Databases {
    fn inspect(&self) -> Snapshot {
        let all = self.status();
        let out = all.iter().filter(|status| status.why.is_some()).count();
        let name = if self.is_sharded() { "sharded" } else { "main" };
        let mut snapshot = Snapshot::new("databases", name)
            .fact(Fact::count("databases", all.len()))
            .fact(Fact::count("out", out));
        if out > 0 {
            snapshot = snapshot.health(Health::Degraded);
        }
        let mut rows = Vec::new();
        for status in &all {
            let logical = status.logical.map(|n| n.to_string()).unwrap_or_default();
            let why = status.why.clone().unwrap_or_default();
            if status.servers.is_empty() {
                let cells = [&status.name, &status.place, "", &logical, "", &why];
                rows.push(cells.map(str::to_owned).to_vec());
            }
            for server in &status.servers {
                let lag = server.lag.map(|lag| format!("{} ms", lag.as_millis()));
                let why = server.why.as_deref().map_or_else(|| why.clone(), str::to_owned);
                let (role, lag) = (role(server.role), lag.unwrap_or_default());
                let cells = [&status.name, &*server.name, role, &logical, &lag, &why];
                rows.push(cells.map(str::to_owned).to_vec());
            }
        }
        snapshot.table(Table {
            title: "servers",
            columns: vec!["database", "place", "role", "logical", "behind", "why"],
            rows,
        })
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
        Role::Out => "out",
    }
}

/// Of a place, where: `127.0.0.1:5432` of `PostgreSQL at 127.0.0.1:5432`.
pub(super) fn short(place: &str) -> &str {
    place.split_once(" at ").map_or(place, |(_, at)| at)
}
