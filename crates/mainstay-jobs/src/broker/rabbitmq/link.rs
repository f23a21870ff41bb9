//! A supervised connection: one task keeps it, and makes it anew when it is lost. It knows nothing of
//! messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result, Retry};
use tokio::sync::watch;

use super::session::Session;
use super::topology::Topology;
use super::url::Target;

/// How long one attempt may take: a little less than the first connection, so that it tells why.
const ATTEMPT: Duration = Duration::from_secs(4);
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
    /// Why, and whether it makes no sense to wait.
    Down {
        why: String,
        what: String,
        fix: Option<String>,
        refused: bool,
    },
}

impl Link {
    /// Begins to connect. Where `topology` is given, its queues are declared with each connection.
    pub(super) fn start(target: Arc<Target>, topology: Option<Arc<Topology>>) -> Self {
        let place = target.place.as_str().into();
        let down = State::Down {
            what: format!("{place} can't be reached"),
            why: "no attempt has ended yet".to_owned(),
            fix: None,
            refused: false,
        };
        let (sender, state) = watch::channel(down);
        tokio::spawn(supervise(target, topology, sender));
        Self { state, place }
    }

    /// The connection, as soon as there is one. Cancel safe.
    ///
    /// Errors: MSG-002 at `deadline`, or where the broker refuses the user and `patient` is false.
    pub(super) async fn session(&self, deadline: Instant, patient: bool) -> Result<Arc<Session>> {
        let mut state = self.state.clone();
        let ready = state.wait_for(|state| match state {
            State::Up(session) => !session.is_over(),
            State::Down { refused, .. } => *refused && !patient,
        });
        let answer = match Clock::system().timeout_at(deadline, ready).await {
            Some(Ok(state)) => Some(state.clone()),
            // The task lives for as long as a receiver does, unless its runtime has ended.
            Some(Err(_)) | None => None,
        };
        match answer.unwrap_or_else(|| self.state.borrow().clone()) {
            State::Up(session) if !session.is_over() => Ok(session),
            State::Up(_) => Err(super::fault::lost(&self.place)),
            State::Down { why, what, fix, .. } => {
                let error = Error::new(Code::BrokerDown, what).why(why);
                Err(match fix {
                    Some(fix) => error.fix(fix).retry(Retry::Never),
                    None => error,
                })
            }
        }
    }
}

/// Keeps a connection until nobody wants one.
async fn supervise(
    target: Arc<Target>,
    topology: Option<Arc<Topology>>,
    sender: watch::Sender<State>,
) {
    let clock = Clock::system();
    let mut pause = PAUSE_MIN;
    loop {
        let made = tokio::select! {
            biased;
            () = sender.closed() => return,
            made = Box::pin(make(&target, topology.as_deref())) => made,
        };
        match made {
            Ok(session) => {
                tracing::debug!(place = target.place, "connected");
                let since = clock.now();
                sender.send_replace(State::Up(Arc::clone(&session)));
                tokio::select! {
                    biased;
                    () = session.lost() => {}
                    () = sender.closed() => {
                        session.close().await;
                        return;
                    }
                }
                tracing::warn!(place = target.place, "the connection was lost");
                session.end();
                sender.send_replace(State::Down {
                    what: format!("{} can't be reached", target.place),
                    why: "the connection was lost".to_owned(),
                    fix: None,
                    refused: false,
                });
                if clock.now() - since >= STABLE {
                    pause = PAUSE_MIN;
                }
            }
            Err(error) => {
                let refused = error.retryability() == Retry::Never;
                sender.send_replace(State::Down {
                    what: error.what().to_owned(),
                    why: error.reason().unwrap_or("it does not answer").to_owned(),
                    fix: refused.then(|| error.advice().to_owned()),
                    refused,
                });
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
async fn make(target: &Target, topology: Option<&Topology>) -> Result<Arc<Session>> {
    let session = Session::connect(target, ATTEMPT).await?;
    if let Some(topology) = topology
        && let Err(error) = topology.replay(&session, ATTEMPT).await
    {
        session.end();
        return Err(error);
    }
    Ok(session)
}
