//! Units of concurrency limits on Redis: held by a task, which renews them until they are given back. Those
//! of a process that is gone expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use tokio::sync::oneshot;

use super::link::Link;
use super::script;

/// A permit lives for three of these.
const RENEW: Duration = Duration::from_secs(20);
/// When it is tried again to renew, and to give back.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is tried to give it back.
const TRIES: u32 = 3;

/// Units of concurrency limits, given back when it is dropped: at once where Redis answers, and within a
/// minute where it doesn't.
#[derive(Debug)]
#[must_use = "what it holds is given back when it is dropped"]
pub struct Held {
    /// Dropped, the task gives the units back.
    end: oneshot::Sender<()>,
    counted: Arc<AtomicU8>,
}

struct Permit {
    link: Arc<Link>,
    keys: Vec<String>,
    /// Of each key.
    units: Vec<u32>,
    id: String,
    /// Of the keys, a bit each: where it was counted, and so is to be renewed.
    counted: Arc<AtomicU8>,
}

impl Held {
    /// Of a call that is about to be made, so that whatever becomes of it, its units are given back.
    pub(super) fn begin(link: &Arc<Link>, keys: Vec<String>, units: Vec<u32>, id: &str) -> Self {
        let (end, ended) = oneshot::channel();
        let counted = Arc::new(AtomicU8::new(0));
        let (link, id, mask) = (Arc::clone(link), id.to_owned(), Arc::clone(&counted));
        tokio::spawn(Permit { link, keys, units, id, counted: mask }.keep(ended));
        Self { end, counted }
    }

    /// The units were counted under those of the keys whose bit is set. `None` where under none.
    pub(super) fn taken(self, counted: u8) -> Option<Self> {
        if counted == 0 {
            let _ = self.end.send(());
            return None;
        }
        self.counted.store(counted, Ordering::Relaxed);
        Some(self)
    }
}

impl Permit {
    async fn keep(self, mut ended: oneshot::Receiver<()>) {
        let clock = Clock::system();
        let mut pause = RENEW;
        loop {
            tokio::select! {
                biased;
                ended = &mut ended => {
                    // Else there is nothing to give back.
                    if ended.is_err() {
                        self.give_back().await;
                    }
                    return;
                }
                () = clock.sleep(Rng::system().jittered(pause, 0.1)) => {}
            }
            pause = if self.renew().await { RENEW } else { AGAIN };
        }
    }

    async fn renew(&self) -> bool {
        let mask = self.counted.load(Ordering::Relaxed);
        let counted = |(at, units): (usize, &u32)| if mask & 1 << at == 0 { 0 } else { *units };
        let units: Vec<u32> = self.units.iter().enumerate().map(counted).collect();
        let renew = |wire| script::renew(wire, &self.keys, &units, &self.id);
        mask == 0 || self.link.tell(AGAIN, renew).await.is_some()
    }

    /// Twice does no harm: what is not there is not given back.
    async fn give_back(&self) {
        for _ in 0..TRIES {
            let release = |wire| script::release(wire, &self.keys, &self.units, &self.id);
            if self.link.tell(AGAIN, release).await.is_some() {
                return;
            }
            Clock::system().sleep(AGAIN).await;
        }
        tracing::debug!(place = self.link.place, "a permit could not be given back: it expires");
    }
}
