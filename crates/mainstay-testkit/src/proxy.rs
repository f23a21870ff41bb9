//! A TCP proxy on loopback that can delay, cut, refuse and go silent: a network that fails on
//! command.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the network behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// All passes.
    Fair,
    /// Each piece is this late, in each direction.
    Delayed(Duration),
    /// Nothing passes and nothing is said: connections stay open, new ones too.
    Silent,
    /// What the client sends passes; the server's answers do not.
    Unanswered,
    /// Connections are cut, new ones as soon as they are made: what a server that is down looks like.
    Down,
}

/// A proxy to one address; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Each change cuts what is connected.
    cuts: watch::Sender<u64>,
    counts: Arc<Counts>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Proxy {
    /// Begins to pass connections on to `server`. Errors: no free port.
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (weather, feels) = watch::channel(Weather::Fair);
        let (cuts, cut) = watch::channel(0);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.accepted.fetch_add(1, SeqCst);
                let (feels, mut cut) = (feels.clone(), cut.clone());
                let open = Open::new(&counted);
                tokio::spawn(async move {
                    let _open = open;
                    cut.mark_unchanged();
                    tokio::select! {
                        _ = cut.changed() => {}
                        _ = pass(client, server, feels) => {}
                    }
                });
            }
        });
        Ok(Self { address, weather, cuts, counts, accepting })
    }

    /// As [`to`](Self::to), to the server of `url`; also gives the URL that goes through the proxy.
    pub async fn before(url: &str) -> io::Result<(Self, String)> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "no host and port in the URL");
        let authority =
            url.split("://").nth(1).and_then(|r| r.split('/').next()).ok_or_else(wrong)?;
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let server: SocketAddr = host.parse().map_err(|_| wrong())?;
        let proxy = Self::to(server).await?;
        let through = url.replacen(host, &proxy.address.to_string(), 1);
        Ok((proxy, through))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the network behaves so. `Down` also cuts what is connected.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
        if weather == Weather::Down {
            self.cut();
        }
    }

    /// Cuts what is connected.
    pub fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.counts.open.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// One that is open, until dropped.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

async fn pass(
    client: TcpStream,
    server: SocketAddr,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    if *weather.borrow() == Weather::Down {
        return Ok(());
    }
    let _ = weather.wait_for(|w| *w != Weather::Silent).await;
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // What is down passes nothing more, until it is cut.
    let asks = [Weather::Silent, Weather::Down];
    let answers = [Weather::Silent, Weather::Unanswered, Weather::Down];
    // When one side ends, so does the other: half-open connections are none of what is tested.
    tokio::select! {
        done = one_way(from_client, to_server, weather.clone(), &asks) => done,
        done = one_way(from_server, to_client, weather, &answers) => done,
    }
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    stopped_in: &[Weather],
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        let now = *weather.borrow();
        if let Weather::Delayed(by) = now {
            tokio::time::sleep(by).await;
        }
        let _ = weather.wait_for(|w| !stopped_in.contains(w)).await;
        to.write_all(&buffer[..n]).await?;
    }
}
