//! One service is kept running, until it is asked to end.

use std::convert::Infallible;
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::http::service::Service;
use mainstay::{Code, Error, Result};
use tokio::sync::{mpsc, watch};

use super::child::{Launch, Process};
use super::restarts::{DEATHS_MAX, Restarts, WITHIN};
use crate::part::Part;

/// Between two questions whether it is ready.
const ASK: Duration = Duration::from_millis(100);
/// Of a log, what an error shows.
const TAIL_LINES: usize = 8;

/// Says when to end: once it is asked, and whoever ends first is gone.
pub(super) struct Ending {
    asked: watch::Receiver<bool>,
    first: Option<watch::Receiver<()>>,
}

impl Ending {
    pub(super) fn new(asked: watch::Receiver<bool>, first: Option<watch::Receiver<()>>) -> Self {
        Self { asked, first }
    }

    /// Cancel safe.
    async fn is_due(&mut self) {
        // Whoever would ask is gone: that asks too.
        let _ = self.asked.wait_for(|asked| *asked).await;
        if let Some(first) = &mut self.first {
            while first.changed().await.is_ok() {}
        }
    }
}

/// Starts it, again and again, and tells each time it is ready. Errors: LOCAL-002, also where it does not stay.
pub(super) async fn keep(
    process: &Process,
    launch: &Launch,
    ready: &mpsc::Sender<(Part, u32)>,
    mut ending: Ending,
) -> Result<()> {
    let (clock, mut restarts) = (Clock::system(), Restarts::default());
    loop {
        let born = clock.now();
        let mut running = launch.start(process)?;
        let pid = running.pid();
        let how = tokio::select! {
            status = running.ended() => status?.to_string(),
            () = ending.is_due() => return running.end().await,
            never = tell(process, pid, ready) => match never? {},
        };
        let Some(pause) = restarts.died(born, clock.now()) else {
            return Err(given_up(process, &how));
        };
        eprintln!("{} (pid {pid}) ended, {how}: started again in {pause:?}", process.part);
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = ending.is_due() => return Ok(()),
        }
    }
}

/// Once it is ready. Errors: HTTP-004.
async fn tell(
    process: &Process,
    pid: u32,
    ready: &mpsc::Sender<(Part, u32)>,
) -> Result<Infallible> {
    let service = Service::builder(process.part.as_str(), [process.url.as_str()])
        .timeout(Duration::from_secs(1))
        .attempts(1)
        .breaker(None)
        .build()?;
    while !service.get("/readyz").await.is_ok_and(|reply| reply.status().is_success()) {
        Clock::system().sleep(ASK).await;
    }
    let _ = ready.send((process.part, pid)).await;
    std::future::pending().await
}

fn given_up(process: &Process, how: &str) -> Error {
    let (part, log) = (process.part, process.log.display());
    let text = std::fs::read(&process.log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let tail: Vec<&str> = text.lines().rev().take(TAIL_LINES).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    let what = format!("{part} ended {DEATHS_MAX} times within {WITHIN:?}, last with {how}");
    Error::new(Code::LocalStart, what).why(tail.join("\n")).fix(format!("read {log}"))
}
