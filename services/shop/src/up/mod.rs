//! `shop up`: the five services as processes of their own, on one database and one broker, which it starts
//! where none are configured. What dies is started again; all end with this process, however that ends.
//!
//! It is for one machine: a fleet has something else to keep its processes running.

mod child;
mod keep;
mod ports;
mod restarts;
mod servers;
mod table;
mod tether;

use std::sync::Arc;
use std::time::Duration;

use mainstay::cache::session::secret_bytes;
use mainstay::config::Loaded;
use mainstay::{Error, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::part::Part;
use crate::server;
use child::{Launch, Process};
use keep::Ending;
use servers::Servers;
use table::Table;

pub use tether::end_with_stdin;

/// Where the services' logs, and the private servers, are.
const FOLDER: &str = "data";
const FIRST_PORT: u16 = 8081;
/// How long what is shared may take to end when everybody who used it has.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Runs until Ctrl-C or SIGTERM, and ends what it has started: the orders service, the others, the servers.
///
/// Errors: APP-002 (a port is taken), LOCAL-001 to LOCAL-003 (a server, or a service that does not stay up),
/// DB-026, those of a connection and of a migration.
pub async fn run(loaded: &Loaded<Config>) -> Result<()> {
    let host = &loaded.value.http.host;
    let given = loaded.origins.get("http.port").is_some_and(|origin| origin != "the defaults");
    let ports = ports::free(host, if given { loaded.value.http.port } else { FIRST_PORT })?;
    let servers = Box::pin(Servers::start(&loaded.value)).await?;
    let served = Box::pin(services(&servers, host, ports)).await;
    servers.stop(CLOSE_LIMIT).await.and(served)
}

async fn services(servers: &Servers, host: &str, ports: [u16; 5]) -> Result<()> {
    let processes = Part::SERVICES.into_iter().zip(ports);
    let processes: Vec<Process> =
        processes.map(|(part, port)| Process::new(part, host, port)).collect();
    let launch = Arc::new(Launch::new(host, servers, &processes)?);
    let asked = server::end_signals()?;
    tokio::pin!(asked);
    let (end, (ready, mut told)) = (watch::Sender::new(false), mpsc::channel(processes.len()));
    let mut table = Table::new(servers, &processes);
    let mut kept = JoinSet::new();
    // Who asks others ends before them: they wait until this is dropped.
    let (first, gone) = watch::channel(());
    let mut first = Some(first);
    for process in processes {
        let asks = process.part == Part::Orders;
        let guard = if asks { first.take() } else { None };
        let ending = Ending::new(end.subscribe(), (!asks).then(|| gone.clone()));
        let (launch, ready) = (Arc::clone(&launch), ready.clone());
        kept.spawn(async move {
            let _guard = guard;
            keep::keep(&process, &launch, &ready, ending).await
        });
    }
    let mut outcome = loop {
        tokio::select! {
            () = &mut asked => break Ok(()),
            Some((part, pid)) = told.recv() => table.ready(part, pid),
            Some(ended) = kept.join_next() => break ended.unwrap_or_else(panicked),
        }
    };
    eprintln!("ending: what the services have under way has some seconds to end");
    end.send_replace(true);
    while let Some(ended) = kept.join_next().await {
        outcome = outcome.and(ended.unwrap_or_else(panicked));
    }
    eprintln!("ended");
    outcome
}

/// 256 bits that nobody guesses, as a text. Errors: those of [`secret_bytes`].
fn secret() -> Result<String> {
    let half = || Ok::<_, Error>(u128::from_le_bytes(secret_bytes()?));
    Ok(format!("{:032x}{:032x}", half()?, half()?))
}

fn panicked(error: tokio::task::JoinError) -> Result<()> {
    Err(Error::wrap(error))
}
