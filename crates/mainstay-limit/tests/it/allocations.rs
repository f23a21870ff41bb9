//! A decision allocates nothing.

use mainstay_limit::{Limiter, Policy};

#[test]
fn a_decision_allocates_nothing() {
    for text in ["fixed 5/h", "sliding 5/h", "log 5/h", "bucket 5/h", "gcra 5/h", "concurrency 5"] {
        let limiter = Limiter::with_keys_max(text.parse::<Policy>().unwrap(), 1_000);
        limiter.set_override("vip", Some(text.replace('5', "9").parse().unwrap())).ok();
        let keys: Vec<String> = (0..3_000).map(|n| format!("key {n}")).collect();
        limiter.check("warm");
        let info = allocation_counter::measure(|| {
            for key in &keys {
                limiter.check(key);
                limiter.check_n("vip", 2);
            }
        });
        assert_eq!(info.count_total, 0, "{text}");
    }
}
