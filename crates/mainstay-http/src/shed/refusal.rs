//! The answer to a request that was not begun.

use std::time::Duration;

use axum::http::StatusCode;
use mainstay_core::Code;
use mainstay_core::rng::Rng;

use super::gate::Refused;
use crate::problem::Problem;

/// In seconds, from and up to: who was refused together should not come back together.
const AFTER: std::ops::Range<u64> = 1..4;

pub(super) fn problem(refused: Refused, rng: &Rng) -> Problem {
    match refused {
        Refused::Load => {
            let after = rng.u64(AFTER);
            let detail = format!("nothing was done; try again in {after} s");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Overloaded", detail)
                .with_code(Code::HttpShed)
                .retry_after(Duration::from_secs(after))
        }
        Refused::Expired => {
            let detail = "its deadline passed before it was begun: nothing was done";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "Deadline passed", detail)
                .with_code(Code::HttpExpired)
        }
    }
}
