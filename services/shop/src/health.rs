//! Probes: `/livez` depends on nothing, `/readyz` says whether to send requests here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mainstay::Db;
use serde_json::{Value, json};

/// What readiness depends on.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// The handle.
    pub db: Db,
    /// Set when the service has been asked to end.
    pub draining: Arc<AtomicBool>,
    /// Whether a database that does not answer makes the service unready.
    pub needs_database: bool,
}

/// `GET /livez`.
pub async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: 503 while draining; with the database down, 200 and `degraded` unless it is
/// configured to fail then.
pub async fn ready(State(readiness): State<Readiness>) -> (StatusCode, Json<Value>) {
    if readiness.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "draining"})));
    }
    match readiness.db.ping().await {
        Ok(()) => (StatusCode::OK, Json(json!({"status": "ok"}))),
        Err(error) => {
            let status = if readiness.needs_database {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            };
            (status, Json(json!({"status": "degraded", "database": error.code().as_str()})))
        }
    }
}
