//! Which target is asked: the less busy of two by chance, of those that are not left out.

use std::sync::Arc;
use std::time::Instant;

use super::Inner;
use super::failure::Policy;
use super::target::{Admission, Target};

impl Inner {
    /// A place at some target, at once; not at `avoid` if there is another.
    pub(super) fn try_admit(
        self: &Arc<Self>,
        avoid: Option<&Arc<Target>>,
        until: Instant,
    ) -> Result<Admission, Policy> {
        let mut refused = Policy::Breaker;
        for target in self.in_order(avoid) {
            match target.admit(self, until) {
                Ok(admission) => return Ok(admission),
                // That one would do if it had room is what there is to know.
                Err(Policy::Bulkhead) => refused = Policy::Bulkhead,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// As [`try_admit`](Self::try_admit), and waits a little for a place.
    pub(super) async fn admit(
        self: &Arc<Self>,
        avoid: Option<&Arc<Target>>,
        until: Instant,
        deadline: Instant,
    ) -> Result<Admission, Policy> {
        let patient = deadline.min(self.clock.now() + self.bulkhead_wait);
        loop {
            // Registered before the attempt, so that a place freed between the two is not missed.
            let freed = self.freed.notified();
            match self.try_admit(avoid, until) {
                Err(Policy::Bulkhead) => {}
                other => return other,
            }
            if self.clock.timeout_at(patient, freed).await.is_none() {
                return Err(Policy::Bulkhead);
            }
        }
    }

    /// The targets, the best first.
    fn in_order(&self, avoid: Option<&Arc<Target>>) -> Vec<&Arc<Target>> {
        let all = &self.targets;
        if let [only] = all.as_slice() {
            return vec![only];
        }
        let now = self.clock.now();
        let mut order: Vec<&Arc<Target>> = all.iter().collect();
        let out: Vec<bool> = all.iter().map(|target| target.is_out(now)).collect();
        let many = out.iter().filter(|out| **out).count() as f64;
        // Where too many are out, it is no outlier: all are asked.
        if many > 0.0 && many <= self.outliers.most * all.len() as f64 {
            let mut at = out.iter();
            order.retain(|_| !at.next().copied().unwrap_or_default());
        }
        for at in (1..order.len()).rev() {
            order.swap(at, self.rng.u64(0..at as u64 + 1) as usize);
        }
        if let [first, second, ..] = order.as_slice()
            && second.state().in_flight < first.state().in_flight
        {
            order.swap(0, 1);
        }
        if let Some(at) = order.iter().position(|t| avoid.is_some_and(|a| Arc::ptr_eq(a, t))) {
            let avoided = order.remove(at);
            order.push(avoided);
        }
        order
    }
}
