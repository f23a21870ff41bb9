//! Tokens with requests, answers and calls to other services.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, http::header::SET_COOKIE};
use mainstay_db::Db;
use mainstay_http::service::Service;
use mainstay_http::{
    Answer, IdempotencyLayer, Idempotent, Key, ScopeLayer, TOKEN_HEADER, TokenLayer,
};
use mainstay_route::Freshness;
use mainstay_testkit::Engine;
use tower::ServiceExt;

use super::{Pair, add, read};

/// Counts, by a transaction, by a statement, and by one that takes longer than it may.
fn app(db: &Db) -> Router {
    let (one, two, three, four) = (db.clone(), db.clone(), db.clone(), db.clone());
    let slow = if db.is_mariadb() { "SLEEP(20) = 9" } else { "pg_sleep(20) IS NOT NULL" };
    let slow = format!("UPDATE pairs SET n = n + 1 WHERE id = 1 AND {slow}");
    Router::new()
        .route("/n", get(async move || Answer::Ok(read(&one).await?.to_string())))
        .route("/add", post(async move || add(&two).await.to_string()))
        .route(
            "/plain",
            post(async move || {
                three.query("UPDATE pairs SET n = n + 1 WHERE id = 1").execute().await?;
                Answer::Ok("done")
            }),
        )
        .route(
            "/slow",
            post(async move || {
                four.query(mainstay_db::AssertSqlSafe(slow)).execute().await?;
                Answer::Ok("done")
            }),
        )
        .route("/once", post(once).with_state(db.clone()))
        .layer(IdempotencyLayer::by(Key::header("x-api-key")).unwrap())
        .layer(ScopeLayer::new())
        .layer(TokenLayer::cookie_and_header())
}

async fn once(State(db): State<Db>, once: Idempotent) -> Answer<Response> {
    once.run(&db, async |tx| Ok(add(&tx).await.to_string())).await
}

