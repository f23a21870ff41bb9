//! A transaction that is driven step by step, from outside.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{AssertSqlSafe, Db, Engine, Isolation, RetryPolicy};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::scenarios::Do;

/// Steps that may be on their way to one transaction: more than any scenario has.
const STEPS_MAX: usize = 16;

/// What a step led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Rows(Vec<(i64, i64)>),
    Changed(u64),
    Ended,
    Failed(Code),
    /// The transaction had failed before.
    Skipped,
}

struct Order {
    step: Do,
    answer: oneshot::Sender<Answer>,
}

/// One transaction, on a task of its own.
pub(crate) struct Session {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
    /// How the server calls it, once it has begun.
    server: Arc<Mutex<Option<i64>>>,
    /// The answers that are still to come, with the numbers of their steps.
    pending: Vec<(usize, oneshot::Receiver<Answer>)>,
}

impl Session {
    pub(crate) fn begin(db: &Db, level: Isolation, table: &str) -> Self {
        let (orders, received) = mpsc::channel(STEPS_MAX);
        let (db, table) = (db.clone(), table.to_owned());
        let server = Arc::new(Mutex::new(None));
        let told = Arc::clone(&server);
        let task = tokio::spawn(async move {
            let received = Mutex::new(received);
            let last = Mutex::new(None);
            let first = received.lock().await.recv().await;
            let first = Mutex::new(first);
            let tx = db.tx().retry(RetryPolicy::none()).isolation(level);
            let outcome = tx
                .run(|tx| {
                    let (first, received, last) = (&first, &received, &last);
                    let (table, told) = (&table, &told);
                    async move {
                        *told.lock().await = number(&tx).await?;
                        follow(&tx, table, first, received, last).await
                    }
                })
                .await;
            // The end is told only now that it is over, however it went.
            let answer = match outcome {
                Err(error) if error.code() != Code::User => Answer::Failed(error.code()),
                _ => Answer::Ended,
            };
            if let Some(end) = last.lock().await.take() {
                let _ = oneshot::Sender::send(end, answer.clone());
            }
            if let Some(order) = first.lock().await.take() {
                let _ = order.answer.send(answer);
            }
            let mut received = received.into_inner();
            while let Some(order) = received.recv().await {
                let _ = order.answer.send(Answer::Skipped);
            }
        });
        Self { orders, task, server, pending: Vec::new() }
    }

    /// Has it take a step, after those before. The answer comes later.
    pub(crate) async fn order(&mut self, number: usize, step: Do) {
        let (answer, comes) = oneshot::channel();
        let _ = self.orders.send(Order { step, answer }).await;
        self.pending.push((number, comes));
    }

    /// The answers that have come within `limit`; whether all have.
    pub(crate) async fn answers(&mut self, limit: Duration) -> (Vec<(usize, Answer)>, bool) {
        let mut come = Vec::new();
        let all = async {
            while let Some((number, comes)) = self.pending.first_mut() {
                let answer = comes.await.unwrap_or(Answer::Skipped);
                come.push((*number, answer));
                self.pending.remove(0);
            }
        };
        let all = tokio::time::timeout(limit, all).await.is_ok();
        (come, all)
    }

    /// Whether the server says that it waits for a lock; `None` if nobody can tell.
    pub(crate) async fn waits(&self, db: &Db) -> Option<bool> {
        if db.engine() == Engine::Sqlite {
            return None;
        }
        // One that has not begun waits for no lock.
        let Some(server) = *self.server.lock().await else { return Some(false) };
        let waits = if db.engine() == Engine::Postgres {
            let sql = "SELECT cardinality(pg_blocking_pids($1)) > 0";
            db.query(sql).bind(i32::try_from(server).ok()?)
        } else {
            let sql = "SELECT COUNT(*) > 0 FROM information_schema.innodb_trx \
                 WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = $1";
            db.query(sql).bind(server)
        };
        waits.scalar().await.ok()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn number(tx: &Db) -> Result<Option<i64>> {
    let sql = match tx.engine() {
        Engine::Postgres => "SELECT CAST(pg_backend_pid() AS BIGINT)",
        Engine::MySql => "SELECT CAST(CONNECTION_ID() AS SIGNED)",
        Engine::Sqlite => return Ok(None),
    };
    tx.query(sql).scalar().await.map(Some)
}

async fn follow(
    tx: &Db,
    table: &str,
    first: &Mutex<Option<Order>>,
    received: &Mutex<mpsc::Receiver<Order>>,
    last: &Mutex<Option<oneshot::Sender<Answer>>>,
) -> Result<()> {
    loop {
        let order = match first.lock().await.take() {
            Some(order) => Some(order),
            None => received.lock().await.recv().await,
        };
        let Some(Order { step, answer }) = order else {
            return Err(Error::user("the scenario is over"));
        };
        let sql = match step {
            Do::Sql(sql) => sql.replace("{t}", table),
            Do::Commit | Do::Rollback => {
                *last.lock().await = Some(answer);
                let rolled_back = Error::user("rolled back, as the scenario has it");
                return if step == Do::Commit { Ok(()) } else { Err(rolled_back) };
            }
        };
        let reads = sql.starts_with("SELECT");
        let query = tx.query(AssertSqlSafe(sql));
        let done = if reads {
            query.all::<(i64, i64)>().await.map(Answer::Rows)
        } else {
            query.execute().await.map(|done| Answer::Changed(done.rows_affected()))
        };
        match done {
            Ok(done) => {
                let _ = answer.send(done);
            }
            Err(error) => {
                let _ = answer.send(Answer::Failed(error.code()));
                return Err(error);
            }
        }
    }
}
