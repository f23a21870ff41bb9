//! One live connection to NATS. It does not reconnect; `link` makes a new one. So nothing that was on
//! its way is forgotten by the client and waited for in vain: it ends with its connection.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::Error as ServerError;
use async_nats::jetstream::response::Response;
use async_nats::rustls::crypto::{CryptoProvider, ring};
use async_nats::{Client, ConnectOptions, Event, Message, Request};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::fault::{self, Fault};
use super::url::{Login, Target};

/// How long a question may be unanswered before the connection is taken for dead.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// A silent server is asked this often; the third question without an answer ends the connection.
const PING: Duration = Duration::from_secs(2);
/// What a subscription may hold. A consumer asks for no more than its prefetch, which is below.
const BUFFER: usize = 128 * 1024;

/// A connection.
pub(super) struct Session {
    client: Client,
    over: watch::Sender<bool>,
}

impl Session {
    /// Connects, and makes sure that there is JetStream. Cancel safe.
    ///
    /// Errors: MSG-002, which is not to be tried again where the server refused the user or has no
    /// JetStream.
    pub(super) async fn connect(target: &Target, limit: Duration) -> Result<Arc<Self>> {
        if target.tls && CryptoProvider::get_default().is_none() {
            // Another may have been quicker, which is as well.
            let _ = ring::default_provider().install_default();
        }
        let over = watch::Sender::new(false);
        let options = Self::options(target, over.clone(), limit).await?;
        let work = async {
            let connected = options.connect(target.servers.as_slice()).await;
            let client = connected.map_err(|error| fault::down(target, &error))?;
            let session = Arc::new(Self { client, over });
            match session.api::<Value>("INFO", &json!({})).await {
                Ok(Ok(_)) => Ok(session),
                Ok(Err(answer)) => Err(fault::jetstream_refused(&target.place, &answer)),
                Err(fault) => Err(fault::no_jetstream(&target.place, fault)),
            }
        };
        let late = || {
            let what = format!("{} did not answer within {limit:?}", target.place);
            Err(Error::new(Code::BrokerDown, what))
        };
        Clock::system().timeout(limit, Box::pin(work)).await.unwrap_or_else(late)
    }

    async fn options(
        target: &Target,
        over: watch::Sender<bool>,
        limit: Duration,
    ) -> Result<ConnectOptions> {
        let options = match &target.login {
            Login::None => ConnectOptions::new(),
            Login::Token(token) => ConnectOptions::with_token(token.clone()),
            Login::User { user, password } => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
            Login::File(path) => {
                let read = ConnectOptions::with_credentials_file(path).await;
                read.map_err(|_| fault::credentials(&target.place, path))?
            }
        };
        let mut options = options
            .name(&target.name)
            .connection_timeout(limit)
            .request_timeout(None)
            .ping_interval(PING)
            .subscription_capacity(BUFFER)
            .require_tls(target.tls)
            // Once each, then it ends: it is this program that connects again.
            .max_reconnects(target.servers.len())
            .ignore_discovered_servers()
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    over.send_replace(true);
                }
                std::future::ready(())
            });
        if let Some(path) = &target.authorities {
            options = options.add_root_certificates(path.clone());
        }
        Ok(options)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the server is one of a cluster.
    pub(super) fn clustered(&self) -> bool {
        self.client.server_info().cluster.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Returns when the connection is lost. Cancel safe.
    pub(super) async fn over(&self) {
        // The sender lives in `self`.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Takes the connection for lost: whoever waits for an answer on it stops.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
    }

    /// Sends `request` and waits for the answer, for no longer than [`ANSWER`].
    pub(super) async fn ask(&self, subject: String, request: Request) -> Result<Message, Fault> {
        let clock = Clock::system();
        tokio::select! {
            biased;
            answer = self.request(subject, request) => answer,
            () = self.over() => Err(Fault::Lost("the connection was lost".into())),
            () = clock.sleep(ANSWER) => {
                // The client would remember the question for as long as it lives.
                self.end();
                Err(Fault::Lost("it is silent".into()))
            }
        }
    }

    /// Asks the API of JetStream; its own errors are inside.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<Result<T, ServerError>, Fault> {
        let request = Request::new().payload(body.to_string().into());
        let answer = self.ask(format!("$JS.API.{call}"), request).await?;
        match serde_json::from_slice(&answer.payload) {
            Ok(Response::Ok(value)) => Ok(Ok(value)),
            Ok(Response::Err { error }) => Ok(Err(error)),
            Err(_) => Err(Fault::Lost("its answer was not understood".into())),
        }
    }

    /// As [`ask`](Self::ask), for one who watches the time and the connection.
    pub(super) async fn request(
        &self,
        subject: String,
        request: Request,
    ) -> Result<Message, Fault> {
        self.client.send_request(subject, request).await.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Fault::Nobody,
            RequestErrorKind::MaxPayloadExceeded => Fault::Refused(error.to_string()),
            RequestErrorKind::InvalidSubject => Fault::Refused("the subject is none".into()),
            RequestErrorKind::TimedOut | RequestErrorKind::Other => Fault::Lost(error.to_string()),
        })
    }
}
