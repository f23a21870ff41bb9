//! Who may begin, who waits and who is turned away. It knows priorities and deadlines, no HTTP.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::scope::Priority;
use tokio::sync::oneshot;

use super::adaptive::{Adaptive, Sample};

/// Why somebody was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is more to do than can be done.
    Load,
    /// The deadline passed first.
    Expired,
}

#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    clock: Clock,
    /// How many may wait.
    queue: usize,
    /// How long one of normal priority may.
    patience: Duration,
}

#[derive(Debug)]
struct State {
    limit: Adaptive,
    in_flight: usize,
    high: VecDeque<Waiter>,
    normal: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    /// After this its place is worth nothing to it.
    until: Instant,
    called: oneshot::Sender<Place>,
}

/// What somebody is told who wants to begin.
#[derive(Debug)]
pub(super) enum Answer {
    Place(Place),
    Wait(Turn),
    Refused(Refused),
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Turn {
    called: oneshot::Receiver<Place>,
    until: Instant,
    /// Why it is turned away when that has passed.
    late: Refused,
    deadline: Option<Instant>,
}

/// A place among those under way, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    begun: Instant,
    deadline: Option<Instant>,
    sample: Option<Sample>,
}

impl Gate {
    pub(super) fn new(limit: Adaptive, queue: usize, patience: Duration, clock: Clock) -> Self {
        let state = State { limit, in_flight: 0, high: VecDeque::new(), normal: VecDeque::new() };
        Self { state: Mutex::new(state), clock, queue, patience }
    }

    /// A place, at once or after a wait that its priority and deadline allow. Cancel safe.
    #[cfg(test)]
    async fn enter(
        self: &Arc<Self>,
        priority: Priority,
        deadline: Option<Instant>,
    ) -> Result<Place, Refused> {
        match self.knock(priority, deadline) {
            Answer::Place(place) => Ok(place),
            Answer::Refused(refused) => Err(refused),
            Answer::Wait(turn) => self.wait(turn).await,
        }
    }

