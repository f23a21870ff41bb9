//! Streams: a queue is one, with the consumer that all who consume it share, and another for its dead
//! letters.
//!
//! A stream is a work queue: an acknowledged message is removed, so the stream holds what is still to
//! be done and nothing else. With the other kinds of retention everything would stay until a limit
//! dropped it, done or not.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::Info as ConsumerInfo;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info as StreamInfo, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{Error as ServerError, ErrorCode};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fault::{self, Fault};
use super::names::Names;
use super::session::Session;

/// The consumer of each queue. A work queue can have but one.
pub(super) const CONSUMER: &str = "mainstay";
/// An unsettled message that nothing was heard of for this long is delivered again.
pub(super) const ACK_WAIT: Duration = Duration::from_millis(4500);
/// How long the server knows the ids of what was published.
const DUPLICATES: Duration = Duration::from_secs(120);
/// Requests of consumers that wait at once; each consumer has up to two.
const WAITING: u32 = 4096;

/// What is declared, and how.
pub(super) struct Streams {
    place: String,
    replicas: Option<usize>,
    declared: Mutex<BTreeSet<String>>,
}

impl Streams {
    pub(super) fn new(place: String, replicas: Option<usize>) -> Self {
        Self { place, replicas, declared: Mutex::default() }
    }

    /// Makes sure of the queue and its dead letters.
    ///
    /// Errors: MSG-004, MSG-002.
    pub(super) async fn ensure(&self, session: &Session, names: &Names) -> Result<()> {
        self.declare(session, names).await?;
        self.lock().insert(names.queue.clone());
        Ok(())
    }

