//! The answer to a request that is over a limit.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use mainstay_core::Code;
use mainstay_limit::{Decision, Policy, Verdict};

use super::is_blind;
use super::layer::Options;
use crate::problem::{Problem, whole_seconds};

/// RFC 9457's registry has this one for us.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// Where nobody knows when there will be room.
const SOON: Duration = Duration::from_secs(1);

pub(super) fn response(
    options: &Options,
    verdict: &Verdict,
    cost: u32,
    origin: Option<&HeaderValue>,
) -> Response<Body> {
    let policies = options.limits.policies();
    let denied = policies.iter().zip(verdict.decisions()).filter(|(_, d)| !d.allowed);
    let (blind, over): (Vec<_>, Vec<_>) = denied.partition(|(policy, d)| is_blind(policy, d));
    // One quota that is really used up is the caller's to mind, whatever else failed.
    let problem = if over.is_empty() { unavailable(&blind) } else { exceeded(&over, cost) };
    let mut response = problem.into_response();
    options.told.left(policies, verdict.decisions()).write(response.headers_mut());
    if let Some(cors) = &options.cors {
        cors.apply(response.headers_mut(), origin, options.told.families);
    }
    response
}

/// The store does not answer, and without it nothing is allowed: not the caller's doing.
fn unavailable(blind: &[(&Policy, &Decision)]) -> Problem {
    let after = blind.iter().filter_map(|(_, d)| d.retry_after).max().unwrap_or(SOON);
    let detail =
        "whether this request is allowed can't be decided at the moment: try again in a moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Limits unavailable", detail)
        .with_code(Code::LimitStore)
        .retry_after(after.max(SOON))
}

fn exceeded(over: &[(&Policy, &Decision)], cost: u32) -> Problem {
    let names: Vec<&str> = over.iter().map(|(policy, _)| policy.name()).collect();
    let problem = |detail: String| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "Quota exceeded", detail)
            .with_type(QUOTA_EXCEEDED)
            .with_code(Code::HttpLimited)
            .with("violated-policies", names.clone())
    };
    let mut longest = Duration::ZERO;
    for (policy, decision) in over {
        longest = longest.max(match (decision.retry_after, policy.quota()) {
            (Some(after), _) => after,
            (None, None) if cost <= decision.limit => SOON,
            // It would be refused for ever: to say when to come back would be a lie.
            (None, _) => {
                let (name, limit) = (policy.name(), decision.limit);
                return problem(format!("this costs {cost}, and {name} allows {limit} at once"));
            }
        });
    }
    let seconds = whole_seconds(longest).max(1);
    let used = names.join(", ");
    problem(format!("used up: {used}; try again in {seconds} s"))
        .retry_after(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use mainstay_limit::{By, Limits};

    use super::*;
    use crate::{Key, RateLimitLayer};

    /// What each of some policies would say, with the store down or not.
    fn refused(policies: &[(&str, By, bool)]) -> Response<Body> {
        let decisions = policies.iter().map(|(_, by, allowed)| Decision {
            allowed: *allowed,
            shadowed: false,
            limit: 10,
            remaining: 0,
            reset: Duration::from_secs(60),
            retry_after: (*by == By::Store && !allowed).then_some(Duration::from_secs(7)),
            by: *by,
        });
        let verdict = Verdict::new(decisions);
        let policies = policies
            .iter()
            .enumerate()
            .map(|(at, (policy, ..))| policy.parse::<Policy>().unwrap().named(format!("p{at}")));
        let limits = Limits::local(policies.collect()).unwrap();
        let layer = RateLimitLayer::by(limits, Key::client()).unwrap();
        response(layer.options(), &verdict, 1, None)
    }

    fn header(response: &Response<Body>, name: &str) -> String {
        response.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_store_that_is_down_is_not_the_callers_doing() {
        let response = refused(&[("fixed 10/min closed", By::Failure, false)]);
        assert_eq!(response.status(), 503);
        assert_eq!(header(&response, "retry-after"), "1");
        assert_eq!(header(&response, "ratelimit-policy"), "\"p0\";q=10;w=60");
        assert_eq!(header(&response, "ratelimit"), "", "nobody knows what is left");
    }

    #[test]
    fn what_this_process_counted_meanwhile_is() {
        let local = refused(&[("fixed 10/min local", By::Failure, false)]);
        assert_eq!(local.status(), 429);
        let both = refused(&[
            ("fixed 10/min closed", By::Failure, false),
            ("fixed 10/min", By::Store, false),
            ("fixed 10/min open", By::Failure, true),
        ]);
        assert_eq!(both.status(), 429);
        assert_eq!(header(&both, "retry-after"), "7");
        assert_eq!(header(&both, "ratelimit"), "\"p1\";r=0;t=7");
    }
}
