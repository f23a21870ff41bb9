//! The shop on a free port, and the little HTTP that is needed to ask it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mainstay::Db;
use mainstay::route::Databases;
use mainstay_testkit::Fresh;
use serde_json::Value;
use shop::config::{Background, Config};
use shop::health::Readiness;
use shop::state::Shop as State;
use shop::{schema, server, worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A shop that serves until it is dropped.
pub(crate) struct Shop {
    /// The primary of the main one.
    pub(crate) db: Db,
    pub(crate) databases: Databases,
    port: u16,
    server: tokio::task::JoinHandle<()>,
    state: State,
    /// Of the one that others are beside.
    fresh: Option<Fresh>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shop {
    pub(crate) async fn start(fresh: Fresh) -> Self {
        // More than any test asks for.
        let mut config = Config::default();
        "100000/s".clone_into(&mut config.limits.requests);
        "100000/s".clone_into(&mut config.limits.orders);
        Box::pin(Self::with(fresh, config)).await
    }

    pub(crate) async fn with(fresh: Fresh, config: Config) -> Self {
        let mut shop = Box::pin(Self::on(fresh.url(), config)).await;
        shop.fresh = Some(fresh);
        shop
    }

    /// Another process's, on the same database.
    pub(crate) async fn beside(&self, config: Config) -> Self {
        Box::pin(Self::on(self.fresh.as_ref().unwrap().url(), config)).await
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn on(url: &str, mut config: Config) -> Self {
        config.mainstay.database.url = Some(url.to_owned());
        Box::pin(Self::configured(config)).await
    }

    /// On the databases that are configured.
    pub(crate) async fn configured(config: Config) -> Self {
        let databases = config.connect().await.unwrap();
        let db = databases.primary("main").unwrap();
        schema::migrate(&databases, &Config::default().mainstay.migrate).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let draining = Arc::new(AtomicBool::new(false));
        let state = State::open(databases.clone(), &config).await.unwrap();
        let readiness = Readiness { db: db.clone(), draining, needs_database: true };
        let app = server::routes(&state, readiness, &config).await.unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { db, databases, port, server, state, fresh: None }
    }

    /// A worker of it, whose mails go there.
    pub(crate) async fn worker(&self, mails: &std::path::Path) -> worker::Workers {
        let config = Background { mail_folder: mails.to_owned(), ..Background::default() };
        worker::start(&self.state, &config).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// Every answer is JSON, and every refusal a problem.
    async fn ask(&self, request: &str) -> (u16, Value) {
        let (status, _, json) = self.ask_whole(request).await;
        (status, json)
    }

    /// With a cookie, if there is one; the answer's head too.
    pub(crate) async fn call(
        &self,
        what: &str,
        cookie: Option<&str>,
        body: &str,
    ) -> (u16, String, Value) {
        let cookie = cookie.map(|c| format!("cookie: {c}\r\n")).unwrap_or_default();
        let length = body.len();
        self.ask_whole(&format!(
            "{what} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{cookie}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// As it is for a person.
    pub(crate) async fn text(&self, path: &str) -> String {
        let accept = "host: shop\r\naccept: text/plain\r\nconnection: close";
        self.raw(&format!("GET {path} HTTP/1.1\r\n{accept}\r\n\r\n")).await
    }

    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn ask_whole(&self, request: &str) -> (u16, String, Value) {
        let text = self.raw(request).await;
        let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        if status == 204 {
            return (status, head.to_owned(), Value::Null);
        }
        let json: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {text}"));
        if status >= 400 && json["status"] != "draining" {
            assert!(head.contains("application/problem+json"), "{head}");
            assert_eq!(json["status"], status);
        }
        (status, head.to_owned(), json)
    }
}

/// What a browser would send back.
pub(crate) fn cookie_of(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    line.split(';').next().unwrap().to_owned()
}
