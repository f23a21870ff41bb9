//! How long a decision takes: `cargo run --release -p mainstay-route --example classifier`.

use std::hint::black_box;

use mainstay_core::clock::Clock;
use mainstay_db::Engine;
use mainstay_route::{Classifier, classify};

const TEXTS: [&str; 3] = [
    "SELECT id, name, email FROM users WHERE id = $1",
    "SELECT o.id, o.placed_at, sum(i.cents * i.quantity) AS cents FROM orders o JOIN items i ON i.order_id = o.id \
     WHERE o.user_id = $1 AND o.placed_at >= now() - interval '30 days' GROUP BY o.id ORDER BY o.placed_at DESC LIMIT 50",
    "UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1",
];

fn main() {
    let clock = Clock::system();
    for engine in [Engine::Postgres, Engine::MySql] {
        let classifier = Classifier::new(engine);
        for sql in TEXTS {
            let per = |times: u32, of: &dyn Fn()| {
                let start = clock.now();
                (0..times).for_each(|_| of());
                clock.now().duration_since(start).as_nanos() as f64 / f64::from(times)
            };
            let miss = per(5_000, &|| drop(black_box(classify(black_box(sql), engine))));
            let hit = per(5_000_000, &|| {
                black_box(classifier.of(black_box(sql)));
            });
            let chars = sql.len();
            println!("{engine:<10} {chars:>4} characters  kept {hit:>6.1} ns  new {miss:>8.0} ns");
        }
    }
}
