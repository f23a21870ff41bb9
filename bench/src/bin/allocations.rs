//! What the doctor makes a statement allocate on the thread that runs it, in a program of its own: one that
//! counts allocations is slower by that. Prints it for a handle on SQLite in memory, and for the path alone.

#[path = "../doctor/path.rs"]
mod path;

use mainstay::scope::{Kind, Scope};

use path::{Path, quiet, user, users};

const STATEMENTS: i64 = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let more = through_a_handle(true).await - through_a_handle(false).await;
    println!("{more} {}", on_the_path().await);
}

/// Of a statement in the middle: the runtime's own queues grow now and then.
async fn through_a_handle(watched: bool) -> f64 {
    let (db, doctor) = (users().await, quiet());
    if watched {
        doctor.watch(&db);
    }
    let mut counts = vec![];
    // What is remembered from the first on is not counted, nor what SQLite's own thread does.
    for id in 0..2 * STATEMENTS {
        counts.push(counted(request().run(user(&db, id))).await);
        if id == STATEMENTS {
            counts.clear();
            drop(doctor.findings());
        }
    }
    counts.sort_unstable();
    counts[counts.len() / 2] as f64
}

/// Of all of them.
async fn on_the_path() -> f64 {
    let (db, doctor, path) = (users().await, quiet(), Path::new());
    doctor.watch(&db);
    let statements = || async { (0..STATEMENTS).for_each(|id| path.follow(db.observer(), id)) };
    request().run(statements()).await;
    drop(doctor.findings());
    counted(request().run(statements())).await as f64 / STATEMENTS as f64
}

fn request() -> Scope {
    Scope::new(Kind::Request, "GET /users")
}

/// Allocations on this thread while `work` is polled.
async fn counted(work: impl Future<Output = ()>) -> u64 {
    let mut work = std::pin::pin!(work);
    let mut count = 0;
    std::future::poll_fn(|cx| {
        let mut polled = std::task::Poll::Pending;
        let in_this_poll = allocation_counter::measure(|| polled = work.as_mut().poll(cx));
        count += in_this_poll.count_total;
        polled
    })
    .await;
    count
}
