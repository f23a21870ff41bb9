//! A connection for one user alone, on which anything may be sent: what migrations, dumps and shells
//! need, whose statements begin transactions, set the session and are known only at run time.
//!
//! It does not run again what failed, and nothing of it reaches anybody else: the connection is
//! closed when its user is done.

use std::sync::Arc;

use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::{Lease, What};

#[cfg(feature = "postgres")]
use crate::connection::{Connection, Raw};
use crate::db::Db;
use crate::deadline::scope_deadline;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::error::from_driver;
use crate::hold::Hold;
use crate::record::Record;
use crate::route::{Doubt, Route, Work};
use crate::row::Row;
use crate::statement::{Sql, Statement};
use crate::steps::Step;
use crate::transaction::look_past;
use crate::value::Value;

/// A connection that its holder has for itself, made by [`Db::session`]. Dropped, what is open on it
/// is rolled back and it is closed.
pub struct Session {
    db: Db,
    /// None only where a new one could not be had.
    hold: Option<Hold>,
    place: Place,
    /// Is told of what runs: each of it may write.
    route: Option<Arc<dyn Route>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("db", &self.db)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// A connection of the pool for its caller alone, on which anything may be sent as it is, also
    /// what begins and ends transactions or sets the session. It counts towards `pool.max_size` until
    /// it is dropped. The handle's statement timeout does not bound it here; a timeout that the
    /// server was told stays until the session sets another.
    ///
    /// Cancel safe, and so are its methods: dropped half-way, the connection is closed, and whether
    /// the statement took effect is unknown.
    ///
    /// Errors: those of [`acquire`](mainstay_pool::Pool::acquire).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// let mut session = db.session().await?;
    /// session.run("BEGIN; CREATE TABLE t (id INTEGER); COMMIT").await?;
    /// assert_eq!(session.rows("SELECT id FROM t", vec![]).await?.len(), 0);
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn session(&self) -> impl Future<Output = Result<Session>> + Send + '_ {
        let place = Place::here();
        async move {
            look_past(self, place);
            let db = Db { transaction: None, ..self.clone() };
            let db = db.chosen(Work::Write, place).await?.unwrap_or(db);
            let lease = db.acquire(false, place).await?;
            Ok(Session::new(db, lease, place, self.route.clone()))
        }
    }
}

impl Session {
    fn new(db: Db, mut lease: Lease<Driver>, place: Place, route: Option<Arc<dyn Route>>) -> Self {
        lease.state.spent = true;
        // No driver tells whether a transaction is open: the pool is to roll back.
        lease.state.in_transaction = true;
        Self { db, hold: Some(Hold::Pooled(lease)), place, route }
    }

