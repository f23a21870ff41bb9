//! A supervised connection: one task keeps it, and makes it anew when it is lost. It knows nothing of
//! messages.
//!
//! The client could reconnect by itself, but it forgets what was on its way without telling those who
//! wait for the answers, and goes on after the last of its users is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result, Retry};
use tokio::sync::watch;

use super::fault;
use super::session::Session;
use super::streams::Streams;
use super::url::Target;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A connection that lived for less is not taken for a recovery.
const STABLE: Duration = Duration::from_secs(2);

/// The way to the connection of the moment. Its task ends, and the connection is closed, when the last
/// clone is dropped.
#[derive(Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    place: Arc<str>,
}

#[derive(Clone)]
enum State {
    Up(Arc<Session>),
    Down(Down),
}

/// Why there is none.
#[derive(Clone)]
struct Down {
    what: String,
    why: String,
    fix: Option<String>,
    /// It makes no sense to wait.
    refused: bool,
}

impl Link {
    /// Begins to connect. What `streams` knows as declared is declared with each connection.
    pub(super) fn start(target: Arc<Target>, streams: Arc<Streams>) -> Self {
        let place: Arc<str> = target.place.as_str().into();
        let (sender, state) =
            watch::channel(State::Down(Down::because(&place, "no attempt has ended yet")));
        tokio::spawn(supervise(target, streams, sender));
        Self { state, place }
    }

    /// The connection, as soon as there is one. Cancel safe.
    ///
    /// Errors: MSG-002 at `deadline`, or where the server refuses the user and `patient` is false.
    pub(super) async fn session(&self, deadline: Instant, patient: bool) -> Result<Arc<Session>> {
        let mut state = self.state.clone();
        let ready = state.wait_for(|state| match state {
            State::Up(session) => !session.is_over(),
            State::Down(down) => down.refused && !patient,
        });
        let answer = match Clock::system().timeout_at(deadline, ready).await {
            Some(Ok(state)) => Some(state.clone()),
            // The task lives for as long as a receiver does, unless its runtime has ended.
            Some(Err(_)) | None => None,
        };
        match answer.unwrap_or_else(|| self.state.borrow().clone()) {
            State::Up(session) if !session.is_over() => Ok(session),
            State::Up(_) => Err(fault::lost(&self.place)),
            State::Down(Down { what, why, fix, .. }) => {
                let error = Error::new(Code::BrokerDown, what).why(why);
                Err(match fix {
                    Some(fix) => error.fix(fix).retry(Retry::Never),
                    None => error,
                })
            }
        }
    }
}

impl Down {
    fn because(place: &str, why: &str) -> Self {
        let what = format!("{place} can't be reached");
        Self { what, why: why.to_owned(), fix: None, refused: false }
    }
}

/// Keeps a connection until nobody wants one.
async fn supervise(target: Arc<Target>, streams: Arc<Streams>, sender: watch::Sender<State>) {
    let clock = Clock::system();
    let mut pause = PAUSE_MIN;
    loop {
        let made = tokio::select! {
            biased;
            () = sender.closed() => return,
            made = Box::pin(make(&target, &streams)) => made,
        };
        match made {
            Ok(session) => {
                tracing::debug!(place = target.place, "connected");
                let since = clock.now();
                sender.send_replace(State::Up(Arc::clone(&session)));
                tokio::select! {
                    biased;
                    () = session.over() => {}
                    () = sender.closed() => return session.end(),
                }
                tracing::warn!(place = target.place, "the connection was lost");
                sender.send_replace(State::Down(Down::because(
                    &target.place,
                    "the connection was lost",
                )));
                if clock.now() - since >= STABLE {
                    pause = PAUSE_MIN;
                }
            }
            Err(error) => {
                let refused = error.retryability() == Retry::Never;
                sender.send_replace(State::Down(Down {
                    what: error.what().to_owned(),
                    why: error.reason().unwrap_or("it does not answer").to_owned(),
                    fix: refused.then(|| error.advice().to_owned()),
                    refused,
                }));
            }
        }
        let wait = Rng::system().jittered(pause, 0.5);
        pause = (pause * 2).min(PAUSE_MAX);
        tokio::select! {
            biased;
            () = sender.closed() => return,
            () = clock.sleep(wait) => {}
        }
    }
}

/// A connection on which everything is as it was.
async fn make(target: &Target, streams: &Streams) -> Result<Arc<Session>> {
    let session = Session::connect(target, ATTEMPT).await?;
    if let Err(error) = streams.replay(&session, ATTEMPT).await {
        session.end();
        return Err(error);
    }
    Ok(session)
}
