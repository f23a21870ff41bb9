//! A connection that takes its time to open, for each pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay::pool::{Condition, Manage};

/// Opens nothing, slowly, and counts.
#[derive(Clone, Default)]
pub(crate) struct Slow(pub(crate) Arc<Counts>);

#[derive(Default)]
pub(crate) struct Counts {
    /// How long opening takes.
    pub(crate) millis: AtomicUsize,
    pub(crate) opened: AtomicUsize,
}

impl Slow {
    async fn open(&self) -> u64 {
        let millis = self.0.millis.load(SeqCst) as u64;
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        self.0.opened.fetch_add(1, SeqCst) as u64
    }
}

impl Manage for Slow {
    type Connection = u64;

    async fn connect(&self) -> mainstay::Result<u64> {
        Ok(self.open().await)
    }

    async fn check(&self, _: &mut u64) -> mainstay::Result<()> {
        Ok(())
    }

    fn condition(&self, _: &u64) -> Condition {
        Condition::Clean
    }

    async fn recover(&self, _: &mut u64) -> mainstay::Result<()> {
        Ok(())
    }

    async fn close(&self, _: u64) {}
}

impl deadpool::managed::Manager for Slow {
    type Type = u64;
    type Error = std::convert::Infallible;

    async fn create(&self) -> Result<u64, Self::Error> {
        Ok(self.open().await)
    }

    async fn recycle(
        &self,
        _: &mut u64,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Self::Error> {
        Ok(())
    }
}

impl bb8::ManageConnection for Slow {
    type Connection = u64;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<u64, Self::Error> {
        Ok(self.open().await)
    }

    async fn is_valid(&self, _: &mut u64) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        false
    }
}

#[mobc::async_trait]
impl mobc::Manager for Slow {
    type Connection = u64;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<u64, Self::Error> {
        Ok(self.open().await)
    }

    async fn check(&self, connection: u64) -> Result<u64, Self::Error> {
        Ok(connection)
    }
}
