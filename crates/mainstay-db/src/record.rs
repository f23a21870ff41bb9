//! The observation of one statement: begun when it is asked for, told when it ends, in whatever way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::observe::{Outcome, Statement};
use mainstay_core::scope::Scope;
use mainstay_core::{Error, Place, Result};

use crate::db::Shared;
use crate::statement::Sql;
use crate::text::Text;

/// Tells of its statement when dropped: as cancelled, unless [`done`](Record::done) or
/// [`failed`](Record::failed) came before.
pub(crate) struct Record<'a> {
    /// `None` where nobody listens: then nothing is measured either.
    inner: Option<Inner<'a>>,
}

struct Inner<'a> {
    shared: &'a Shared,
    sql: Sql,
    text: Arc<Text>,
    place: Place,
    scope: Option<Scope>,
    transaction: Option<u64>,
    connection: Option<u64>,
    asked: Instant,
    started: Option<Instant>,
    rows: u64,
    affected: u64,
}

impl<'a> Record<'a> {
    pub(crate) fn begin(
        shared: &'a Shared,
        sql: &Sql,
        text: &Arc<Text>,
        place: Place,
        transaction: Option<u64>,
    ) -> Self {
        let inner = shared.observer.is_active().then(|| Inner {
            shared,
            sql: sql.clone(),
            text: Arc::clone(text),
            place,
            scope: Scope::current(),
            transaction,
            connection: None,
            asked: shared.clock.now(),
            started: None,
            rows: 0,
            affected: 0,
        });
        Self { inner }
    }

    /// It has its connection.
    pub(crate) fn started(&mut self, connection: u64) {
        if let Some(inner) = &mut self.inner {
            inner.connection = Some(connection);
            inner.started = Some(inner.shared.clock.now());
        }
    }

    pub(crate) fn row(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.rows += 1;
        }
    }

    pub(crate) fn affected(&mut self, n: u64) {
        if let Some(inner) = &mut self.inner {
            inner.affected += n;
        }
    }

    pub(crate) fn done(mut self) {
        if let Some(inner) = self.inner.take() {
            inner.tell(Outcome::Done);
        }
    }

    pub(crate) fn failed(&mut self, error: &Error) {
        if let Some(inner) = self.inner.take() {
            inner.tell(Outcome::Failed(error));
        }
    }

    /// Passes `outcome` on, its error with the place, and tells of the error.
    pub(crate) fn check<T>(&mut self, outcome: Result<T>, place: Place) -> Result<T> {
        outcome.map_err(|error| {
            let error = error.at(place);
            self.failed(&error);
            error
        })
    }
}

impl Inner<'_> {
    fn tell(&self, outcome: Outcome<'_>) {
        let now = self.shared.clock.now();
        let wait = self.started.unwrap_or(now).saturating_duration_since(self.asked);
        let duration = self.started.map_or(Duration::ZERO, |s| now.saturating_duration_since(s));
        self.shared.observer.statement(&Statement {
            pool: &self.shared.name,
            system: self.shared.engine.system(),
            sql: self.sql.as_str(),
            sql_id: self.text.id,
            place: self.place,
            scope: self.scope.as_ref(),
            transaction: self.transaction,
            connection: self.connection,
            wait,
            duration,
            rows: self.rows,
            affected: self.affected,
            outcome,
        });
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.tell(Outcome::Cancelled);
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use mainstay_core::observe::Subscriber;
    use mainstay_core::scope::Kind;

    use super::*;
    use crate::db::Db;

    /// From the first to the last moment of a statement, nothing is allocated for its observation.
    #[test]
    fn observation_allocates_nothing() {
        struct Listens;
        impl Subscriber for Listens {}
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let db = runtime.block_on(Db::connect("sqlite::memory:")).unwrap();
        db.observer().subscribe(Listens);
        let sql = Sql::Static("SELECT $1");
        let scope = Scope::new(Kind::Request, "GET /");
        let place = Place::here();
        let counted = runtime.block_on(scope.run(async {
            allocation_counter::measure(|| {
                for _ in 0..100 {
                    let text = sql.text(&db.shared.texts, db.engine()).unwrap();
                    let mut record = Record::begin(&db.shared, &sql, &text, place, Some(1));
                    record.started(7);
                    record.row();
                    record.affected(1);
                    record.done();
                }
            })
        }));
        // The first look at the text is remembered.
        assert!(counted.count_total < 20, "{counted:?}");
    }
}