    /// One more, for who keeps this one meanwhile.
    ///
    /// Errors: POOL-010 where none can come free, and those of
    /// [`acquire`](mainstay_pool::Pool::acquire).
    #[track_caller]
    pub fn another(&self) -> impl Future<Output = Result<Session>> + Send + '_ {
        let place = Place::here();
        async move {
            let lease = self.db.shared.pool(false).acquire_beside(1, place).await?;
            Ok(Session::new(self.db.clone(), lease, place, self.route.clone()))
        }
    }

    /// For statements of ours that leave nothing behind on a session: the connection goes back to the pool then, instead of
    /// being closed. Cut off half-way, it is put right or closed as after any statement. What they write is told to
    /// the route by who sends them.
    pub(crate) fn leaves_nothing(&mut self) {
        self.route = None;
        if let Some(hold) = self.hold.as_mut() {
            (hold.state.spent, hold.state.in_transaction) = (false, false);
        }
    }

    /// Goes on with a new connection: what was set on this one ends with it, and what is open on it is
    /// rolled back. The old one goes first, so that it takes no more room.
    ///
    /// Errors: those of [`acquire`](mainstay_pool::Pool::acquire); then DB-024 until it is renewed.
    pub async fn renew(&mut self) -> Result<()> {
        self.hold = None;
        let lease = self.db.acquire(false, self.place).await?;
        *self = Session::new(self.db.clone(), lease, self.place, self.route.take());
        Ok(())
    }

    /// Says what it is kept for while nothing is sent on it, so that it is not taken for a leak.
    pub fn keep_for(&self, what: &str) {
        if let Some(activity) = self.hold.as_ref().and_then(|hold| hold.activity.as_ref()) {
            activity.begins(What::Shared(what.into()));
        }
    }

    /// Its engine.
    pub fn engine(&self) -> Engine {
        self.db.engine()
    }

    /// Whether the server's side of it is shared with others between transactions, by a pooler.
    pub fn is_pooled(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.is_pooled())
    }

    /// Sends `sql` as it is, unprepared: one statement or several. Returns the rows changed.
    ///
    /// Errors: DB-001 to DB-036, as [`Query`](crate::Query)'s.
    pub async fn run(&mut self, sql: &str) -> Result<u64> {
        let mut changed = 0;
        let each = self.each(sql, Vec::new(), |step| {
            if let Step::Done { affected, .. } = step {
                changed += affected;
            }
        });
        // Boxed: its users wait for it many calls deep, and each would hold the whole of it.
        Box::pin(each).await?;
        Ok(changed)
    }

    /// The rows that `sql` answers with; with `values` for its `$1, $2, ...` it is prepared.
    ///
    /// Errors: as [`run`](Self::run); DB-012.
    pub async fn rows(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let each = self.each(sql, values, |step| {
            if let Step::Row(row) = step {
                rows.push(row);
            }
        });
        Box::pin(each).await?;
        Ok(rows)
    }

    /// PostgreSQL's `COPY ... FROM STDIN`, with the data that it reads. Returns the rows copied.
    ///
    /// Errors: as [`run`](Self::run); DB-017 on another engine.
    #[allow(clippy::unused_async, reason = "only PostgreSQL is waited for")]
    pub async fn copy_in(&mut self, sql: &str, data: &str) -> Result<u64> {
        #[cfg(feature = "postgres")]
        if self.engine() == Engine::Postgres {
            return self.copy(sql, data).await;
        }
        let _ = data;
        let what = format!("{} has no COPY: {}", self.engine(), What::shortened(sql));
        Err(Error::new(Code::WrongEngine, what))
    }

    #[cfg(feature = "postgres")]
    async fn copy(&mut self, sql: &str, data: &str) -> Result<u64> {
        let Self { db, hold, route, .. } = self;
        let hold = hold.as_mut().ok_or_else(gone)?;
        let Connection { raw, state, .. } = &mut **hold;
        #[allow(irrefutable_let_patterns, reason = "refutable only with several engines")]
        let Raw::Postgres(postgres, _) = raw else { return Err(gone()) };
        // Cut off half-way, nobody knows which answer is whose.
        state.broken = true;
        let work = async {
            let mut copy = postgres.copy_in_raw(sql).await?;
            copy.send(data.as_bytes()).await?;
            copy.finish().await
        };
        let mut doubt = Doubt::new(route.as_deref(), Work::Write);
        let outcome = db.in_time(scope_deadline(), async { Ok(work.await) }).await?;
        state.broken = !matches!(&outcome, Ok(_) | Err(sqlx::Error::Database(_)));
        let outcome = outcome.map_err(|e| from_driver(e, Some(sql)));
        match &outcome {
            Ok(_) => doubt.done(),
            Err(error) => doubt.failed(error),
        }
        outcome
    }

    async fn each(
        &mut self,
        sql: &str,
        values: Vec<Value>,
        mut on: impl FnMut(Step) + Send,
    ) -> Result<()> {
        let Self { db, hold, place, route } = self;
        let hold = hold.as_mut().ok_or_else(gone)?;
        let engine = db.engine();
        let kept: Arc<str> = sql.into();
        let shown = Sql::Dynamic(Arc::clone(&kept));
        let (text, driver_sql, arguments) = if values.is_empty() {
            let (_, text) = db.shared.texts.of_driver(sql, engine);
            (text, shown.to_driver(), None)
        } else {
            let text = shown.text(&db.shared.texts, engine)?;
            let statement = Statement { sql: shown.clone(), values, place: *place };
            let (sql, arguments) = statement.prepare(&text, engine)?;
            (text, sql, Some(arguments))
        };
        let mut record = Record::begin(&db.shared, &shown, &text, *place, None);
        record.started(hold.id());
        let outcome = async {
            let _ran = hold.begins(db, &text, &shown, *place)?;
            let mut doubt = Doubt::new(route.as_deref(), Work::Write);
            let outcome = db.in_time(scope_deadline(), async {
                let mut reading = hold.send(driver_sql, arguments, false).of(&text, engine);
                let lost = |e| from_driver(e, Some(&kept));
                while let Some(step) = reading.next().await.map_err(lost)? {
                    match &step {
                        Step::Row(row) => record.row(&row.0),
                        Step::Done { affected, .. } => record.affected(*affected),
                    }
                    on(step);
                }
                Ok(())
            });
            let outcome = outcome.await;
            match &outcome {
                Ok(()) => doubt.done(),
                // Of several statements, those before the one that failed may stay.
                Err(error) => doubt.done_unless_lost(error),
            }
            hold.explain(db, outcome).await
        }
        .await;
        record.check(outcome, *place)?;
        record.done();
        Ok(())
    }
}

fn gone() -> Error {
    Error::new(Code::ConnectionLost, "the session has ended, and no new one could be had")
}
