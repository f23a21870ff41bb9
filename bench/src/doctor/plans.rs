//! What is said of sixty plans on three databases, beside what an expert would say.

use super::advice::judged::{self, MARIADB, ON_MARIADB, ON_POSTGRES, ON_SQLITE, POSTGRES, SQLITE};
use super::advice::statements;
use super::share;
use crate::report::Case;
use crate::servers::{Engine, connect, fresh};

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    let (mut right, mut said, mut wanted) = (0, 0, 0);
    for (engine, schema, labels) in [
        (Engine::Postgres, POSTGRES, ON_POSTGRES),
        (Engine::MariaDb, MARIADB, ON_MARIADB),
        (Engine::Sqlite, SQLITE, ON_SQLITE),
    ] {
        let database = fresh(engine).await;
        let db = connect(&database).await;
        statements::run(&db, schema).await;
        let own = judged::tally(&db, labels).await;
        cases.extend(of(&format!("{} plans, {}", labels.len(), engine.name()), own));
        (right, said, wanted) = (right + own.0, said + own.1, wanted + own.2);
    }
    cases.extend(of("all plans", (right, said, wanted)));
    cases
}

fn of(name: &str, (right, said, wanted): (usize, usize, usize)) -> [Case; 2] {
    let ratio = |of: usize| right as f64 / of as f64;
    [
        share(format!("{name}: precision"), ratio(said)),
        share(format!("{name}: recall"), ratio(wanted)),
    ]
}
