//! Who is refused for load, and when.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::scope::Priority;

use crate::shed::Shedding;
use crate::waiters::Ticket;

#[test]
fn only_a_standing_queue_is_shed_and_by_priority() {
    let (clock, hand) = Clock::manual();
    let ticket = |priority| Ticket { asked: clock.coarse(), priority };
    let mut shedding = Shedding::new(Some(Duration::from_millis(50)));
    shedding.joined(clock.coarse());
    let first = ticket(Priority::Normal);
    let high = ticket(Priority::High);
    hand.advance(Duration::from_millis(199));
    assert!(!shedding.refuses(&first, clock.coarse()), "a burst");
    let low = ticket(Priority::Low);
    hand.advance(Duration::from_millis(1));
    let now = clock.coarse();
    assert!(shedding.refuses(&first, now));
    assert!(shedding.refuses(&low, now));
    assert!(!shedding.refuses(&high, now));
    assert!(!shedding.refuses(&ticket(Priority::Normal), now), "it has not waited yet");
    shedding.emptied();
    shedding.joined(now);
    assert!(!shedding.refuses(&first, now), "the queue was empty in between");
}

#[test]
fn without_a_target_nobody_is_shed() {
    let (clock, hand) = Clock::manual();
    let ticket = Ticket { asked: clock.coarse(), priority: Priority::Low };
    let mut shedding = Shedding::new(None);
    shedding.joined(clock.coarse());
    hand.advance(Duration::from_secs(3600));
    assert!(!shedding.refuses(&ticket, clock.coarse()));
}
