//! What requests and the worker share: the databases, and what is kept beside them or on Redis.

use axum::extract::FromRef;
use mainstay::cache::board::{Board, BoardStore, Window};
use mainstay::cache::session::{SessionStore, Sessions, secret_bytes};
use mainstay::cache::{Cache, Memory, Redis, Tiered};
use mainstay::route::topology::MAIN;
use mainstay::route::{Databases, Shards};
use mainstay::{Code, Db, Result};

use crate::config::{Config, Remembered};
use crate::fresh::Reads;
use crate::page::Listed;
use crate::part::Part;
use crate::peers::{Catalogue, Users};
use crate::products::Product;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shop {
    pub(crate) databases: Databases,
    /// The main database: users, accounts, stock, payments. Reads may go to a replica.
    pub(crate) db: Db,
    /// The same, with all work on its primary.
    pub(crate) primary: Db,
    /// Of what must not be missed on a replica.
    pub(crate) reads: Reads,
    /// Pages of products, all with the tag [`PRODUCTS`].
    pub(crate) products: Cache<Listed<Product>>,
    pub(crate) sessions: Sessions,
    /// Units sold of each product, by week.
    pub(crate) best_sellers: Board,
    /// Which services this process is.
    pub(crate) part: Part,
    /// Who orders, and pays.
    pub(crate) users: Users,
    /// What is ordered.
    pub(crate) catalogue: Catalogue,
}

/// The tag of what depends on any product.
pub(crate) const PRODUCTS: &str = "products";

impl Shop {
    /// Makes the tables of sessions and leaderboards if they are missing. Errors: those of
    /// [`mainstay::cache::install`], CACHE-001, CACHE-004; CFG-003 where another service is needed and not named.
    pub async fn open(databases: Databases, config: &Config) -> Result<Self> {
        let primary = databases.primary(MAIN)?;
        mainstay::cache::install(&primary).await?;
        let redis = config.redis.url.as_deref();
        Ok(Self {
            part: config.services.run,
            reads: Reads::new(&databases)?,
            users: Users::new(&databases, &config.services)?,
            catalogue: Catalogue::new(&databases.main(), &config.services)?,
            products: products(redis, &config.cache)?,
            sessions: sessions(&primary, redis, config).await?,
            // In the database: a sale is counted with the order that it belongs to.
            best_sellers: Board::new("best-sellers", BoardStore::sql(&primary))
                .window(Window::Week),
            db: databases.main(),
            primary,
            databases,
        })
    }

    pub(crate) fn shards(&self) -> &Shards {
        self.databases.shards()
    }

    /// Where the orders of a user are written. Errors: ROUTE-020, ROUTE-022.
    pub(crate) fn orders_of(&self, user: i64) -> Result<Db> {
        self.databases.primary(self.shards().of(&user)?.name())
    }

    /// Where an order is read, by its number alone: it tells the shard. `None`: there is no such order. Numbers from
    /// before there were shards tell nothing, and all shards are asked.
    pub(crate) async fn order_at(&self, order: i64) -> Result<Option<Db>> {
        if !self.databases.is_sharded() {
            return Ok(Some(self.db.clone()));
        }
        match self.shards().of_id64(order) {
            Err(error) if error.code() == Code::ShardId => {
                let asked = self.shards().scatter();
                let asked = asked.query("SELECT user_id FROM orders WHERE id = $1").bind(order);
                let found = asked.all::<(i64,)>().await?.rows;
                found.first().map(|(user,)| self.shards().of(user)).transpose()
            }
            found => found.map(Some),
        }
    }

    /// Does, for work in the transaction `tx` of an order's shard, its part on the main database: in the same transaction
    /// where both are one database. Where they are two, it is committed before `tx` is, so it must be fine to be done again.
    ///
    /// Errors: those of `work`, and of a transaction.
    pub(crate) async fn on_main<T, F, W>(&self, tx: &Db, work: F) -> Result<T>
    where
        T: Send,
        F: Fn(Db) -> W + Send + Sync,
        W: Future<Output = Result<T>> + Send,
    {
        if self.databases.is_sharded() {
            self.primary.transaction(work).await
        } else {
            work(tx.clone()).await
        }
    }
}

/// Without Redis another process may show a page for as long as its TTL after it was changed here.
fn products(redis: Option<&str>, config: &Remembered) -> Result<Cache<Listed<Product>>> {
    let cache = match redis {
        Some(url) => Cache::builder("products", Tiered::new(Redis::new(url)?)),
        None => Cache::builder("products", Memory::new()),
    };
    cache.ttl(config.products_ttl).stale_while_revalidate(config.products_ttl).build()
}

async fn sessions(db: &Db, redis: Option<&str>, config: &Config) -> Result<Sessions> {
    let store = match redis {
        Some(url) => SessionStore::redis(url, "shop").await?,
        None => SessionStore::sql(db),
    };
    let secret = match &config.sessions.secret {
        Some(secret) => secret.as_bytes().to_vec(),
        None => own_secret()?,
    };
    Sessions::builder(store).secret(&secret).secure(config.sessions.secure).build()
}

/// Of this process: sessions end with it.
fn own_secret() -> Result<Vec<u8>> {
    tracing::warn!("sessions.secret is not set: whoever is logged in is not after the next start");
    Ok(secret_bytes::<32>()?.into())
}

impl FromRef<Shop> for Db {
    fn from_ref(shop: &Shop) -> Db {
        shop.db.clone()
    }
}
