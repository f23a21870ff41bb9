//! The observation of one statement: begun when it is asked for, told when it ends, in whatever way.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::observe::{Outcome, Statement, Values};
use mainstay_core::scope::Scope;
use mainstay_core::{Error, Place, Result};

use crate::db::Shared;
use crate::hold::Hold;
use crate::keys::{self, Keyed, Keys};
use crate::statement::Sql;
use crate::text::Text;
use crate::value::Value;

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
    /// `None` as long as it has waited for nothing.
    asked: Option<Instant>,
    started: Option<Instant>,
    rows: u64,
    affected: u64,
    /// `None` where nobody wants them.
    values: Option<Box<Values>>,
    keys: Option<Arc<Keys>>,
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
            asked: None,
            started: None,
            rows: 0,
            affected: 0,
            values: shared.observer.wants_values().then(Values::take),
            keys: None,
        });
        Self { inner }
    }

    /// It gets its connection. One that is there at once was not waited for, and costs one reading of the
    /// clock less.
    ///
    /// Pinned by the caller: taken by value, it would be in each statement's future twice.
    pub(crate) async fn held<F>(&mut self, mut hold: Pin<&mut F>) -> Result<Hold>
    where
        F: Future<Output = Result<Hold>>,
    {
        let hold = poll_fn(|cx| {
            let polled = hold.as_mut().poll(cx);
            if polled.is_pending()
                && let Some(inner) = &mut self.inner
            {
                inner.asked.get_or_insert_with(|| inner.shared.clock.now());
            }
            polled
        });
        let hold = hold.await?;
        self.started(hold.id());
        Ok(hold)
    }

    /// It has its connection.
    pub(crate) fn started(&mut self, connection: u64) {
        if let Some(inner) = &mut self.inner {
            inner.connection = Some(connection);
            inner.started = Some(inner.shared.clock.now());
        }
    }

    /// It is bound with these.
    pub(crate) fn bound(&mut self, bound: &[Value]) {
        if let Some(values) = self.inner.as_mut().and_then(|inner| inner.values.as_mut()) {
            values.bind(bound.iter().map(keys::of_value));
        }
    }

    pub(crate) fn row(&mut self, row: &impl Keyed) {
        let Some(inner) = &mut self.inner else { return };
        inner.rows += 1;
        let Some(values) = &mut inner.values else { return };
        if inner.rows == 1 {
            let keys = Keys::of(&inner.text.keys, row);
            values.set_columns(Arc::clone(&keys.columns));
            inner.keys = Some(keys);
        }
        if values.room() > 0
            && let Some(keys) = &inner.keys
        {
            keys.read(row, values);
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
    fn tell(mut self, outcome: Outcome<'_>) {
        let now = self.shared.clock.now();
        let had = self.started.unwrap_or(now);
        let wait = self.asked.map_or(Duration::ZERO, |asked| had.saturating_duration_since(asked));
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
            ended: now,
            values: self.values.as_deref(),
        });
        if let Some(values) = self.values.take() {
            values.give_back();
        }
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
    use mainstay_core::observe::{Subscriber, ValueHash};
    use mainstay_core::scope::Kind;

    use super::*;
    use crate::db::Db;

    /// From the first to the last moment of a statement, nothing is allocated for its observation.
    #[test]
    fn observation_allocates_nothing() {
        struct Listens;
        impl Subscriber for Listens {
            fn wants_values(&self) -> bool {
                true
            }
        }
        struct Row;
        impl Keyed for Row {
            fn width(&self) -> usize {
                2
            }
            fn column(&self, at: usize) -> (&str, Option<keys::Kind>) {
                (["id", "note"][at], Some(keys::Kind::Int))
            }
            fn hash(&self, at: usize, _: keys::Kind) -> ValueHash {
                ValueHash::int(at as i64)
            }
        }
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
                    record.bound(&[Value::BigInt(Some(5))]);
                    record.started(7);
                    record.row(&Row);
                    record.row(&Row);
                    record.affected(1);
                    record.done();
                }
            })
        }));
        // The first look at the text is remembered.
        assert!(counted.count_total < 20, "{counted:?}");
    }

    /// The one connection is out: who asks for it has waited, and who finds it there has not.
    #[tokio::test]
    async fn what_was_there_at_once_was_not_waited_for() {
        #[derive(Default)]
        struct Waits(Arc<std::sync::Mutex<Vec<Duration>>>);
        impl Subscriber for Waits {
            fn statement(&self, event: &Statement<'_>) {
                self.0.lock().unwrap().push(event.wait);
            }
        }
        let db = Db::connect("sqlite::memory:").await.unwrap();
        let waits = Waits::default();
        let told = Arc::clone(&waits.0);
        db.observer().subscribe(waits);
        db.query("SELECT 1").execute().await.unwrap();
        let session = db.session().await.unwrap();
        let query = async { db.query("SELECT 2").execute().await.unwrap() };
        let release = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(session);
        };
        tokio::join!(query, release);
        let told = told.lock().unwrap();
        assert_eq!(told[0], Duration::ZERO);
        assert!(told.len() == 2 && told[1] > Duration::ZERO, "{told:?}");
    }
}
