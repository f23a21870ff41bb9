//! What requests and the worker share: the database, and what is kept beside it or on Redis.

use axum::extract::FromRef;
use mainstay::cache::board::{Board, BoardStore, Window};
use mainstay::cache::session::{SessionStore, Sessions, secret_bytes};
use mainstay::cache::{Cache, Memory, Redis, Tiered};
use mainstay::{Db, Result};

use crate::config::{Config, Remembered};
use crate::page::Listed;
use crate::part::Part;
use crate::peers::{Catalogue, Users};
use crate::products::Product;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shop {
    pub(crate) db: Db,
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
    /// Makes the tables of sessions, leaderboards and idempotency keys if they are missing. Errors: those of
    /// [`mainstay::cache::install`], CACHE-001, CACHE-004; CFG-003 where another service is needed and not named.
    pub async fn open(db: Db, config: &Config) -> Result<Self> {
        mainstay::cache::install(&db).await?;
        mainstay::http::idempotency::install(&db).await?;
        let redis = config.redis.url.as_deref();
        Ok(Self {
            part: config.services.run,
            users: Users::new(&db, &config.services)?,
            catalogue: Catalogue::new(&db, &config.services)?,
            products: products(redis, &config.cache)?,
            sessions: sessions(&db, redis, config).await?,
            // In the database: a sale is counted with the order that it belongs to.
            best_sellers: Board::new("best-sellers", BoardStore::sql(&db)).window(Window::Week),
            db,
        })
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
