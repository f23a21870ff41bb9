//! What the doctor costs a statement: through a handle on SQLite in memory, and the path alone, on which there is
//! no database at all.

use std::hint::black_box;
use std::time::Instant;

use mainstay::Db;
use mainstay::clock::Clock;
use mainstay::doctor::Doctor;
use mainstay::observe::Subscriber;
use mainstay::scope::{Kind, Scope};

use super::path::{Path, quiet, user, users};
use crate::report::{Better, Case, median};

/// Short rounds, and many: on a busy machine most of them are not interrupted.
const STATEMENTS: usize = 100;
const ROUNDS: usize = 1_001;
/// Of the path alone: no more than there is room for.
const TOLD: usize = 2_000;
const TOLD_ROUNDS: usize = 201;

pub(crate) async fn run() -> Vec<Case> {
    let apart = std::thread::spawn(through_a_handle);
    let handle = tokio::task::spawn_blocking(|| apart.join().expect("no panic")).await;
    let (bare, watched) = handle.expect("no panic");
    let (db, doctor) = (users().await, quiet());
    let untold = path_alone(&db, &doctor).await;
    let unheard = {
        let _idle = db.observer().subscribe_while(Idle);
        path_alone(&db, &doctor).await
    };
    doctor.watch(&db);
    let told = path_alone(&db, &doctor).await;
    let [handle, alone] = allocations();
    vec![
        Case::new("a statement's thread, SQLite in memory, not watched", "ns", Better::Lower, bare),
        Case::new("a statement's thread more by the doctor", "ns", Better::Lower, watched - bare),
        Case::new("the path alone, watched", "ns", Better::Lower, told),
        Case::new("the path alone, for who does nothing with it", "ns", Better::Lower, unheard),
        Case::new("the path alone, not watched", "ns", Better::Lower, untold),
        Case::new("allocations a statement more by the doctor", "count", Better::Lower, handle),
        Case::new("allocations on the path alone", "count", Better::Lower, alone),
    ]
}

/// What is between it and the doctor is the doctor's own.
struct Idle;

impl Subscriber for Idle {
    fn wants_values(&self) -> bool {
        true
    }
}

/// Nanoseconds of a statement without and with a doctor, in turns: of the thread that asks, since how long it
/// waits for SQLite's varies by more than is measured.
fn through_a_handle() -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let db = users().await;
        let (mut without, mut with) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            ask(&db).await;
            without.push(ask(&db).await);
            let doctor = quiet();
            doctor.watch(&db);
            // Both of its buffers have been used, as after its first second.
            for _ in 0..2 {
                ask(&db).await;
                black_box(doctor.findings());
            }
            ask(&db).await;
            with.push(ask(&db).await);
            assert_eq!(doctor.dropped(), 0, "all was put down");
        }
        (median(without), median(with))
    })
}

async fn ask(db: &Db) -> f64 {
    let scope = Scope::new(Kind::Request, "GET /users");
    scope
        .run(async {
            let begun = on_processor();
            for id in 0..STATEMENTS as i64 {
                user(db, id).await;
            }
            (on_processor() - begun) / STATEMENTS as f64
        })
        .await
}

/// Nanoseconds for which this thread has run.
fn on_processor() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat");
    let schedstat = schedstat.expect("Linux tells it");
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

/// Nanoseconds of what a statement is observed with.
async fn path_alone(db: &Db, doctor: &Doctor) -> f64 {
    let mut all = vec![];
    let path = Path::new();
    for _ in 0..TOLD_ROUNDS {
        let scope = Scope::new(Kind::Request, "GET /users");
        let told = async {
            let begun = Clock::system().now();
            (0..TOLD as i64).for_each(|id| path.follow(db.observer(), id));
            each(begun, TOLD)
        };
        all.push(scope.run(told).await);
        black_box(doctor.findings());
    }
    median(all)
}

fn each(begun: Instant, count: usize) -> f64 {
    Clock::system().now().saturating_duration_since(begun).as_nanos() as f64 / count as f64
}

/// Of a program that counts them, which the others are spared: through a handle, and on the path alone.
fn allocations() -> [f64; 2] {
    let own = std::env::current_exe().expect("this program");
    let program = own.with_file_name("allocations");
    let output = std::process::Command::new(program).output();
    let output = output.expect("`cargo xtask bench doctor` builds it");
    let text = String::from_utf8(output.stdout).expect("two numbers");
    let mut numbers = text.split_whitespace().map(|n| n.parse().expect("a number"));
    [(); 2].map(|()| numbers.next().expect("two numbers"))
}
