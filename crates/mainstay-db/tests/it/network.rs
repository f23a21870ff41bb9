//! A network that fails: silent sockets, outages, storms of cut connections, herds of callers, a load
//! that is too much; against real servers behind a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_db::{Code, Db};
use mainstay_pool::Options;
use mainstay_testkit::{Engine, Fresh, Proxy, Weather};

use crate::support::{accounts, all_back};

macro_rules! on_every_server {
    ($($name:ident),* $(,)?) => {
        on_every_server!(@engine postgres Postgres $($name)*);
        on_every_server!(@engine mariadb MariaDb $($name)*);
    };
    (@engine $module:ident $engine:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(mainstay_testkit::Engine::$engine).await;
                }
            )*
        }
    };
}

on_every_server!(
    a_silent_socket_gives_its_place_back_within_the_bound,
    a_silent_idle_connection_is_not_handed_out,
    an_outage_fails_callers_at_once_and_ends_with_it,
    a_storm_of_cut_connections_loses_no_place,
    a_herd_opens_no_more_than_two_at_a_time,
    too_much_load_is_shed,
);

async fn through(engine: Engine, options: Options) -> (Fresh, Proxy, Db) {
    let fresh = Fresh::new(engine).await;
    let (proxy, url) = Proxy::before(fresh.url()).await.unwrap();
    // The bound of a test's options may be short for a machine that has much else to do.
    for _ in 0..10 {
        if let Ok(db) = Db::builder(&url).pool(options.clone()).connect().await {
            return (fresh, proxy, db);
        }
    }
    panic!("{url} is not reached");
}

fn sleep(engine: Engine) -> &'static str {
    if engine == Engine::Postgres { "SELECT 1 FROM pg_sleep(1)" } else { "SELECT SLEEP(1)" }
}

