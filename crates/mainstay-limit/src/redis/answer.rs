//! What the script's numbers mean: a decision a limit. The arithmetic is the script's own, in integers that
//! are wide enough; it decides nothing.

use std::time::Duration;

use super::script::{parts, us};
use crate::{Ask, By, Decision, Rule};

/// What the script says of one limit, before the call: whether it fits, and three numbers of the rule.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    fits: bool,
    x: u64,
    y: u64,
    z: u64,
}

/// One decision an ask; `None` for an answer that is none.
pub(super) fn decisions(asks: &[Ask<'_>], answer: &[i64]) -> Option<Vec<Decision>> {
    let (all, told) = answer.split_first()?;
    if told.len() != 4 * asks.len() {
        return None;
    }
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    let told = told.chunks_exact(4).map(|told| Told {
        fits: told[0] == 1,
        x: number(told[1]),
        y: number(told[2]),
        z: number(told[3]),
    });
    Some(asks.iter().zip(told).map(|(ask, told)| decision(ask, told, *all == 1)).collect())
}

fn decision(ask: &Ask<'_>, told: Told, counts: bool) -> Decision {
    let added = if counts && told.fits { u64::from(ask.cost) } else { 0 };
    let (remaining, reset, retry) = match ask.policy.rule() {
        Rule::FixedWindow { limit, .. } => {
            let used = told.x + added;
            (u64::from(limit).saturating_sub(used), if used == 0 { 0 } else { told.y }, told.y)
        }
        Rule::SlidingCounter { limit, window } => counter(limit, window, ask.cost, told, added),
        Rule::SlidingLog { limit, window } => {
            let reset = if added > 0 { us(window) } else { told.z };
            (u64::from(limit).saturating_sub(told.x + added), reset, told.y)
        }
        Rule::TokenBucket { capacity: burst, refill: limit, per }
        | Rule::Gcra { limit, per, burst } => {
            spaced((limit, us(per), burst), ask.cost, told, added)
        }
        Rule::Concurrency { max } => (u64::from(max).saturating_sub(told.x + added), 0, 0),
    };
    let never =
        ask.cost > ask.policy.limit() || matches!(ask.policy.rule(), Rule::Concurrency { .. });
    let decision = Decision {
        allowed: told.fits,
        shadowed: false,
        limit: ask.policy.limit(),
        remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
        reset: Duration::from_micros(reset),
        retry_after: (!told.fits && !never).then(|| Duration::from_micros(retry)),
        by: By::Store,
    };
    decision.in_shadow(ask.policy.is_shadow())
}

/// Of the units before this window, those in it, and what is left of it.
fn counter(limit: u32, window: Duration, cost: u32, told: Told, added: u64) -> (u64, u64, u64) {
    let (before, units, left) = (told.x, told.y, told.z);
    let (unit, all) = parts(window);
    let (limit, cost, window) = (u64::from(limit), u64::from(cost), us(window));
    let share = left.div_ceil(unit).min(all);
    let used = units + added + (before * share).div_ceil(all);
    let reset = match (units + added, before) {
        (0, 0) => 0,
        (0, _) => left,
        _ => left + window,
    };
    let retry = match limit.checked_sub(units + cost) {
        // When few enough of those before are left in the window.
        Some(room) => {
            let share = (room * all).checked_div(before).unwrap_or(0).min(all);
            left.saturating_sub(share * unit)
        }
        // In the next window, of which these are those before.
        None => {
            let room = limit.saturating_sub(cost) * all;
            let share = room.checked_div(units).unwrap_or(0).min(all);
            left + window - share * unit
        }
    };
    (limit.saturating_sub(used), reset, retry)
}

/// Of the time until the whole burst is back: whole microseconds, and parts of one.
fn spaced(rule: (u32, u64, u32), cost: u32, told: Told, added: u64) -> (u64, u64, u64) {
    let (parts, per, burst) = (u128::from(rule.0), u128::from(rule.1), u128::from(rule.2));
    let full = u128::from(told.x) * parts + u128::from(told.y);
    let used = full + u128::from(added) * per;
    let whole = burst * per;
    let short = (full + u128::from(cost) * per).saturating_sub(whole);
    let us = |parts_of: u128| u64::try_from(parts_of.div_ceil(parts)).unwrap_or(u64::MAX);
    ((whole.saturating_sub(used) / per) as u64, us(used), us(short))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    fn of(policy: &str, cost: u32, answer: [i64; 5]) -> Decision {
        let policy = policy.parse::<Policy>().unwrap();
        decisions(&[Ask { policy: &policy, key: "", cost }], &answer).unwrap()[0]
    }

    #[test]
    fn gcra_is_exact_where_a_unit_is_no_whole_microsecond() {
        let allowed = of("gcra 3/s burst 3", 2, [1, 1, 0, 0, 0]);
        assert_eq!((allowed.remaining, allowed.reset.as_micros()), (1, 666_667));
        let denied = of("gcra 3/s burst 3", 2, [0, 0, 666_666, 2, 0]);
        assert_eq!(denied.remaining, 1);
        assert_eq!(denied.retry_after.unwrap().as_micros(), 333_334);
    }

    #[test]
    fn a_counter_waits_until_enough_of_the_last_window_is_gone() {
        // 10 before, 40 s left of 60: they count for 6.67.
        let policy =
            Policy::new(Rule::SlidingCounter { limit: 10, window: Duration::from_secs(60) });
        let policy = policy.unwrap();
        let ask = Ask { policy: &policy, key: "", cost: 4 };
        let denied = decisions(&[ask], &[0, 0, 10, 0, 40_000_000]).unwrap()[0];
        assert_eq!((denied.remaining, denied.retry_after.unwrap().as_secs()), (3, 4));
    }

    #[test]
    fn what_never_fits_has_no_time_to_come_again() {
        let denied = of("gcra 3/s burst 3", 4, [0, 0, 0, 0, 0]);
        assert_eq!((denied.allowed, denied.remaining, denied.retry_after), (false, 3, None));
    }

    #[test]
    fn an_answer_of_another_length_is_none() {
        let policy = Policy::per_second(1);
        let ask = Ask { policy: &policy, key: "", cost: 1 };
        assert!(decisions(&[ask], &[]).is_none() && decisions(&[ask], &[1, 1]).is_none());
    }
}
