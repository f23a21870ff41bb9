//! A service that takes orders, once for each key, on a fresh database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::post;
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AssertSqlSafe, Db};
use mainstay_http::{Answer as Answering, IdempotencyLayer, Idempotent, Key, Problem};
use mainstay_jobs::Jobs;
use mainstay_jobs::event::Event;
use mainstay_testkit::{Engine, Fresh};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::support::{self, Answer};

/// Makes each function a test on every engine, in a module named after it.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        on_every_engine!(@on sqlite Sqlite $($name)*);
        on_every_engine!(@on postgres Postgres $($name)*);
        on_every_engine!(@on mariadb MariaDb $($name)*);
        on_every_engine!(@on pgbouncer PgBouncer $($name)*);
    };
    (@on $module:ident $engine:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let engine = mainstay_testkit::Engine::$engine;
                    let here = crate::idempotency::shop::Here::new(engine).await;
                    super::$name(&here).await;
                    here.remove().await;
                }
            )*
        }
    };
}
pub(crate) use on_every_engine;

#[derive(Serialize, Deserialize)]
struct Ordered {
    item: String,
}

impl Event for Ordered {
    const NAME: &'static str = "ordered";
}

/// A database with the tables, and effects to be counted.
pub struct Here {
    fresh: Fresh,
    pub db: Db,
}

impl Here {
    pub async fn new(engine: Engine) -> Self {
        let fresh = Fresh::new(engine).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        mainstay_http::idempotency::install(&db).await.unwrap();
        mainstay_jobs::install(&db).await.unwrap();
        db.query("CREATE TABLE effects (item VARCHAR(100) NOT NULL)").execute().await.unwrap();
        Self { fresh, db }
    }

    pub fn url(&self) -> &str {
        self.fresh.url()
    }

    pub async fn remove(self) {
        let _ = self.db.close(Duration::from_secs(5)).await;
        self.fresh.remove().await;
    }

    pub async fn count(&self, from: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM {from}"));
        self.db.query(sql).scalar().await.unwrap()
    }

    pub async fn effects(&self) -> i64 {
        self.count("effects").await
    }

    pub fn shop(&self) -> Shop {
        Shop::new(&self.db)
    }

    /// As another process of the service has it.
    pub async fn another(&self) -> Shop {
        Shop::new(&Db::connect(self.url()).await.unwrap())
    }
}

/// What the service's handlers did.
#[derive(Default)]
pub struct Seen {
    /// Of the work.
    pub calls: AtomicUsize,
    /// Handlers that ended or were dropped.
    pub gone: AtomicUsize,
}

impl Seen {
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
pub struct Shop {
    db: Db,
    pub seen: Arc<Seen>,
    /// What "slow" work waits for.
    pub gate: Arc<Semaphore>,
    pub app: Router,
}

struct Gone(Arc<Seen>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::SeqCst);
    }
}

pub fn layer() -> IdempotencyLayer {
    IdempotencyLayer::by(Key::header("x-api-key")).unwrap()
}

impl Shop {
    pub fn new(db: &Db) -> Self {
        Self::with(db, layer().required())
    }

    pub fn with(db: &Db, layer: IdempotencyLayer) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let bare = Self { db: db.clone(), seen: Arc::default(), gate, app: Router::new() };
        let orders = post(order).put(order).get(order);
        let inner = Router::new().route("/orders", orders.clone());
        let app = Router::new()
            .route("/orders", orders)
            .nest("/of/{user}", inner)
            .layer(layer)
            .with_state(bare.clone());
        Self { app, ..bare }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        support::send(&self.app, request).await
    }

    pub async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = support::request(line, headers);
        self.send(request.map(|_| Body::from(body.to_owned()))).await
    }

    pub async fn post(&self, key: &str, item: &str) -> Answer {
        self.ask("POST /orders", &[("idempotency-key", key), ("x-api-key", "one")], item).await
    }

    /// As a client that means it.
    pub async fn post_until_done(&self, key: &str, item: &str) -> Answer {
        loop {
            let answer = self.post(key, item).await;
            match answer.status.as_u16() {
                409 | 503 => {
                    assert!(!answer.header("retry-after").is_empty());
                    Clock::system().sleep(Duration::from_millis(20)).await;
                }
                _ => return answer,
            }
        }
    }

    async fn work(self, tx: Db, item: String) -> Result<impl axum::response::IntoResponse> {
        let call = self.seen.calls.fetch_add(1, Ordering::SeqCst) + 1;
        tx.query("INSERT INTO effects (item) VALUES ($1)").bind(item.clone()).execute().await?;
        tx.publish(&Ordered { item: item.clone() }).await?;
        let mut body = format!("order {call}");
        match item.as_str() {
            "slow" => self.gate.acquire().await.unwrap().forget(),
            "lasting" => Clock::system().sleep(Duration::from_millis(300)).await,
            "refused" if call == 1 => {
                return Err(Problem::conflict("Out of stock", "none is left").into_error());
            }
            // What the engine says of two that were in each other's way.
            "conflicts" if call == 1 => return Err(Error::new(Code::Serialization, "a conflict")),
            "noted" => return Err(Error::user("noted, and refused").commit_anyway()),
            "panics" if call == 1 => panic!("on purpose"),
            "large" => body = "x".repeat(257 * 1024),
            _ => {}
        }
        let headers = [(LOCATION, format!("/orders/{call}")), (SET_COOKIE, "secret=1".to_owned())];
        Ok((StatusCode::CREATED, headers, body))
    }
}

async fn order(State(shop): State<Shop>, once: Idempotent, item: String) -> Answering<Response> {
    let _gone = Gone(Arc::clone(&shop.seen));
    let db = shop.db.clone();
    once.run(&db, move |tx| shop.clone().work(tx, item.clone())).await
}

/// Waits until it is so.
#[track_caller]
pub fn until<F, Fut>(what: &'static str, mut done: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let place = std::panic::Location::caller();
    async move {
        let clock = Clock::system();
        let begun = clock.now();
        while !done().await {
            let waited = clock.now().saturating_duration_since(begun);
            assert!(waited < Duration::from_secs(60), "not within {waited:?}: {what}, at {place}");
            clock.sleep(Duration::from_millis(10)).await;
        }
    }
}
