//! Strict mode, for tests: a test that runs an N+1, leaves a connection out or lets a statement escape its
//! transaction fails, and says where.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mainstay_core::clock::Clock;
use mainstay_core::observe::{Change, Checkout, Connection, Subscriber};
use mainstay_core::{Code, Place};
use mainstay_db::Db;

use crate::finding::{Cost, Finding, Severity};
use crate::live::Doctor;

/// What fails a test.
const CODES: &[Code] = &[Code::DoctorNPlusOne, Code::DoctorLeak, Code::DoctorEscaped];
/// How long connections may take to come back once the body is done.
const BACK_WITHIN: Duration = Duration::from_millis(500);

/// Runs `body` and panics after it where it did what it must not on `db`: an N+1 (DOC-001), a connection
/// that is not given back (DOC-006), a statement beside the open transaction (DOC-011). All that happens on
/// `db` meanwhile counts as the body's, also in tasks that it spawned.
///
/// Three rows are needed to see a loop: a test with two proves nothing.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// use mainstay_doctor::strict;
///
/// let n = strict::check(&db, async { db.query("SELECT 1").scalar::<i64>().await }).await?;
/// assert_eq!(n, 1);
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
///
/// # Panics
///
/// With the findings, as they are printed.
pub async fn check<F: Future>(db: &Db, body: F) -> F::Output {
    check_for(db, CODES, body).await
}

/// As [`check`], failing on findings of `codes`.
///
/// # Panics
///
/// With the findings, as they are printed.
pub async fn check_for<F: Future>(db: &Db, codes: &[Code], body: F) -> F::Output {
    let doctor = Doctor::builder().together().build();
    let out = Out::default();
    let _out = db.observer().subscribe_while(out.clone());
    doctor.watch(db);
    let output = body.await;
    let left = out.left().await;
    let mut found: Vec<Finding> =
        doctor.findings().into_iter().filter(|f| codes.contains(&f.code)).collect();
    if codes.contains(&Code::DoctorLeak) {
        found.extend(left.into_iter().map(not_back));
    }
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "strict mode:\n{}", texts.join("\n\n"));
    output
}

/// The connections that are out, and where they were asked for.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<HashMap<u64, Place>>>);

impl Subscriber for Out {
    fn connection(&self, event: &Connection<'_>) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (event.connection, event.change) {
            (Some(id), Change::Acquired { place, .. }) => {
                out.insert(id, place);
            }
            (Some(id), Change::Removed { .. }) => {
                out.remove(&id);
            }
            _ => {}
        }
    }

    fn checkout(&self, event: &Checkout<'_>) {
        if let Some(id) = event.connection {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }
}

impl Out {
    /// Those that do not come back.
    async fn left(&self) -> Vec<Place> {
        let clock = Clock::system();
        let until = clock.now() + BACK_WITHIN;
        loop {
            let left: Vec<Place> =
                self.0.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect();
            if left.is_empty() || clock.now() >= until {
                return left;
            }
            clock.sleep(Duration::from_millis(5)).await;
        }
    }
}

fn not_back(place: Place) -> Finding {
    let now: SystemTime = Clock::system().wall();
    Finding {
        code: Code::DoctorLeak,
        severity: Severity::Error,
        what: "a connection was not given back by the end of the test".to_owned(),
        scope: None,
        place: Some(place.to_string()),
        evidence: vec![format!("it was still out {BACK_WITHIN:?} after it")],
        fix: Code::DoctorLeak.fix().to_owned(),
        cost: Cost::default(),
        first_seen: now,
        last_seen: now,
        count: 1,
    }
}
