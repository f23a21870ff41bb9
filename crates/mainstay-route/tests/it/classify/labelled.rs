//! The labelled statements. They need no server; the benchmark reads them too.

use mainstay_db::Engine;
use mainstay_route::Where;

/// A statement and what is true of it.
#[derive(Debug)]
pub struct Labelled {
    pub to: Where,
    /// `write`: refused by what only reads. `mysql`: unknown to MariaDB.
    pub note: &'static str,
    pub sql: String,
}

pub fn corpus(engine: Engine) -> Vec<Labelled> {
    let text = match engine {
        Engine::MySql => include_str!("../corpus/mysql.sql"),
        Engine::Postgres | Engine::Sqlite => include_str!("../corpus/postgres.sql"),
    };
    let mut all: Vec<Labelled> = Vec::new();
    let label = |line: &'static str| match line.strip_prefix("-- ")?.trim_end().split_once(' ') {
        Some(("primary", note @ "write")) => Some((Where::Primary, note)),
        Some(("replica", note @ "mysql")) => Some((Where::Replica, note)),
        None if line == "-- primary\n" => Some((Where::Primary, "")),
        None if line == "-- replica\n" => Some((Where::Replica, "")),
        _ => None,
    };
    // A statement may begin with a comment that looks like a label: it is one only where a statement has ended.
    let mut fresh = true;
    for line in text.split_inclusive('\n') {
        match label(line) {
            Some((to, note)) if fresh => {
                all.push(Labelled { to, note, sql: String::new() });
                fresh = false;
            }
            _ => {
                if let Some(last) = all.last_mut() {
                    last.sql.push_str(line);
                    fresh = true;
                }
            }
        }
    }
    for one in &mut all {
        one.sql.pop();
    }
    all
}
