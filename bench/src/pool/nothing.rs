//! A connection that is nothing at all, for each pool: what is measured then is the pool alone.

use mainstay::pool::{Condition, Manage, Options};

/// Opens nothing.
pub(crate) struct Nothing;

impl Manage for Nothing {
    type Connection = u64;

    async fn connect(&self) -> mainstay::Result<u64> {
        Ok(1)
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

impl deadpool::managed::Manager for Nothing {
    type Type = u64;
    type Error = std::convert::Infallible;

    async fn create(&self) -> Result<u64, Self::Error> {
        Ok(1)
    }

    async fn recycle(
        &self,
        _: &mut u64,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Self::Error> {
        Ok(())
    }
}

impl bb8::ManageConnection for Nothing {
    type Connection = u64;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<u64, Self::Error> {
        Ok(1)
    }

    async fn is_valid(&self, _: &mut u64) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        false
    }
}

#[mobc::async_trait]
impl mobc::Manager for Nothing {
    type Connection = u64;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<u64, Self::Error> {
        Ok(1)
    }

    async fn check(&self, connection: u64) -> Result<u64, Self::Error> {
        Ok(connection)
    }
}

/// The four pools, `size` connections each and otherwise as they come.
pub(crate) struct Pools {
    pub(crate) ours: mainstay::pool::Pool<Nothing>,
    pub(crate) deadpool: deadpool::managed::Pool<Nothing>,
    pub(crate) bb8: bb8::Pool<Nothing>,
    pub(crate) mobc: mobc::Pool<Nothing>,
}

impl Pools {
    pub(crate) async fn new(size: u32) -> Self {
        let options = Options {
            max_size: size,
            acquire_timeout: std::time::Duration::from_secs(60),
            ..Options::default()
        };
        Self {
            ours: mainstay::pool::Pool::builder(Nothing).options(options).build().expect("a pool"),
            deadpool: deadpool::managed::Pool::builder(Nothing)
                .max_size(size as usize)
                .build()
                .expect("a pool"),
            bb8: bb8::Pool::builder()
                .max_size(size)
                .connection_timeout(std::time::Duration::from_secs(60))
                .build(Nothing)
                .await
                .expect("a pool"),
            mobc: mobc::Pool::builder().max_open(u64::from(size)).build(Nothing),
        }
    }
}
