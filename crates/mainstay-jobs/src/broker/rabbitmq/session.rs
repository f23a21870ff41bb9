//! One live connection to RabbitMQ, and what hangs on it: its channels. It does not reconnect; `link`
//! makes a new one.

use std::collections::BTreeSet;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::{AMQPUriTcpExt, OwnedTLSConfig};
use lapin::types::FieldTable;
use lapin::uri::AMQPScheme;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, ExchangeKind};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use tokio::sync::watch;

use super::fault;
use super::url::Target;

/// How often a connection is looked at, besides what it tells by itself.
const LOOK: Duration = Duration::from_millis(250);
/// How long a broker has to answer a farewell.
const FAREWELL: Duration = Duration::from_secs(2);
/// Names remembered as seen, each to spare a question to the broker.
const REMEMBERED: usize = 1024;

/// A connection.
pub(super) struct Session {
    connection: Connection,
    cut: Arc<Cut>,
    over: watch::Sender<bool>,
    /// Channels with confirms on, on which nothing is unconfirmed.
    idle: Mutex<Vec<Channel>>,
    seen: Mutex<BTreeSet<String>>,
}

/// Ends a connection from outside: its thread would wait for a frozen broker for ever.
#[derive(Default)]
struct Cut(OnceLock<TcpStream>);

impl Cut {
    fn now(&self) {
        if let Some(socket) = self.0.get() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.now();
    }
}

/// Held while a connection is being made: what is dropped half-way leaves no thread behind.
struct Attempt(Option<Arc<Cut>>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(cut) = &self.0 {
            cut.now();
        }
    }
}

impl Session {
    /// Connects, within `limit`. Cancel safe.
    ///
    /// Errors: MSG-002, which is not to be tried again where the broker refused the user.
    pub(super) async fn connect(target: &Target, limit: Duration) -> Result<Arc<Self>> {
        let authorities = target.authorities.clone();
        let name = target.name.clone().unwrap_or_else(|| "mainstay".to_owned());
        let options = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime().map_err(|e| fault::down(target, &e))?;
        let mut attempt = Attempt(Some(Arc::default()));
        let cut = attempt.0.clone().unwrap_or_default();
        let socket = Arc::clone(&cut);
        let work = Connection::connector(
            target.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let plain = lapin::uri::AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
                let config =
                    OwnedTLSConfig { cert_chain: authorities.clone(), ..Default::default() };
                let stream = plain.connect_with_config_async(config.as_ref(), &runtime).await?;
                if let AsyncTcpStream::Plain(stream) = &stream {
                    let _ = socket.0.set(stream.get_ref().as_fd().try_clone_to_owned()?.into());
                }
                Ok(match uri.scheme {
                    AMQPScheme::AMQP => stream,
                    AMQPScheme::AMQPS => {
                        stream.into_tls(&uri.authority.host, config.as_ref()).await?
                    }
                })
            },
            options,
        );
        let connection = match Clock::system().timeout(limit, Box::pin(work)).await {
            Some(Ok(connection)) => connection,
            Some(Err(error)) => return Err(fault::down(target, &error)),
            None => {
                return Err(Error::new(
                    Code::BrokerDown,
                    format!("{} did not answer within {limit:?}", target.place),
                ));
            }
        };
        attempt.0 = None;
        Ok(Arc::new(Self {
            connection,
            cut,
            over: watch::Sender::new(false),
            idle: Mutex::default(),
            seen: Mutex::default(),
        }))
    }

    /// Ends when the connection is lost.
    pub(super) async fn lost(&self) {
        let clock = Clock::system();
        let mut events = std::pin::pin!(self.connection.events_listener());
        while self.connection.status().connected() {
            tokio::select! {
                event = events.next() => if event.is_none() {
                    clock.sleep(LOOK).await;
                },
                () = clock.sleep(LOOK) => {}
            }
        }
    }

    /// Whoever still waits for this connection gives it up.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
        self.cut.now();
    }

    /// Whether it was [ended](Self::end) or lost.
    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow() || !self.connection.status().connected()
    }

    /// Waits for its [end](Self::end).
    pub(super) async fn over(&self) {
        // An error says that the sender is gone, which is in `self`.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Takes leave of the broker, so that what was sent arrives.
    pub(super) async fn close(&self) {
        let farewell = self.connection.close(200, "OK".into());
        let _ = Clock::system().timeout(FAREWELL, farewell).await;
        self.end();
    }

    /// Whether the broker takes no messages at present, as its disk or memory is full.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// A channel of its own for a few questions; closed when it is dropped.
    pub(super) async fn scratch(&self) -> lapin::Result<Scratch> {
        Ok(Scratch { channel: self.connection.create_channel().await?, keep: false })
    }

    /// A channel with confirms on; nobody else uses it until it is [given back](Self::give_back).
    pub(super) async fn publishing(&self) -> lapin::Result<Channel> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(channel) = idle() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let scratch = self.scratch().await?;
        scratch.channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(scratch.kept())
    }

    /// Nothing may be unconfirmed on `channel`.
    pub(super) fn give_back(&self, channel: Channel) {
        if channel.status().connected() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
    }

    /// Whether the exchange is there. A message for one that is not would end the whole connection,
    /// and so is not sent.
    pub(super) async fn check_exchange(&self, exchange: &str) -> lapin::Result<()> {
        // The default exchange can't be asked about, and is always there.
        if exchange.is_empty() || self.has_seen("exchange", exchange) {
            return Ok(());
        }
        let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let scratch = self.scratch().await?;
        scratch
            .channel
            .exchange_declare(exchange.into(), ExchangeKind::Direct, options, FieldTable::default())
            .await?;
        self.saw("exchange", exchange);
        Ok(())
    }

    /// Whether something of this kind and name was there before.
    pub(super) fn has_seen(&self, kind: &str, name: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.contains(&format!("{kind} {name}"))
    }

    pub(super) fn saw(&self, kind: &str, name: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(format!("{kind} {name}"));
    }

    pub(super) fn forget(&self, kind: &str, name: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(&format!("{kind} {name}"));
    }
}

/// A channel for questions.
pub(super) struct Scratch {
    pub(super) channel: Channel,
    keep: bool,
}

impl Scratch {
    /// The channel, which now stays open.
    pub(super) fn kept(mut self) -> Channel {
        self.keep = true;
        self.channel.clone()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            close(&self.channel);
        }
    }
}

/// Closes `channel` without waiting for the broker's answer. All that was to be sent on it must have
/// been sent.
pub(super) fn close(channel: &Channel) {
    let channel = channel.clone();
    drop(begin(async move { channel.close(200, "OK".into()).await }));
}

/// A future that has begun: lapin puts a frame into its queue when a future is first polled, and what
/// comes after is waiting.
pub(super) enum Begun<F: Future> {
    Done(F::Output),
    Going(Pin<Box<F>>),
}

/// Begins `future`.
pub(super) fn begin<F: Future>(future: F) -> Begun<F> {
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Begun::Done(output),
        Poll::Pending => Begun::Going(future),
    }
}

impl<F: Future> Begun<F> {
    /// Waits for its end.
    pub(super) async fn end(self) -> F::Output {
        match self {
            Begun::Done(output) => output,
            Begun::Going(future) => future.await,
        }
    }
}
