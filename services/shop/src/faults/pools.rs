//! Pools of another size than what is asked of them. They are beside the shop's own, which goes on.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use mainstay::clock::Clock;
use mainstay::doctor::{Doctor, Finding};
use mainstay::http::Answer;
use mainstay::scope::{Kind, Scope};
use mainstay::{Db, Error, Result, Settings};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::Faults;
use crate::config::{Config, DEFAULT_URL};

/// A pool is too small if in one of these half of its gauges, one a second, show somebody waiting.
const CROWDED_WINDOW: Duration = Duration::from_secs(2);
/// It is too large after thirty of these.
const CALM_WINDOW: Duration = Duration::from_millis(800);

/// Opened by the first who needs one, and left open.
pub(super) struct Beside {
    settings: Settings,
    small: OnceCell<Db>,
    large: OnceCell<Db>,
    snapshots: OnceCell<Db>,
    /// They are judged sooner than by default: a minute's load is long to wait for.
    crowded: Doctor,
    calm: Doctor,
}

impl Beside {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            settings: config.mainstay.clone(),
            small: OnceCell::new(),
            large: OnceCell::new(),
            snapshots: OnceCell::new(),
            crowded: Doctor::builder().pool_window(CROWDED_WINDOW).build(),
            calm: Doctor::builder().pool_window(CALM_WINDOW).build(),
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        [&self.crowded, &self.calm].into_iter().flat_map(Doctor::findings).collect()
    }

    /// One whose sessions may be set up otherwise than the shop's.
    pub(super) async fn snapshots(&self, doctor: &Doctor) -> Result<&Db> {
        self.snapshots.get_or_try_init(|| self.open("snapshots", 2, doctor)).await
    }

    async fn open(&self, name: &'static str, max_size: u32, doctor: &Doctor) -> Result<Db> {
        let mut settings = self.settings.clone();
        (settings.pool.max_size, settings.pool.min_idle) = (max_size, 0);
        let db = settings.database(DEFAULT_URL).name(name).connect().await?;
        doctor.watch(&db);
        Ok(db)
    }
}

/// DOC-016: for six seconds six clients want the one connection: each has it for a moment and waits for the others.
pub(super) async fn pool_too_small(State(faults): State<Faults>) -> Answer<Json<Value>> {
    let beside = &faults.0.beside;
    let small = beside.small.get_or_try_init(|| beside.open("small", 1, &beside.crowded)).await?;
    let until = Clock::system().now() + CROWDED_WINDOW * 3;
    let request = Scope::current().unwrap_or_else(|| Scope::new(Kind::Request, "GET /faults"));
    // Ends with the request.
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let small = small.clone();
        clients.spawn(request.clone().run(async move {
            let mut reports = 0;
            while Clock::system().now() < until {
                report(&small).await?;
                reports += 1;
            }
            Ok::<u32, Error>(reports)
        }));
    }
    let mut reports = 0;
    while let Some(done) = clients.join_next().await {
        reports += done.map_err(|e| Error::user(format!("a client is gone: {e}")))??;
    }
    Ok(Json(json!(reports)))
}

/// The connection waits for what the report is made of.
async fn report(db: &Db) -> Result<()> {
    let reported = db.tx().read_only().run(|tx| async move {
        tx.query("SELECT COUNT(*) FROM products").scalar::<i64>().await?;
        Clock::system().sleep(Duration::from_millis(50)).await;
        Ok(())
    });
    reported.await
}

/// DOC-017: forty connections for one statement at a time. The doctor takes half a minute to be sure, which is longer
/// than a request may take: once it has begun, it goes on by itself.
pub(super) async fn pool_too_large(State(faults): State<Faults>) -> Answer<Json<Value>> {
    let beside = &faults.0.beside;
    let open = async || {
        let large = beside.open("large", 40, &beside.calm).await?;
        tokio::spawn(one_at_a_time(large.clone()));
        Ok::<Db, Error>(large)
    };
    beside.large.get_or_try_init(open).await?;
    Ok(Json(json!("begun")))
}

async fn one_at_a_time(large: Db) -> Result<()> {
    let until = Clock::system().now() + CALM_WINDOW * 50;
    while Clock::system().now() < until {
        large.query("SELECT COUNT(*) FROM products").scalar::<i64>().await?;
        Clock::system().sleep(CALM_WINDOW / 4).await;
    }
    Ok(())
}
