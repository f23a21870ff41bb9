//! The shop on a free port, and the little HTTP that is needed to ask it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mainstay::Db;
use mainstay_testkit::Fresh;
use serde_json::Value;
use shop::config::{Background, Config};
use shop::health::Readiness;
use shop::{schema, server, worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A shop that serves until it is dropped.
pub(crate) struct Shop {
    pub(crate) db: Db,
    port: u16,
    server: tokio::task::JoinHandle<()>,
    _fresh: Fresh,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shop {
    pub(crate) async fn start(fresh: Fresh) -> Self {
        let db = Db::connect(fresh.url()).await.unwrap();
        schema::migrate(&db, &Config::default().mainstay.migrate).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let draining = Arc::new(AtomicBool::new(false));
        let app = server::routes(Readiness { db: db.clone(), draining, needs_database: true });
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { db, port, server, _fresh: fresh }
    }

    /// A worker of it, whose mails go there.
    pub(crate) async fn worker(&self, mails: &std::path::Path) -> mainstay::jobs::Worker {
        let config = Background { mail_folder: mails.to_owned(), ..Background::default() };
        worker::start(&self.db, &config).await.unwrap()
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
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let json: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {text}"));
        if status >= 400 && json["status"] != "draining" {
            assert!(head.contains("application/problem+json"), "{head}");
            assert_eq!(json["status"], status);
        }
        (status, json)
    }
}
