//! Servers that behave as no framework would let them: on loopback, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What is done with a request.
pub enum Act {
    /// Answered with these bytes.
    Raw(String),
    /// Answered with these bytes, late.
    Late(Duration, String),
    /// Never answered.
    Never,
    /// The connection is closed.
    Hang,
}

type Script = dyn Fn(usize, &str) -> Act + Send + Sync;

/// A server until it is dropped: then its connections are gone too, and its port refuses.
pub struct Backend {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Backend {
    /// `script` is given the number of the request, from 0, and its head in small letters.
    pub async fn start(script: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), script).await
    }

    pub async fn at(
        address: SocketAddr,
        script: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&heads), Arc::new(script));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&seen), Arc::clone(&script)));
            }
        });
        Self { address, heads, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// The heads of the requests.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.heads().pop()?;
        let value = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map(str::to_owned)
    }

    pub async fn stop(self) -> SocketAddr {
        let address = self.address;
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
        address
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>, script: Arc<Script>) {
    while let Some(head) = request(&mut stream).await {
        let number = {
            let mut heads = heads.lock().unwrap();
            heads.push(head.clone());
            heads.len() - 1
        };
        let answer = match script(number, &head) {
            Act::Raw(answer) => answer,
            Act::Late(time, answer) => {
                tokio::time::sleep(time).await;
                answer
            }
            Act::Never => std::future::pending().await,
            Act::Hang => return,
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The head of the next request; its body is read and dropped.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

pub fn ok(body: &str) -> Act {
    status("200 OK", body)
}

pub fn status(status: &str, body: &str) -> Act {
    Act::Raw(answer(status, body))
}

pub fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A port where nobody listens.
pub async fn dead() -> SocketAddr {
    Backend::start(|_, _| Act::Hang).await.stop().await
}
