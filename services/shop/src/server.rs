//! The routes, the scope of each request, and an orderly end.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use mainstay::jobs::Worker;
use mainstay::scope::{Kind, Scope};
use mainstay::{Code, Db, Error, Result};
use tokio::net::TcpListener;

use crate::config::Http;
use crate::health::{self, Readiness};
use crate::problem::Problem;
use crate::{accounts, observed, orders, products, users};

/// How long requests under way may take to end once the service was asked to.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// All routes on `db`.
pub fn routes(readiness: Readiness) -> Router {
    let db = readiness.db.clone();
    Router::new()
        .route("/users", post(users::create).get(users::list))
        .route("/users/{id}", get(users::get))
        .route("/accounts", post(accounts::create))
        .route("/accounts/{id}", get(accounts::get))
        .route("/transfers", post(accounts::transfer))
        .route("/products", get(products::list))
        .route("/orders", post(orders::create).get(orders::list))
        .route("/orders/{id}", get(orders::get))
        .with_state(db)
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready).with_state(readiness))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "Not found", "there is no such route")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
                "the route takes other methods",
            )
        })
        .layer(middleware::from_fn(in_scope))
}

/// Statements and checkouts are attributed to the request's route.
async fn in_scope(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    let scope = Scope::new(Kind::Request, format!("{} {route}", request.method()));
    scope.run(next.run(request)).await
}

/// Takes the port. Errors: APP-002.
pub async fn listen(http: &Http) -> Result<TcpListener> {
    TcpListener::bind((http.host.as_str(), http.port)).await.map_err(|e| {
        let (host, port) = (&http.host, http.port);
        let why = match e.kind() {
            ErrorKind::AddrInUse => "another process listens there".to_owned(),
            _ => e.to_string(),
        };
        let free =
            "choose another port with --port or PORT (0 takes a free one), or end that process";
        Error::new(Code::Listen, format!("can't listen on {host}:{port}")).why(why).fix(free)
    })
}

/// Serves until Ctrl-C or SIGTERM, then drains, first the requests and then the worker, and closes.
pub async fn serve(
    listener: TcpListener,
    db: Db,
    http: &Http,
    worker: Option<Worker>,
) -> Result<()> {
    let address = listener
        .local_addr()
        .map_err(|e| Error::new(Code::Listen, "the socket is gone").cause(e))?;
    let end = end_signals()?;
    announce(&format!("http://{address}"), &db);
    let draining = Arc::new(AtomicBool::new(false));
    let needs_database = http.ready_needs_database;
    let measured = get(observed::metrics).with_state(observed::install(&db)?);
    let app = routes(Readiness { db: db.clone(), draining: Arc::clone(&draining), needs_database });
    let app = app.route("/metrics", measured);
    let asked = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&asked);
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        end.await;
        draining.store(true, Ordering::Relaxed);
        eprintln!("draining: requests under way have {DRAIN_LIMIT:?} to end");
        told.notify_one();
    });
    let limit = async {
        asked.notified().await;
        mainstay::clock::Clock::system().sleep(DRAIN_LIMIT).await;
    };
    let drained = tokio::select! {
        served = server => {
            served.map_err(|e| Error::new(Code::Listen, "the server stopped").cause(e))?;
            true
        }
        () = limit => false,
    };
    if let Some(worker) = worker
        && let Err(error) = worker.drain(DRAIN_LIMIT).await
    {
        eprintln!("{}", error.report());
    }
    match db.close(DRAIN_LIMIT).await {
        Err(error) if !drained => {
            eprintln!("some requests did not end in time and are cut off\n{}", error.report());
        }
        closed => closed?,
    }
    eprintln!("closed");
    Ok(())
}

/// Nobody need listen: where standard output is closed, the shop serves all the same.
fn announce(url: &str, db: &Db) {
    let place = db.place();
    let user = r#"{"name":"Ada","email":"ada@example.com"}"#;
    let text = format!(
        "shop listens on {url}, on {place}\n\ntry\n  curl -s {url}/products\n  \
         curl -s {url}/users -H 'content-type: application/json' -d '{user}'\n\n"
    );
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The signals to end at, caught from the call on: whoever reads that the shop listens may already
/// ask it to end.
fn end_signals() -> Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let wrong = |e| Error::new(Code::Listen, "signals can't be caught").cause(e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(wrong)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(wrong)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
