//! Hears on PostgreSQL what other processes commit, and passes it on to who waits here. Without it, as
//! behind a pooler, everybody looks for himself now and then.

use std::sync::Arc;
use std::time::Duration;

use super::work::Work;
#[cfg(feature = "postgres")]
use crate::wake::{self, Of};

const AGAIN: Duration = Duration::from_secs(1);

/// Listens until dropped.
#[cfg(feature = "postgres")]
pub(super) async fn listen(work: Arc<Work>) {
    use mainstay_core::Code;
    use mainstay_db::Heard;

    let place = work.db.place();
    loop {
        let mut listener = match work.db.listen(&[wake::CHANNEL]).await {
            Ok(listener) => listener,
            Err(error) if matches!(error.code(), Code::WrongEngine | Code::NeedsSession) => return,
            Err(error) => {
                tracing::debug!(code = %error.code(), "nothing can be heard: {error}");
                work.clock.sleep(work.rng.jittered(AGAIN, 0.3)).await;
                continue;
            }
        };
        all(&work, &place);
        loop {
            match listener.next().await {
                Ok(Heard::Said { payload, .. }) => {
                    if let Some(of) = Of::parse(&payload) {
                        wake::here(&place, &of);
                    }
                }
                // Something may have been missed.
                Ok(Heard::Again) => all(&work, &place),
                Err(error) => {
                    tracing::debug!(code = %error.code(), "listening was interrupted: {error}");
                    break;
                }
            }
        }
        work.clock.sleep(work.rng.jittered(AGAIN, 0.3)).await;
    }
}

#[cfg(not(feature = "postgres"))]
pub(super) async fn listen(work: Arc<Work>) {
    let _ = (work, AGAIN);
}

#[cfg(feature = "postgres")]
fn all(work: &Work, place: &str) {
    for queue in &work.queues {
        wake::here(place, &Of::Queue(queue.name.clone()));
    }
    for of in [Of::Schedule, Of::Outbox, Of::Cancel] {
        wake::here(place, &of);
    }
}
