//! A private server that a test may kill, freeze and start again, on the same port and with what it had
//! written. It ends with its test process.

use std::sync::{Arc, Mutex, PoisonError};

use mainstay_core::Result;
use mainstay_local::{Nats, Options, Postgres, RabbitMq, Redis, Server};

/// A private server of one test.
pub struct Broker {
    kind: Kind,
    options: Options,
    server: Arc<Mutex<Option<Server>>>,
    _scratch: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    RabbitMq,
    Nats,
    Redis,
    Postgres,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Broker {
    /// RabbitMQ. Panics, naming what to install, where it can't be started; so do the others.
    pub async fn rabbitmq() -> Self {
        Self::new(Kind::RabbitMq).await
    }

    /// NATS with JetStream.
    pub async fn nats() -> Self {
        Self::new(Kind::Nats).await
    }

    /// Redis, which writes each append to the disk at once.
    pub async fn redis() -> Self {
        Self::new(Kind::Redis).await
    }

    /// PostgreSQL, durable, with a database `postgres`.
    pub async fn postgres() -> Self {
        Self::new(Kind::Postgres).await
    }

    async fn new(kind: Kind) -> Self {
        let scratch = crate::rig::scratch().unwrap_or_else(|e| panic!("{e:?}"));
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let options = Options {
            tcp_password: Some(password),
            // Of a server that was killed nothing is removed; of one whose test was, all.
            temporary: true,
            ..Options::new(scratch.path().join("server"))
        };
        let mut broker = Self { kind, options, server: Arc::default(), _scratch: scratch };
        broker.start().await;
        let server = broker.server.lock().unwrap_or_else(PoisonError::into_inner);
        let port = server.as_ref().and_then(Server::port);
        drop(server);
        broker.options.port = port;
        broker
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        let password = self.options.tcp_password.as_deref().unwrap_or_default();
        let port = self.options.port.unwrap_or_default();
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let user = server.as_ref().map_or("mainstay", Server::user);
        match self.kind {
            Kind::RabbitMq => format!("amqp://mainstay:{password}@127.0.0.1:{port}"),
            Kind::Nats => format!("nats://mainstay:{password}@127.0.0.1:{port}"),
            Kind::Redis => format!("redis://:{password}@127.0.0.1:{port}"),
            Kind::Postgres => format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres"),
        }
    }

    /// Ends it as a crash of its machine would, and waits until it is gone.
    pub async fn kill(&self) {
        self.with(|server| server.take().map_or(Ok(()), |mut server| server.kill())).await;
    }

    /// Starts it again.
    pub async fn start(&self) {
        let (kind, options) = (self.kind, self.options.clone());
        self.with(move |server| {
            *server = Some(match kind {
                Kind::RabbitMq => RabbitMq::start(&options)?,
                Kind::Nats => Nats::start(&options)?,
                Kind::Redis => Redis::start(&options)?,
                Kind::Postgres => Postgres::start(&options)?,
            });
            Ok(())
        })
        .await;
    }

    /// Stops the time for it: its connections stay, and nobody answers.
    pub async fn freeze(&self) {
        self.with(|server| server.as_ref().map_or(Ok(()), |server| server.freeze(true))).await;
    }

    /// Lets it go on.
    pub async fn thaw(&self) {
        self.with(|server| server.as_ref().map_or(Ok(()), |server| server.freeze(false))).await;
    }

    async fn with(&self, f: impl FnOnce(&mut Option<Server>) -> Result<()> + Send + 'static) {
        let server = Arc::clone(&self.server);
        let done = tokio::task::spawn_blocking(move || {
            f(&mut server.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.expect("it does not panic").unwrap_or_else(|e| panic!("{e:?}"));
    }
}

/// Gone before its folder is removed, since it would go on to write there.
impl Drop for Broker {
    fn drop(&mut self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut server) = server {
            let _ = server.kill();
        }
    }
}