struct Told {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Told {
    fn token(&self) -> &str {
        self.headers.get(TOKEN_HEADER).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    fn cookie(&self) -> Option<String> {
        Some(self.headers.get(SET_COOKIE)?.to_str().unwrap().to_owned())
    }

    fn n(&self) -> i64 {
        self.text.parse().unwrap()
    }
}

async fn ask(app: &Router, line: &str, headers: &[(&str, &str)]) -> Told {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    Told { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

/// What a browser sends back of a cookie that it was given.
fn kept(cookie: &str) -> String {
    cookie.split(';').next().unwrap().to_owned()
}

async fn the_next_request_sees_what_the_last_one_wrote(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("http").await;
    mainstay_http::idempotency::install(&tried.db()).await.unwrap();
    let app = app(&tried.db());
    tried.hold().await;
    let told = ask(&app, "GET /n", &[]).await;
    assert_eq!((told.n(), told.cookie(), told.token()), (0, None, ""));
    assert_eq!(tried.on_replica(), 1);

    let any = tried.cluster.db_with(Freshness::Any);
    let wrote = ask(&app, "POST /add", &[]).await;
    assert_eq!(read(&any).await.unwrap(), 0);
    assert_eq!(read(&any.fresh()).await.unwrap(), wrote.n(), "whatever it allows otherwise");
    let cookie = wrote.cookie().unwrap();
    let attributes = "; Max-Age=60; Path=/; HttpOnly; SameSite=Lax";
    assert_eq!(cookie, format!("mainstay_token={}{attributes}", wrote.token()));
    assert!(!wrote.token().contains('*'), "{}", wrote.token());
    let kept = kept(&cookie);
    assert_eq!(ask(&app, "GET /n", &[]).await.n(), 0, "somebody else");
    for _ in 0..3 {
        let told = ask(&app, "GET /n", &[("cookie", &kept)]).await;
        assert_eq!(told.n(), wrote.n());
        assert_eq!((told.cookie(), told.token()), (None, wrote.token()), "carried on");
        assert_eq!(ask(&app, "GET /n", &[("mainstay-token", wrote.token())]).await.n(), wrote.n());
    }

    // A statement by itself is told of, too.
    let plain = ask(&app, "POST /plain", &[("cookie", &kept)]).await;
    assert!(!plain.token().contains('*') && plain.cookie().is_some(), "{}", plain.token());
    assert_ne!(plain.token(), wrote.token());
    let told = ask(&app, "GET /n", &[("mainstay-token", plain.token())]).await;
    assert_eq!(told.n(), wrote.n() + 1);

    // One that was given up in the middle may have been carried out, or may yet be.
    let slow = ask(&app, "POST /slow", &[("x-request-timeout", "300ms")]).await;
    assert_eq!(slow.status, StatusCode::GATEWAY_TIMEOUT, "{}", slow.text);
    assert!(slow.token().ends_with('*') && slow.cookie().is_some(), "{}", slow.token());
    let told = ask(&app, "GET /n", &[("mainstay-token", slow.token())]).await;
    assert_eq!(told.n(), wrote.n() + 1);
    assert!(!told.token().contains('*'), "it is known by then: {}", told.token());

    // What is answered again is told with it again: the first answer may have been lost.
    let key =
        [("idempotency-key", "\"k-1\""), ("x-api-key", "k"), ("mainstay-token", plain.token())];
    let first = ask(&app, "POST /once", &key).await;
    let again = ask(&app, "POST /once", &key[..2]).await;
    assert_eq!(first.n(), again.n());
    assert!(again.headers.contains_key("idempotency-replayed"));
    assert_eq!(ask(&app, "GET /n", &[("mainstay-token", again.token())]).await.n(), first.n());

    // Once it has it, the replica serves them.
    tried.resume().await;
    let before = tried.on_replica();
    let told = ask(&app, "GET /n", &[("mainstay-token", plain.token())]).await;
    assert_eq!((told.n(), tried.on_replica()), (first.n(), before + 1));
}

async fn what_is_no_token_or_anothers_harms_nobody(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("odd").await;
    let app = app(&tried.db());
    let long = format!("pg.1.0/1~{}", "pg.2.0/1~".repeat(600));
    for text in ["nonsense", "pg.1", "pg.1.0/1~", "my.1.0", &long] {
        let told = ask(&app, "GET /n", &[("mainstay-token", text)]).await;
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{text}");
        assert!(told.text.contains("ROUTE-003"), "{}", told.text);
        let cookie = format!("other=1; mainstay_token={text}");
        let told = ask(&app, "GET /n", &[("cookie", &cookie)]).await;
        assert_eq!((told.n(), told.cookie(), told.token()), (0, None, ""), "{text}");
    }
    // One that is beyond the primary, such as one that was made up, is put right.
    let real = ask(&app, "POST /add", &[]).await;
    let whose = real.token().rsplit_once('.').unwrap().0;
    let far =
        if engine == Engine::MariaDb { "0-18446744073709551615" } else { "FFFFFFFF/FFFFFFFF" };
    let far = format!("{whose}.{far}");
    let told = ask(&app, "GET /n", &[("mainstay-token", &far)]).await;
    assert_eq!(told.n(), real.n());
    assert!(told.token() != far && told.cookie().is_some(), "{}", told.token());
    // Another service's cluster is nothing to this one, and goes on to whom it may concern.
    let foreign = "my.1.0-7~pg.2.0/5";
    let told = ask(&app, "GET /n", &[("mainstay-token", foreign)]).await;
    assert_eq!(told.token(), foreign);
    let wrote = ask(&app, "POST /add", &[("mainstay-token", foreign)]).await;
    let several: Vec<&str> = wrote.token().split('~').collect();
    assert!(several.len() == 3 && several.contains(&"pg.2.0/5"), "{several:?}");
}

/// The one that is asked by the client has no database.
async fn what_another_service_wrote_is_seen_by_the_client(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("called").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(axum::serve(listener, app(&tried.db())).into_future());
    let service = Service::builder("counter", [url]).carry_tokens(TOKEN_HEADER).build().unwrap();
    let (one, two) = (service.clone(), service);
    let twice = async move || {
        let wrote: i64 = one.post("/add").send().await?;
        // The same request asks it again, and sees it.
        let seen: i64 = one.get("/n").send().await?;
        assert_eq!(wrote, seen);
        Answer::Ok(wrote.to_string())
    };
    let front = Router::new()
        .route("/twice", post(twice))
        .route("/n", get(async move || Answer::Ok(two.get("/n").send::<i64>().await?.to_string())))
        .layer(TokenLayer::cookie())
        .layer(ScopeLayer::new().default_deadline(Duration::from_secs(20)));
    tried.hold().await;
    let wrote = ask(&front, "POST /twice", &[]).await;
    let cookie = kept(&wrote.cookie().unwrap());
    assert_eq!(ask(&front, "GET /n", &[("cookie", &cookie)]).await.n(), wrote.n());
    assert_eq!(ask(&front, "GET /n", &[]).await.n(), wrote.n() - 1, "somebody else");
    tried.resume().await;
    served.abort();
}

crate::on_servers!(
    the_next_request_sees_what_the_last_one_wrote,
    what_is_no_token_or_anothers_harms_nobody,
    what_another_service_wrote_is_seen_by_the_client
);
