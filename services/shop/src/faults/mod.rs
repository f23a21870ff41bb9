//! `shop --faults`: a route for each classic failure, made on purpose, and `/doctor`, where the doctor names it.
//! On a healthy shop there are none of these.

mod conflicts;
mod connections;
mod indexes;
mod loops;
mod pools;
mod transactions;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use mainstay::doctor::advice::Options;
use mainstay::doctor::{Doctor, Finding, Limits, Suppression};
use mainstay::http::Answer;
use mainstay::pool::Options as PoolOptions;
use mainstay::{Db, Error, Result};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::config::Config;
use pools::Beside;

/// What is held without use for so long is told of: what the default would take is long to wait for.
const HELD: Duration = Duration::from_millis(500);
/// The same of what is used now and then, and not let go.
const LONG: Duration = Duration::from_millis(2500);
/// Between uses: nothing of that is held without use.
const STEP: Duration = Duration::from_millis(300);

/// Where what takes a while is told of while somebody waits for it.
pub(crate) fn impatient(options: &mut PoolOptions) {
    options.leak_after = Some(HELD);
    options.transaction_idle_after = Some(HELD);
}

/// What the routes share; cheap to clone.
#[derive(Clone)]
struct Faults(Arc<Shared>);

struct Shared {
    db: Db,
    /// Watches `db`.
    doctor: Doctor,
    /// Pools that are not the shop's own.
    beside: Beside,
    /// Whether there are many visits.
    visits: OnceCell<()>,
    /// Whether there are many parcels.
    parcels: OnceCell<()>,
    /// Whether a finding is suppressed.
    suppressed: OnceCell<()>,
}

impl FromRef<Faults> for Db {
    fn from_ref(faults: &Faults) -> Db {
        faults.0.db.clone()
    }
}

/// The routes, and a doctor that watches `db`.
pub(crate) fn routes(db: &Db, config: &Config) -> Router {
    let mut limits = Limits::default();
    (limits.hold, limits.transaction) = (LONG, LONG);
    let doctor = Doctor::builder().limits(limits).advise(Options::default()).build();
    doctor.watch(db);
    let shared = Shared {
        db: db.clone(),
        doctor,
        beside: Beside::new(config),
        visits: OnceCell::new(),
        parcels: OnceCell::new(),
        suppressed: OnceCell::new(),
    };
    Router::new()
        .route("/faults/n-plus-one", get(loops::n_plus_one))
        .route("/faults/repeat", get(loops::repeat))
        .route("/faults/write-loop", get(loops::write_loop))
        .route("/faults/query-loop", get(loops::query_loop))
        .route("/faults/unbounded", get(loops::unbounded))
        .route("/faults/leak", get(connections::leak))
        .route("/faults/long-hold", get(connections::long_hold))
        .route("/faults/nested-acquire", get(connections::nested_acquire))
        .route("/faults/idle-transaction", get(transactions::idle_transaction))
        .route("/faults/long-transaction", get(transactions::long_transaction))
        .route("/faults/escape", get(transactions::escape))
        .route("/faults/network-call", get(transactions::network_call))
        .route("/faults/dual-write", get(transactions::dual_write))
        .route("/faults/deadlock", get(conflicts::deadlock))
        .route("/faults/serialization-storm", get(conflicts::serialization_storm))
        .route("/faults/pool-too-small", get(pools::pool_too_small))
        .route("/faults/pool-too-large", get(pools::pool_too_large))
        .route("/faults/missing-index", get(indexes::missing_index))
        .route("/faults/suppression", get(suppression))
        .route("/doctor", get(findings))
        .with_state(Faults(Arc::new(shared)))
}

impl Faults {
    /// Of all pools, the worst first.
    fn findings(&self) -> Vec<Finding> {
        let mut all = self.0.doctor.findings();
        all.extend(self.0.beside.findings());
        all.sort_by_key(|f| Reverse(f.severity));
        all
    }

    /// Makes a table of more rows than an answer should have, once.
    async fn visits(&self) -> Result<()> {
        let fill = async || {
            let db = &self.0.db;
            db.script(
                "CREATE TABLE IF NOT EXISTS faults_visits (id BIGINT PRIMARY KEY, page VARCHAR(40) NOT NULL)",
            )
            .await?;
            let there: i64 = db.query("SELECT COUNT(*) FROM faults_visits").scalar().await?;
            if there == 0 {
                let rows = (1..=12_000_i64).map(|n| (n, "/products"));
                db.bulk_insert("faults_visits", &["id", "page"], rows).await?;
            }
            Ok::<(), Error>(())
        };
        self.0.visits.get_or_try_init(fill).await.map(drop)
    }
}

/// What was found: JSON, or as it is printed for who wants `text/plain`.
async fn findings(State(faults): State<Faults>, headers: HeaderMap) -> impl IntoResponse {
    let all = faults.findings();
    let accepts = headers.get(ACCEPT).and_then(|h| h.to_str().ok());
    if accepts.is_some_and(|a| a.contains("text/plain")) {
        let text: Vec<String> = all.iter().map(|f| format!("{f}\n")).collect();
        return text.join("\n").into_response();
    }
    ([(CONTENT_TYPE, "application/json")], json!(all).to_string()).into_response()
}

/// DOC-018: what somebody wanted to live with for a while, and the while is over.
async fn suppression(State(faults): State<Faults>) -> Answer<Json<Value>> {
    let suppress = async || {
        let expired = json!({
            "code": "DOC-003", "at": "GET /faults/repeat", "reason": "until the cache is there", "until": "2025-06-30",
        });
        let expired: Suppression =
            serde_json::from_value(expired).map_err(|e| Error::user(e.to_string()))?;
        faults.0.doctor.suppress(expired)
    };
    faults.0.suppressed.get_or_try_init(suppress).await?;
    Ok(Json(json!("done")))
}
