//! When something that met others' locks is tried again: with a growing pause, a bounded number of
//! times. It runs nothing itself.

use std::time::Duration;

use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long to wait after `attempt` failed, from 1; `None` where it is not to be tried again.
pub(crate) fn pause(why: &Error, attempt: u32, retries: u32) -> Option<Duration> {
    let transient = matches!(why.code(), Code::LockTimeout | Code::Deadlock | Code::Serialization);
    if !transient || attempt > retries {
        return None;
    }
    let doubled = PAUSE_MIN * 2_u32.saturating_pow((attempt - 1).min(10));
    Some(Rng::system().jittered(doubled.min(PAUSE_MAX), 0.5))
}
