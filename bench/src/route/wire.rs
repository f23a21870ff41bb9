//! A TCP proxy on loopback that is far away, counts who speaks, and can stop a client in the middle of what it says. Unlike
//! the test kit's, a delay costs no throughput: what follows is on its way meanwhile.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::now;

/// Pieces on their way; who has more to say waits.
const UNDER_WAY: usize = 4096;

/// It ends, with its connections, when it is dropped.
pub(super) struct Wire {
    server: u16,
    port: u16,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    delay: Duration,
    /// How often a client spoke after the server had.
    turns: AtomicU64,
    gate: Mutex<Option<Gate>>,
}

/// Where a client is stopped.
struct Gate {
    turns_left: u64,
    /// Whether the server hears what is said there.
    heard: bool,
    reached: oneshot::Sender<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Wire {
    /// To a server on 127.0.0.1, with so long a way in each direction.
    pub(super) async fn to(server: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State { delay, ..State::default() });
        let accepting = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                let mut all = tokio::task::JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    let state = Arc::clone(&state);
                    all.spawn(async move {
                        let _ = pass(client, server, &state).await;
                    });
                    while all.try_join_next().is_some() {}
                }
            }
        });
        Self { server, port, state, accepting }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The same database, over this.
    pub(super) fn through(&self, url: &str) -> String {
        let (direct, here) =
            (format!("127.0.0.1:{}", self.server), format!("127.0.0.1:{}", self.port));
        assert!(url.contains(&direct), "it leads to another server");
        url.replacen(&direct, &here, 1)
    }

    /// How often clients had to wait for an answer: exchanges, by now.
    pub(super) fn turns(&self) -> u64 {
        self.state.turns.load(SeqCst)
    }

    /// The client is stopped after so many turns from now, and then one is told. Nothing that it says after that arrives.
    pub(super) fn stop_after(&self, turns: u64, heard: bool) -> oneshot::Receiver<()> {
        let (reached, told) = oneshot::channel();
        *self.state.gate() = Some(Gate { turns_left: turns, heard, reached });
        told
    }
}

impl State {
    fn gate(&self) -> std::sync::MutexGuard<'_, Option<Gate>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client begins to speak. Some: it is to be stopped here.
    fn turn(&self) -> Option<Gate> {
        self.turns.fetch_add(1, SeqCst);
        let mut gate = self.gate();
        let here = gate.as_ref()?.turns_left == 0;
        if here {
            return gate.take();
        }
        if let Some(gate) = gate.as_mut() {
            gate.turns_left -= 1;
        }
        None
    }
}

type Piece = (Instant, Vec<u8>);

async fn pass(client: TcpStream, server: u16, state: &State) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let (asks, asked) = mpsc::channel::<Piece>(UNDER_WAY);
    let (answers, answered) = mpsc::channel::<Piece>(UNDER_WAY);
    let server_spoke = std::sync::atomic::AtomicBool::new(true);
    let from_client = async {
        while let Some(piece) = read(&mut from_client).await {
            let gate = if server_spoke.swap(false, SeqCst) { state.turn() } else { None };
            let stop = gate.is_some();
            let heard = gate.as_ref().is_none_or(|gate| gate.heard);
            if heard && asks.send((now() + state.delay, piece)).await.is_err() {
                return;
            }
            if let Some(gate) = gate {
                let _ = gate.reached.send(());
            }
            if stop {
                // Until it is gone, and the server sees that.
                while read(&mut from_client).await.is_some() {}
                return;
            }
        }
    };
    let from_server = async {
        while let Some(piece) = read(&mut from_server).await {
            server_spoke.store(true, SeqCst);
            if answers.send((now() + state.delay, piece)).await.is_err() {
                return;
            }
        }
    };
    // When one side ends, so does the other.
    tokio::select! {
        () = from_client => {}
        () = from_server => {}
        () = deliver(asked, to_server) => {}
        () = deliver(answered, to_client) => {}
    }
    Ok(())
}

async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut piece = vec![0; 16 * 1024];
    let n = from.read(&mut piece).await.ok().filter(|n| *n > 0)?;
    piece.truncate(n);
    Some(piece)
}

async fn deliver(mut pieces: mpsc::Receiver<Piece>, mut to: OwnedWriteHalf) {
    while let Some((at, piece)) = pieces.recv().await {
        // The runtime's timer knows no less than a millisecond.
        if at > now() {
            tokio::time::sleep_until(at.into()).await;
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}
