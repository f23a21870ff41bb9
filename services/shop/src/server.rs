//! The routes, the scope of each request, and an orderly end.

use std::convert::Infallible;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use mainstay::http::service::TraceContextLayer;
use mainstay::http::{IdempotencyLayer, Key, ScopeLayer, TokenLayer};
use mainstay::route::Databases;
use mainstay::{Code, Error, Result};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::config::{Config, Http};
use crate::health::{self, Readiness};
use crate::part::Part;
use crate::state::Shop;
use crate::worker::Workers;
use crate::{
    accounts, analytics, api, best_sellers, faults, limits, login, observed, orders, products,
    users, worker as background,
};
use mainstay::http::Problem;

/// How long requests under way, and then jobs, may take to end once the service was asked to.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// The routes of the services that this process is. Errors: CFG-003, HTTP-004, LIMIT-002.
pub async fn routes(shop: &Shop, readiness: Readiness, config: &Config) -> Result<Router> {
    let versions = api::versions(&config.api, mainstay::clock::Clock::system())?;
    let documents = api::documents(&versions)?;
    let limits::Layers { requests, login, orders } = limits::layers(config).await?;
    let entering = Router::new()
        .route("/login", post(login::ask))
        .route("/login/code", post(login::enter))
        .layer(login)
        .route("/login", delete(login::leave))
        .route("/me", get(login::me));
    // A POST that is sent again with its key is done once.
    let once = IdempotencyLayer::by(Key::client())?;
    let ordering = post(orders::create).get(orders::list).layer::<_, Infallible>(once.clone());
    let ordering = ordering.layer(orders);
    let users = Router::new()
        .route("/users", post(users::create).get(users::list))
        .route("/users/{id}", get(users::get))
        .route("/accounts", post(accounts::create))
        .route("/accounts/{id}", get(accounts::get))
        .route("/transfers", post(accounts::transfer).layer(once))
        .merge(entering);
    let inventory = Router::new()
        .route("/products", get(products::list))
        .route("/prices", post(products::prices));
    let analytics = Router::new()
        .route("/best-sellers", get(best_sellers::list))
        .route("/order-counts", get(analytics::list));
    let orders = Router::new().route("/orders", ordering).route("/orders/{id}", get(orders::get));
    let services = [
        (Part::Users, users),
        (Part::Orders, orders),
        (Part::Inventory, inventory),
        (Part::Analytics, analytics),
    ];
    let ours = services.into_iter().filter(|(part, _)| shop.part.is(*part));
    let api = ours.fold(Router::new(), |all, (_, routes)| all.merge(routes));
    let routes = Router::new()
        .nest(api::UNDER, api.with_state(shop.clone()))
        .merge(if config.http.faults { faults::routes(&shop.db, config) } else { Router::new() })
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
        .layer(requests)
        .layer(limits::proxies(config))
        .layer(limits::shedding())
        // What is asked of other services carries the request's trace.
        .layer(TraceContextLayer::new())
        // Statements and checkouts are attributed to the request's route, and end with its deadline.
        .layer(ScopeLayer::new())
        // Outermost, so that an answer that the deadline cut short says too what may have been written.
        .layer(TokenLayer::cookie());
    // Who uses which version is for operators, as the metrics are: loopback alone, unless http.host says otherwise.
    let usage = Router::new().route("/versions", versions.usage_route());
    Ok(versions.wrap(routes).merge(documents.router()).merge(usage))
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
    shop: Shop,
    config: &Config,
    workers: Option<Workers>,
) -> Result<()> {
    let (databases, db) = (shop.databases.clone(), shop.primary.clone());
    let address = listener
        .local_addr()
        .map_err(|e| Error::new(Code::Listen, "the socket is gone").cause(e))?;
    let end = end_signals()?;
    let draining = Arc::new(AtomicBool::new(false));
    let needs_database = config.http.ready_needs_database;
    let measured = get(observed::metrics).with_state(observed::install(&db)?);
    let readiness = Readiness { db: db.clone(), draining: Arc::clone(&draining), needs_database };
    let app = routes(&shop, readiness, config).await?.route("/metrics", measured);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    announce(shop.part, &format!("http://{address}"), &databases);
    // On the way out by an error it ends with this function.
    let (mut work, end_of_work) = (JoinSet::new(), Arc::new(Notify::new()));
    if let Some(workers) = workers {
        let end = Arc::clone(&end_of_work);
        work.spawn(background::run(workers, async move { end.notified().await }, DRAIN_LIMIT));
    }
    let asked = Arc::new(Notify::new());
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
    end_of_work.notify_one();
    while work.join_next().await.is_some() {}
    match databases.close(DRAIN_LIMIT).await {
        Err(error) if !drained => {
            eprintln!("some requests did not end in time and are cut off\n{}", error.report());
        }
        closed => closed?,
    }
    eprintln!("closed");
    Ok(())
}

/// Nobody need listen: where standard output is closed, the shop serves all the same.
fn announce(part: Part, url: &str, databases: &Databases) {
    let place = places(databases);
    if part != Part::All {
        let _ = writeln!(std::io::stdout(), "shop's {part} listens on {url}, on {place}");
        return;
    }
    let user = r#"{"name":"Ada","email":"ada@example.com"}"#;
    let text = format!(
        "shop listens on {url}, on {place}\n\ntry\n  curl -s {url}/api/products\n  \
         curl -s {url}/api/v2/users -H 'content-type: application/json' -d '{user}'\n\n"
    );
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Where it is, on one line.
pub(crate) fn places(databases: &Databases) -> String {
    let place = databases.main().place();
    let replicas = databases.status().iter().map(|s| s.servers.len().saturating_sub(1)).sum();
    let parts = [(databases.names().len() - 1, "shards"), (replicas, "replicas")];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts.fold(place, |place, (count, what)| format!("{place}, {count} {what}"))
}

/// The signals to end at, caught from the call on: whoever reads that the shop listens may already
/// ask it to end.
pub(crate) fn end_signals() -> Result<impl Future<Output = ()> + Send> {
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