    /// A place, a refusal, or a turn to be waited for.
    pub(super) fn knock(self: &Arc<Self>, priority: Priority, deadline: Option<Instant>) -> Answer {
        let now = self.clock.now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Answer::Refused(Refused::Expired);
        }
        let patient = now + self.patience;
        let (until, late) = match (priority, deadline) {
            (Priority::High, Some(deadline)) => (deadline, Refused::Expired),
            // Without a deadline somebody has to give it one.
            (Priority::High, None) => (now + self.patience * 100, Refused::Load),
            (_, Some(deadline)) if deadline < patient => (deadline, Refused::Expired),
            _ => (patient, Refused::Load),
        };
        let mut state = self.state();
        if state.has_room(priority) {
            state.in_flight += 1;
            return Answer::Place(self.place(now));
        }
        match state.join(priority, until, now, self.queue) {
            Some(called) => Answer::Wait(Turn { called, until, late, deadline }),
            None => Answer::Refused(Refused::Load),
        }
    }

    /// The place, when it is its turn. Cancel safe.
    pub(super) async fn wait(self: &Arc<Self>, turn: Turn) -> Result<Place, Refused> {
        let Turn { called, until, late, deadline } = turn;
        let mut place = match self.clock.timeout_at(until, called).await {
            Some(Ok(place)) => place,
            // Found to be too late, or pushed out by one of higher priority.
            Some(Err(_)) if until <= self.clock.now() => return Err(late),
            Some(Err(_)) => return Err(Refused::Load),
            None => return Err(late),
        };
        // It was called, and polled too late to make use of it.
        let now = self.clock.now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Refused::Expired);
        }
        place.begun = now;
        Ok(place)
    }

    fn place(self: &Arc<Self>, now: Instant) -> Place {
        Place { gate: Arc::clone(self), begun: now, deadline: None, sample: None }
    }

    /// Gives a place back, or on to whoever waits for one.
    fn leave(self: &Arc<Self>, sample: Sample, now: Instant) {
        let mut unclaimed = None;
        {
            let mut state = self.state();
            let in_flight = state.in_flight;
            state.limit.learn(sample, in_flight);
            state.in_flight -= 1;
            while let Some(waiter) = state.next() {
                if waiter.until <= now || waiter.called.is_closed() {
                    continue;
                }
                state.in_flight += 1;
                if let Err(place) = waiter.called.send(self.place(now)) {
                    unclaimed = Some(place);
                    break;
                }
            }
        }
        // Dropped outside the lock: it comes back here.
        drop(unclaimed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limit, those under way, and those that wait.
    pub(super) fn stands(&self) -> (usize, usize, usize) {
        let state = self.state();
        (state.limit.limit(), state.in_flight, state.high.len() + state.normal.len())
    }
}

impl State {
    fn has_room(&self, priority: Priority) -> bool {
        match priority {
            // What must not be refused may go over the limit, never over its maximum.
            Priority::High => self.high.is_empty() && self.in_flight < self.limit.max(),
            _ => self.waiting() == 0 && self.in_flight < self.limit.limit(),
        }
    }

    fn waiting(&self) -> usize {
        self.high.len() + self.normal.len()
    }

    fn join(
        &mut self,
        priority: Priority,
        until: Instant,
        now: Instant,
        most: usize,
    ) -> Option<oneshot::Receiver<Place>> {
        if priority == Priority::Low {
            return None;
        }
        if self.waiting() >= most {
            let alive = |w: &Waiter| w.until > now && !w.called.is_closed();
            self.normal.retain(alive);
            self.high.retain(alive);
        }
        if self.waiting() >= most {
            // The newest of normal priority gives way: the oldest is the nearest to its turn.
            if priority != Priority::High || self.normal.pop_back().is_none() {
                return None;
            }
        }
        let (called, answer) = oneshot::channel();
        let line = if priority == Priority::High { &mut self.high } else { &mut self.normal };
        line.push_back(Waiter { until, called });
        Some(answer)
    }

    /// The next that may begin, if any may.
    fn next(&mut self) -> Option<Waiter> {
        if self.in_flight < self.limit.max() && !self.high.is_empty() {
            return self.high.pop_front();
        }
        if self.in_flight < self.limit.limit() { self.normal.pop_front() } else { None }
    }
}

impl Place {
    /// What the limit learns when the place is given back.
    pub(super) fn done(&mut self, overloaded: bool) {
        let took = self.gate.clock.now().saturating_duration_since(self.begun);
        self.sample = Some(if overloaded { Sample::Overload } else { Sample::Took(took) });
    }

    /// By when the work must be done: dropped after it and not [`done`](Self::done), it took too long.
    pub(super) fn due(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.gate.clock.now();
        let sample = self.sample.unwrap_or(match self.deadline {
            Some(deadline) if deadline <= now => Sample::Overload,
            _ => Sample::Nothing,
        });
        self.gate.leave(sample, now);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use mainstay_core::clock::Hand;
    use mainstay_core::scope::Priority::{High, Low, Normal};

    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn gate(limit: usize, max: usize, queue: usize) -> (Arc<Gate>, Hand) {
        let (clock, hand) = Clock::manual();
        (Arc::new(Gate::new(Adaptive::new(limit, max, limit), queue, SEC, clock)), hand)
    }

    async fn waits<F: Future + Unpin>(future: &mut F) -> bool {
        futures_util::poll!(future).is_pending()
    }

    #[tokio::test]
    async fn low_is_refused_first_and_high_goes_over_the_limit() {
        let (gate, _) = gate(2, 4, 8);
        let _one = gate.enter(Low, None).await.unwrap();
        let _two = gate.enter(Normal, None).await.unwrap();
        assert_eq!(gate.enter(Low, None).await.unwrap_err(), Refused::Load);
        let _three = gate.enter(High, None).await.unwrap();
        assert_eq!(gate.stands(), (2, 3, 0));
    }

    #[tokio::test]
    async fn normal_waits_for_its_turn_and_not_for_ever() {
        let (gate, hand) = gate(1, 1, 8);
        let one = gate.enter(Normal, None).await.unwrap();
        let mut two = pin!(gate.enter(Normal, None));
        let mut three = pin!(gate.enter(Normal, None));
        assert!(waits(&mut two).await);
        assert!(waits(&mut three).await);
        drop(one);
        let two = two.await.unwrap();
        hand.advance(SEC);
        assert_eq!(three.await.unwrap_err(), Refused::Load);
        drop(two);
        assert_eq!(gate.stands(), (1, 0, 0));
    }

    #[tokio::test]
    async fn what_is_past_its_deadline_is_not_begun() {
        let (gate, hand) = gate(1, 1, 8);
        let now = gate.clock.now();
        let one = gate.enter(Normal, None).await.unwrap();
        let mut late = pin!(gate.enter(Normal, Some(now + SEC / 2)));
        let mut high = pin!(gate.enter(High, Some(now + SEC / 2)));
        assert!(waits(&mut late).await);
        assert!(waits(&mut high).await);
        hand.advance(SEC / 2);
        drop(one);
        assert_eq!(late.await.unwrap_err(), Refused::Expired);
        assert_eq!(high.await.unwrap_err(), Refused::Expired);
        assert_eq!(gate.enter(High, Some(now)).await.unwrap_err(), Refused::Expired);
        assert_eq!(gate.stands().1, 0);
    }

    #[tokio::test]
    async fn who_is_called_in_time_and_comes_too_late_does_not_begin() {
        let (gate, hand) = gate(1, 1, 8);
        let deadline = gate.clock.now() + SEC / 2;
        let one = gate.enter(Normal, None).await.unwrap();
        let mut two = pin!(gate.enter(Normal, Some(deadline)));
        assert!(waits(&mut two).await);
        drop(one);
        assert_eq!(gate.stands().1, 1);
        hand.advance(SEC / 2);
        assert_eq!(two.await.unwrap_err(), Refused::Expired);
        assert_eq!(gate.stands().1, 0);
    }

    #[tokio::test]
    async fn high_goes_first_and_pushes_normal_out_of_a_full_queue() {
        let (gate, _) = gate(1, 1, 2);
        let one = gate.enter(Normal, None).await.unwrap();
        let mut two = pin!(gate.enter(Normal, None));
        let mut three = pin!(gate.enter(Normal, None));
        let mut high = pin!(gate.enter(High, None));
        assert!(waits(&mut two).await);
        assert!(waits(&mut three).await);
        assert_eq!(gate.enter(Normal, None).await.unwrap_err(), Refused::Load);
        assert!(waits(&mut high).await);
        assert_eq!(three.await.unwrap_err(), Refused::Load);
        drop(one);
        let high = high.await.unwrap();
        assert!(waits(&mut two).await);
        drop(high);
        two.await.unwrap();
    }

    #[tokio::test]
    async fn a_place_comes_back_from_whoever_was_dropped() {
        let (gate, _) = gate(1, 1, 8);
        let one = gate.enter(Normal, None).await.unwrap();
        {
            let mut two = pin!(gate.enter(Normal, None));
            assert!(waits(&mut two).await);
            // Called, and dropped before it is polled again.
            drop(one);
        }
        assert_eq!(gate.stands().1, 0);
        gate.enter(Normal, None).await.unwrap();
    }
}
