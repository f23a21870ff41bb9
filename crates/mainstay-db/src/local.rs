//! The private server behind `postgres+local:PATH`; without the feature `local`, nothing.

#[cfg(feature = "local")]
pub(crate) use with::*;
#[cfg(not(feature = "local"))]
pub(crate) use without::*;

#[cfg(feature = "local")]
mod with {
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use mainstay_core::clock::Clock;
    use mainstay_core::{Code, Error, Result};
    use mainstay_local::{Options, Postgres, Server};
    use sqlx::postgres::PgConnectOptions;

    use crate::driver::{Driver, postgres};

    /// A server that ends with its handle.
    pub(crate) struct Local(Mutex<Option<Server>>);

    /// Starts or joins the server in `folder`.
    pub(crate) async fn start(
        folder: String,
        statement_timeout: Option<Duration>,
        clock: &Clock,
    ) -> Result<(Driver, Local)> {
        let start = move || Postgres::start(&Options::new(folder));
        let server = tokio::task::spawn_blocking(start).await.map_err(|e| {
            Error::new(Code::LocalStart, "the start of the private server was cut off").cause(e)
        })??;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(server.socket_folder())
            .port(5432)
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .username(server.user())
            .database("postgres");
        let driver = Driver::Postgres(Box::new(postgres::Driver::new(
            options,
            statement_timeout,
            clock.clone(),
        )));
        Ok((driver, Local(Mutex::new(Some(server)))))
    }

    impl Local {
        pub(crate) fn none() -> Self {
            Self(Mutex::new(None))
        }

        /// Stops the server, if it is ours, and waits for its end.
        pub(crate) async fn stop(&self) -> Result<()> {
            let Some(server) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
                return Ok(());
            };
            tokio::task::spawn_blocking(move || server.stop()).await.map_err(|e| {
                Error::new(Code::LocalStart, "the stop of the private server was cut off").cause(e)
            })?
        }
    }
}

#[cfg(not(feature = "local"))]
mod without {
    use std::time::Duration;

    use mainstay_core::clock::Clock;
    use mainstay_core::{Code, Error, Result};

    use crate::driver::Driver;

    pub(crate) struct Local;

    #[expect(clippy::unused_async, reason = "has the shape of the one with the feature")]
    pub(crate) async fn start(
        _: String,
        _: Option<Duration>,
        _: &Clock,
    ) -> Result<(Driver, Local)> {
        Err(Error::new(Code::Unsupported, "private servers are not compiled in"))
    }

    impl Local {
        pub(crate) fn none() -> Self {
            Self
        }

        #[expect(clippy::unused_async, reason = "has the shape of the one with the feature")]
        pub(crate) async fn stop(&self) -> Result<()> {
            Ok(())
        }
    }
}
