//! A shard with replicas that could not be begun with: it is tried again until it is there, and until then its handle says
//! why it is not.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error};
use mainstay_db::{Choice, Db, Route, Work};

use crate::replica::{Builder, Cluster, Freshness, Router};

/// Between two attempts; each ends by itself, after the connect timeout and some seconds.
const EVERY: Duration = Duration::from_secs(1);

/// A cluster, as soon as there is one.
pub(super) struct Late {
    name: Arc<str>,
    cluster: OnceLock<Cluster>,
    /// Why it is not there.
    why: Mutex<String>,
}

impl Late {
    /// Tries again until it succeeds, or the last handle is gone.
    pub(super) fn begin(builder: Builder, why: &Error) -> Arc<Self> {
        let clock = builder.settings.clock.clone();
        let late = Self {
            name: Arc::clone(&builder.name),
            cluster: OnceLock::new(),
            why: Mutex::new(why.what().to_owned()),
        };
        let late = Arc::new(late);
        tracing::warn!(shard = %late.name, why = why.what(), "a shard is begun without");
        tokio::spawn(again(Arc::downgrade(&late), builder, clock));
        late
    }

    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.cluster.get()
    }

    pub(super) fn why(&self) -> String {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A handle that works as soon as the cluster is there. `base` is never connected to: each piece of work asks the route
    /// first, what sqlx prepares and describes too.
    pub(super) fn handle(self: &Arc<Self>, base: &Db, freshness: Freshness) -> Db {
        let router = OnceLock::new();
        base.routed(Arc::new(Following { late: Arc::clone(self), freshness, router }))
    }
}

async fn again(late: Weak<Late>, builder: Builder, clock: Clock) {
    loop {
        clock.sleep(EVERY).await;
        if late.strong_count() == 0 {
            return;
        }
        let began = builder.clone().connect().await;
        let Some(late) = late.upgrade() else { return };
        match began {
            Ok(cluster) => {
                tracing::info!(shard = %late.name, "a shard that was begun without is there");
                let _ = late.cluster.set(cluster);
                return;
            }
            Err(error) => {
                let mut why = late.why.lock().unwrap_or_else(PoisonError::into_inner);
                error.what().clone_into(&mut why);
            }
        }
    }
}

struct Following {
    late: Arc<Late>,
    freshness: Freshness,
    router: OnceLock<Router>,
}

impl Following {
    fn router(&self) -> Option<&Router> {
        let cluster = self.late.cluster()?;
        Some(self.router.get_or_init(|| cluster.router(self.freshness.clone())))
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("shard", &self.late.name).finish_non_exhaustive()
    }
}

impl Route for Following {
    fn choose<'a>(&'a self, work: Work<'a>) -> Choice<'a> {
        if let Some(router) = self.router() {
            return router.choose(work);
        }
        Choice::Later(Box::pin(async {
            let what = format!("the shard {} does not answer", self.late.name);
            Err(Error::new(Code::ShardDown, what).why(self.late.why()))
        }))
    }

    fn wants_positions(&self) -> bool {
        true
    }

    fn done(&self, work: Work<'_>, position: Option<&str>) {
        if let Some(router) = self.router() {
            router.done(work, position);
        }
    }

    fn unsure(&self, work: Work<'_>) {
        if let Some(router) = self.router() {
            router.unsure(work);
        }
    }

    fn cluster(&self) -> Option<u64> {
        self.router()?.cluster()
    }

    fn fresh(&self) -> Option<Arc<dyn Route>> {
        let late = Arc::clone(&self.late);
        let (freshness, router) = (Freshness::Fresh, OnceLock::new());
        Some(Arc::new(Self { late, freshness, router }))
    }

    fn again(&self, work: Work<'_>, on: &Db, error: &Error) -> bool {
        self.router().is_some_and(|router| router.again(work, on, error))
    }

    fn lost<'a>(
        &'a self,
        work: Work<'a>,
        on: &'a Db,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        match self.router() {
            Some(router) => router.lost(work, on),
            None => Box::pin(std::future::pending()),
        }
    }
}
