//! What was decided.

use std::time::Duration;

/// Limits that are decided together, at most.
pub const STACK_MAX: usize = 8;

/// What one limit says of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the call may go on; in shadow mode always.
    pub allowed: bool,
    /// Whether it would have been denied, were the limit not in shadow mode.
    pub shadowed: bool,
    /// The units of a key that had none yet.
    pub limit: u32,
    /// The units that are left after this call.
    pub remaining: u32,
    /// When all of them are back, from now; zero where they are.
    pub reset: Duration,
    /// When this call would be allowed if nobody else came, from now: where it was denied. `None` where it
    /// never would, since it costs more than the limit, and of a concurrency limit, where nobody knows.
    pub retry_after: Option<Duration>,
    /// Who decided.
    pub by: By,
}

/// Who decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The store that it is counted in: this process, or Redis.
    #[default]
    Store,
    /// This process, since Redis has said until when it is denied.
    Known,
    /// This process, from units that it had taken from Redis at once.
    Lease,
    /// This process, in the way that the policy asks for where Redis does not answer.
    Failure,
}

impl Decision {
    /// Of a call that is allowed without having been counted.
    pub(crate) fn uncounted(limit: u32, by: By) -> Self {
        Self {
            allowed: true,
            shadowed: false,
            limit,
            remaining: limit,
            reset: Duration::ZERO,
            retry_after: None,
            by,
        }
    }

    /// In shadow mode nothing is denied.
    pub(crate) fn in_shadow(mut self, shadow: bool) -> Self {
        if shadow && !self.allowed {
            (self.allowed, self.shadowed) = (true, true);
        }
        self
    }
}

/// What limits that are decided together say: all of them allow a call and count it, or none counts it.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    decisions: [Decision; STACK_MAX],
    len: usize,
}

impl Verdict {
    /// Of at most [`STACK_MAX`] decisions; further ones are left out.
    pub fn new(decisions: impl IntoIterator<Item = Decision>) -> Self {
        let mut all = Self { decisions: [Decision::uncounted(0, By::Store); STACK_MAX], len: 0 };
        for decision in decisions.into_iter().take(STACK_MAX) {
            all.decisions[all.len] = decision;
            all.len += 1;
        }
        all
    }

    /// Whether the call may go on.
    pub fn allowed(&self) -> bool {
        self.decisions().iter().all(|decision| decision.allowed)
    }

    /// One a limit, in their order.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions[..self.len]
    }

    /// The place of the limit that matters: of those that deny, the one that denies longest; else the one
    /// with the smallest share left.
    pub fn binding(&self) -> Option<usize> {
        let longest = |d: &Decision| d.retry_after.unwrap_or(Duration::MAX);
        let denied = (0..self.len).filter(|at| !self.decisions[*at].allowed);
        denied.max_by_key(|at| longest(&self.decisions[*at])).or_else(|| {
            let share =
                |d: &Decision| u64::from(d.remaining) * 1_000_000 / u64::from(d.limit.max(1));
            (0..self.len).min_by_key(|at| share(&self.decisions[*at]))
        })
    }
}