/// The peer stops answering in the middle of statements: once they are given up, all places are
/// back within the release bound.
async fn a_silent_socket_gives_its_place_back_within_the_bound(engine: Engine) {
    let options = Options {
        max_size: 4,
        recover_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let (_fresh, proxy, db) = through(engine, options).await;
    // All four are open before, so that they are had at once, however slow the machine.
    let meet = tokio::sync::Barrier::new(4);
    let open = (0..4).map(|_| {
        db.transaction(|tx| {
            let meet = &meet;
            async move {
                tx.query("SELECT 1").execute().await?;
                meet.wait().await;
                Ok(())
            }
        })
    });
    futures_util::future::try_join_all(open).await.unwrap();
    let clock = Clock::system();
    let work: Vec<_> = (0..4)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let slow = db.query(sleep(engine)).execute();
                tokio::time::timeout(Duration::from_millis(400), slow).await.unwrap_err();
            })
        })
        .collect();
    for _ in 0..100 {
        if db.status().in_use == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    proxy.set(Weather::Silent);
    for task in work {
        task.await.unwrap();
    }
    let given_up = clock.now();
    all_back(&db).await;
    let took = clock.now() - given_up;
    assert!(took < Duration::from_secs(3), "{took:?}: not by a timeout of the kernel");
    assert_eq!(db.status().open, 0, "none of them is kept");
    proxy.set(Weather::Fair);
    while db.query("SELECT 1").execute().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_silent_idle_connection_is_not_handed_out(engine: Engine) {
    let options = Options {
        validate_after: Duration::from_millis(10),
        validation_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let (_fresh, proxy, db) = through(engine, options).await;
    db.query("SELECT 1").execute().await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    proxy.set(Weather::Silent);
    let asked = db.clone();
    let query = tokio::spawn(async move { asked.query("SELECT 1").execute().await.map(drop) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The old connection was given up by now, and the new one is on its way.
    proxy.set(Weather::Fair);
    query.await.unwrap().unwrap();
}

async fn an_outage_fails_callers_at_once_and_ends_with_it(engine: Engine) {
    let (_fresh, proxy, db) = through(engine, Options { max_size: 8, ..Options::default() }).await;
    proxy.set(Weather::Down);
    // What is open is found broken first.
    let mut last = None;
    for _ in 0..50 {
        match db.query("SELECT 1").execute().await {
            Err(e) if e.code() == Code::PoolDown => {
                last = Some(e);
                break;
            }
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    let report = last.expect("it is noticed").report();
    assert!(report.contains("no connection in pool `main`: "), "{report}");
    let before = proxy.accepted();
    let slow = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (db, slow) = (db.clone(), Arc::clone(&slow));
            tokio::spawn(async move {
                let clock = Clock::system();
                for _ in 0..10 {
                    let begun = clock.now();
                    let error = db.query("SELECT 1").execute().await.unwrap_err();
                    assert_eq!(error.code(), Code::PoolDown, "{error:?}");
                    if clock.now() - begun > Duration::from_secs(1) {
                        slow.fetch_add(1, SeqCst);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(slow.load(SeqCst), 0, "none waited for the acquire timeout");
    let tried = proxy.accepted() - before;
    assert!((1..=40).contains(&tried), "{tried} connects for 2000 callers");
    proxy.set(Weather::Fair);
    let clock = Clock::system();
    let begun = clock.now();
    while db.query("SELECT 1").execute().await.is_err() {
        assert!(clock.now() - begun < Duration::from_secs(10), "it never comes back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_storm_of_cut_connections_loses_no_place(engine: Engine) {
    let (_fresh, proxy, db) = through(engine, Options { max_size: 5, ..Options::default() }).await;
    accounts(&db, 5).await;
    let done = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..20i64)
        .map(|n| {
            let (db, done) = (db.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while done.load(SeqCst) == 0 {
                    let work = db.transaction(|tx| async move {
                        let got: i64 = tx
                            .query("SELECT balance FROM accounts WHERE id = $1")
                            .bind(n % 5)
                            .scalar()
                            .await?;
                        assert_eq!(got, 1000, "half a transaction was committed");
                        tx.query("UPDATE accounts SET balance = balance + 1 WHERE id = $1")
                            .bind(n % 5)
                            .execute()
                            .await?;
                        tx.query("UPDATE accounts SET balance = balance - 1 WHERE id = $1")
                            .bind(n % 5)
                            .execute()
                            .await
                    });
                    let _ = work.await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        proxy.cut();
    }
    done.store(1, SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    all_back(&db).await;
    assert_eq!(db.status().waiting, 0);
    all_places_can_be_had(&db, 5).await;
}

/// The whole capacity, at the same time.
async fn all_places_can_be_had(db: &Db, places: usize) {
    let all_in = Arc::new(tokio::sync::Barrier::new(places));
    let held = (0..places).map(|_| {
        let (db, all_in) = (db.clone(), Arc::clone(&all_in));
        tokio::spawn(async move {
            let meet = |tx: Db| {
                let all_in = Arc::clone(&all_in);
                async move {
                    tx.query("SELECT 1").execute().await?;
                    all_in.wait().await;
                    Ok(())
                }
            };
            // A caller without any patience: it must not starve the pool's own tasks.
            while db.transaction(meet).await.is_err() {}
        })
    });
    for task in held.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(db.status().open, places);
}

async fn a_herd_opens_no_more_than_two_at_a_time(engine: Engine) {
    let (_fresh, proxy, db) = through(engine, Options { max_size: 20, ..Options::default() }).await;
    proxy.set(Weather::Delayed(Duration::from_millis(3)));
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.query("SELECT 1").execute().await.map(drop) })
        })
        .collect();
    let most = Arc::new(AtomicUsize::new(0));
    let (watched, seen) = (db.clone(), Arc::clone(&most));
    let watch = tokio::spawn(async move {
        loop {
            seen.fetch_max(watched.status().connecting, SeqCst);
            tokio::task::yield_now().await;
        }
    });
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    watch.abort();
    assert!(most.load(SeqCst) <= 2, "{} at once", most.load(SeqCst));
    assert!(db.status().open <= 20);
}

async fn too_much_load_is_shed(engine: Engine) {
    let options =
        Options { max_size: 2, shed_target: Some(Duration::from_millis(20)), ..Options::default() };
    let (_fresh, _proxy, db) = through(engine, options).await;
    let hold = if engine == Engine::Postgres {
        "SELECT 1 FROM pg_sleep(0.01)"
    } else {
        "SELECT SLEEP(0.01)"
    };
    let (served, shed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..600u64)
        .map(|n| {
            let (db, served, shed) = (db.clone(), Arc::clone(&served), Arc::clone(&shed));
            tokio::spawn(async move {
                // 400 a second, where some 180 can be served.
                tokio::time::sleep(Duration::from_micros(n * 2500)).await;
                match db.query(hold).execute().await {
                    Ok(_) => served.fetch_add(1, SeqCst),
                    Err(error) => {
                        assert_eq!(error.code(), Code::PoolShed, "{error:?}");
                        shed.fetch_add(1, SeqCst)
                    }
                };
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (served, shed) = (served.load(SeqCst), shed.load(SeqCst));
    assert!(shed > 50 && served > 100, "{served} served, {shed} shed");
}
