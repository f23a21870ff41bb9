//! A backend that answers, fails or is silent as it is told, and counts what reaches it; and a client
//! without anything around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

use axum::body::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What a backend does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Unavailable,
    Silent,
}

#[derive(Default)]
struct Shared {
    mood: AtomicU8,
    asked: AtomicUsize,
}

/// Until it is dropped.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Backend {
    pub(super) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        shared.mood.store(mood as u8, SeqCst);
        let seen = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&seen)));
            }
        });
        Self { address, shared, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn becomes(&self, mood: Mood) {
        self.shared.mood.store(mood as u8, SeqCst);
    }

    /// How many requests reached it.
    pub(super) fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Requests without bodies.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&part[..read]),
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        shared.asked.fetch_add(1, SeqCst);
        let mood = shared.mood.load(SeqCst);
        let answer: &[u8] = if mood == Mood::Good as u8 {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        } else if mood == Mood::Unavailable as u8 {
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
        } else {
            // Until the caller closes the connection.
            while !matches!(stream.read(&mut part).await, Ok(0) | Err(_)) {}
            return;
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// A port where nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

pub(super) type Bare = Client<HttpConnector, Full<Bytes>>;

/// hyper's own, with its pool.
pub(super) fn bare() -> Bare {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(http)
}
