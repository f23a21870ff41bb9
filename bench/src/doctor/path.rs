//! What is observed: a statement through a handle, and the path of its observation alone. It measures nothing:
//! `observe.rs` has the time of it, `bin/allocations.rs` the allocations.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::doctor::Doctor;
use mainstay::observe::{KeyColumns, Observer, Outcome, SqlId, Statement, ValueHash, Values};
use mainstay::scope::Scope;
use mainstay::{Db, Place};

const USERS: i64 = 100;

/// One that looks through what it has when it is asked, and by no task of its own.
pub(crate) fn quiet() -> Doctor {
    let make = || Doctor::builder().quiet(Duration::ZERO).build();
    std::thread::spawn(make).join().expect("no panic")
}

/// A table of users.
pub(crate) async fn users() -> Db {
    let db = Db::connect("sqlite::memory:").await.expect("it is in memory");
    db.script("CREATE TABLE users (id BIGINT PRIMARY KEY, team_id BIGINT NOT NULL)")
        .await
        .expect("a new table");
    let rows = (0..USERS).map(|n| (n, n % 7));
    db.bulk_insert("users", &["id", "team_id"], rows).await.expect("they are new");
    db
}

/// One of them, by a statement on `db`.
pub(crate) async fn user(db: &Db, id: i64) {
    let query = db.query("SELECT id, team_id FROM users WHERE id = $1").bind(id % USERS);
    black_box(query.all::<(i64, i64)>().await.expect("a row"));
}

/// What a statement of a handle goes through to be observed, without the statement.
pub(crate) struct Path {
    clock: Clock,
    sql_id: SqlId,
    columns: Arc<KeyColumns>,
}

impl Path {
    const SQL: &str = "SELECT id, team_id FROM users WHERE id = $1";

    pub(crate) fn new() -> Self {
        let columns = Arc::new(KeyColumns(["id".into(), "team_id".into()].into()));
        Self { clock: Clock::system(), sql_id: SqlId::of(Self::SQL), columns }
    }

    /// Once: what it is bound with and the keys of its one row are hashed, and it is told.
    #[inline(never)]
    pub(crate) fn follow(&self, observer: &Observer, id: i64) {
        if !observer.is_active() {
            return;
        }
        let scope = Scope::current();
        let mut values = Values::take();
        values.bind([ValueHash::int(id)].into_iter());
        let started = self.clock.now();
        values.set_columns(Arc::clone(&self.columns));
        values.returns(ValueHash::int(id));
        values.returns(ValueHash::int(id % 7));
        let ended = self.clock.now();
        observer.statement(&Statement {
            pool: "users",
            system: "sqlite",
            sql: Self::SQL,
            sql_id: self.sql_id,
            place: Place::here(),
            scope: scope.as_ref(),
            transaction: None,
            connection: Some(1),
            wait: Duration::ZERO,
            duration: ended.saturating_duration_since(started),
            rows: 1,
            affected: 0,
            outcome: Outcome::Done,
            ended,
            values: Some(&values),
        });
        values.give_back();
    }
}