    /// Declares all queues on a new connection.
    pub(super) async fn replay(&self, session: &Session, limit: Duration) -> Result<()> {
        let queues: Vec<String> = self.lock().iter().cloned().collect();
        for queue in queues {
            let names = Names::of(&queue)?;
            let declared = Clock::system().timeout(limit, self.declare(session, &names)).await;
            match declared.unwrap_or_else(|| Err(fault::lost(&self.place))) {
                Ok(()) => {}
                // Somebody made it another way meanwhile: that is for its users, not for all.
                Err(error) if error.code() == Code::BrokerQueue => {
                    tracing::warn!(queue, %error, "the queue could not be declared again");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn declare(&self, session: &Session, names: &Names) -> Result<()> {
        // The dead letters first: what dies in between must find them.
        let dead = Config {
            name: names.dead_stream.clone(),
            subjects: vec![names.dead_subject.clone()],
            description: Some(format!("Mainstay: dead letters of {}", names.queue)),
            retention: RetentionPolicy::Limits,
            ..self.config(session)
        };
        self.declare_one(session, names, dead).await?;
        let queue = Config {
            name: names.stream.clone(),
            subjects: vec![names.subject.clone()],
            description: Some(format!("Mainstay: queue {}", names.queue)),
            retention: RetentionPolicy::WorkQueue,
            ..self.config(session)
        };
        self.declare_one(session, names, queue).await?;
        self.consumer(session, names).await
    }

    fn config(&self, session: &Session) -> Config {
        let fitting = if session.clustered() { 3 } else { 1 };
        Config {
            storage: StorageType::File,
            num_replicas: self.replicas.unwrap_or(fitting),
            duplicate_window: DUPLICATES,
            // Where somebody sets a limit: what is new is refused, rather than what is old lost.
            discard: DiscardPolicy::New,
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            ..Config::default()
        }
    }

    async fn declare_one(&self, session: &Session, names: &Names, config: Config) -> Result<()> {
        let call = format!("STREAM.CREATE.{}", config.name);
        let body = json!(config);
        match self.api::<Value>(session, names, &call, &body).await? {
            Ok(_) => Ok(()),
            Err(answer) if answer.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                self.compare(session, names, &config).await
            }
            Err(answer) => Err(self.told(names, &answer)),
        }
    }

    /// The stream is there and differs: limits and replicas are its owner's business.
    async fn compare(&self, session: &Session, names: &Names, wanted: &Config) -> Result<()> {
        let call = format!("STREAM.INFO.{}", wanted.name);
        let there = self.api::<StreamInfo>(session, names, &call, &json!({})).await?;
        let there = there.map_err(|answer| self.told(names, &answer))?.config;
        let differs = if there.retention != wanted.retention {
            "retention"
        } else if there.storage != wanted.storage {
            "storage"
        } else if there.discard != wanted.discard {
            "discard policy"
        } else if there.subjects != wanted.subjects {
            "subjects"
        } else if there.no_ack {
            "acknowledgement"
        } else if !there.max_age.is_zero() {
            "greatest age"
        } else {
            return Ok(());
        };
        let what = format!("the stream `{}` of {} has another {differs}", there.name, self.place);
        Err(Error::new(Code::BrokerQueue, what).fix("remove the stream, or use another name"))
    }

    /// Makes sure of the consumer of the queue, which must be there.
    ///
    /// Errors: MSG-004 where the queue is not there, MSG-002.
    pub(super) async fn consumer(&self, session: &Session, names: &Names) -> Result<()> {
        let nanoseconds = ACK_WAIT.as_nanos() as u64;
        let body = json!({
            "stream_name": names.stream,
            "config": {
                "durable_name": CONSUMER,
                "name": CONSUMER,
                "deliver_policy": "all",
                "ack_policy": "explicit",
                "replay_policy": "instant",
                "ack_wait": nanoseconds,
                "max_deliver": -1,
                // All who consume share it, delayed messages count too: the prefetch is kept here.
                "max_ack_pending": -1,
                "max_waiting": WAITING,
            },
        });
        let call = format!("CONSUMER.DURABLE.CREATE.{}.{CONSUMER}", names.stream);
        match self.api::<Value>(session, names, &call, &body).await? {
            Ok(_) => Ok(()),
            Err(answer) => Err(self.told(names, &answer)),
        }
    }

    /// How many messages wait.
    ///
    /// Errors: MSG-004 where the queue is not there, MSG-002.
    pub(super) async fn depth(&self, session: &Session, names: &Names) -> Result<u64> {
        let call = format!("CONSUMER.INFO.{}.{CONSUMER}", names.stream);
        match self.api::<ConsumerInfo>(session, names, &call, &json!({})).await? {
            Ok(info) => Ok(info.num_pending),
            Err(answer) => Err(self.told(names, &answer)),
        }
    }

    /// Whether the queue is there, as far as is known: an error of the connection is none of its own.
    pub(super) async fn is_there(&self, session: &Session, names: &Names) -> Result<bool> {
        let call = format!("STREAM.INFO.{}", names.stream);
        match self.api::<Value>(session, names, &call, &json!({})).await? {
            Ok(_) => Ok(true),
            Err(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(false),
            Err(answer) => Err(self.told(names, &answer)),
        }
    }

    /// The dead letters' stream.
    ///
    /// Errors: MSG-004 where it is not there, MSG-002.
    pub(super) async fn dead(&self, session: &Session, names: &Names) -> Result<StreamInfo> {
        let call = format!("STREAM.INFO.{}", names.dead_stream);
        let asked = self.api::<StreamInfo>(session, names, &call, &json!({})).await?;
        asked.map_err(|answer| self.told(names, &answer))
    }

    /// Removes the queue and its dead letters.
    pub(super) async fn remove(&self, session: &Session, names: &Names) -> Result<()> {
        self.lock().remove(&names.queue);
        for stream in [&names.stream, &names.dead_stream] {
            let call = format!("STREAM.DELETE.{stream}");
            match self.api::<Value>(session, names, &call, &json!({})).await? {
                Ok(_) => {}
                Err(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
                Err(answer) => return Err(self.told(names, &answer)),
            }
        }
        Ok(())
    }

    /// Asks the API about a queue. Errors: MSG-002.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        session: &Session,
        names: &Names,
        call: &str,
        body: &Value,
    ) -> Result<Result<T, ServerError>> {
        session.api(call, body).await.map_err(|fault| match fault {
            Fault::Nobody => fault::lost(&self.place).why("JetStream is not up"),
            Fault::Lost(why) => fault::lost(&self.place).why(why),
            Fault::Refused(why) => {
                let what =
                    format!("{} can't be asked about the queue `{}`", self.place, names.queue);
                Error::new(Code::BrokerQueue, what).why(why)
            }
        })
    }

    /// What the server said of the queue.
    pub(super) fn told(&self, names: &Names, answer: &ServerError) -> Error {
        match answer.error_code() {
            ErrorCode::STREAM_NOT_FOUND | ErrorCode::CONSUMER_NOT_FOUND => {
                fault::missing(&self.place, &names.queue)
            }
            _ => fault::queue(&self.place, &names.queue, answer),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
