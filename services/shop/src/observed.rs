//! What the shop measures of itself, for Prometheus to fetch.

use std::time::Duration;

use axum::extract::State;
use mainstay::clock::Clock;
use mainstay::metrics::Metrics;
use mainstay::{Db, Error, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Bounds of the histograms' buckets, in seconds.
const BUCKETS: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
/// How often what was measured is folded into the buckets, so that memory stays bounded unasked.
const UPKEEP: Duration = Duration::from_secs(5);

/// Begins to measure `db`. Once a process: the exporter is the process's.
pub fn install(db: &Db) -> Result<PrometheusHandle> {
    let wrong =
        |e: metrics_exporter_prometheus::BuildError| Error::user(format!("no metrics: {e}"));
    let builder = PrometheusBuilder::new().set_buckets(BUCKETS).map_err(wrong)?;
    let handle = builder.install_recorder().map_err(wrong)?;
    db.observer().subscribe(Metrics::default());
    let kept = handle.clone();
    tokio::spawn(async move {
        loop {
            Clock::system().sleep(UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok(handle)
}

/// `GET /metrics`, in Prometheus's text format.
pub async fn metrics(State(handle): State<PrometheusHandle>) -> String {
    handle.render()
}
