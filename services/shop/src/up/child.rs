//! One service's process: started, watched, ended.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::{Code, Error, Result};

use super::servers::Servers;
use super::{FOLDER, ports, secret};
use crate::part::Part;

/// Between two looks whether a process is still there.
const LOOK: Duration = Duration::from_millis(50);
/// How long one may take to end in order: its requests, then its jobs, then its connections.
const END_LIMIT: Duration = Duration::from_secs(35);

/// What a service's process is started from.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) part: Part,
    pub(super) url: String,
    pub(super) log: PathBuf,
    port: u16,
}

impl Process {
    pub(super) fn new(part: Part, host: &str, port: u16) -> Self {
        let log = Path::new(FOLDER).join("logs").join(format!("{part}.log"));
        Self { part, url: ports::url(host, port), log, port }
    }
}

/// What all five are started with.
pub(super) struct Launch {
    program: PathBuf,
    host: String,
    environment: Vec<(&'static str, String)>,
}

impl Launch {
    /// Also begins their logs anew. Errors: DB-026.
    pub(super) fn new(host: &str, servers: &Servers, processes: &[Process]) -> Result<Self> {
        let wrong = |what: &str| {
            let what = what.to_owned();
            move |e: std::io::Error| Error::new(Code::File, what).cause(e)
        };
        std::fs::create_dir_all(Path::new(FOLDER).join("logs"))
            .map_err(wrong("the folder ./data/logs can't be made"))?;
        for process in processes {
            File::create(&process.log).map_err(wrong("a log can't be written"))?;
        }
        let program = std::env::current_exe().map_err(wrong("this program is not found"))?;
        let url = |part| {
            let process = processes.iter().find(|process| process.part == part);
            process.map(|process| process.url.clone()).unwrap_or_default()
        };
        // Not flags: those are seen by everybody on the machine.
        let mut environment = servers.environment();
        environment.push(("MAINSTAY_MIGRATE__ON_START", "wait".to_owned()));
        environment.push(("MAINSTAY_SERVICES__USERS", url(Part::Users)));
        environment.push(("MAINSTAY_SERVICES__INVENTORY", url(Part::Inventory)));
        if servers.config.sessions.secret.is_none() {
            // Sessions live as long as this process, and not as one that it starts.
            environment.push(("MAINSTAY_SESSIONS__SECRET", secret()?));
        }
        Ok(Self { program, host: host.to_owned(), environment })
    }

    /// Errors: LOCAL-002.
    pub(super) fn start(&self, process: &Process) -> Result<Running> {
        let wrong = |e: std::io::Error| {
            Error::new(Code::LocalStart, format!("{} did not start", process.part)).cause(e)
        };
        let log = File::options().append(true).create(true).open(&process.log).map_err(wrong)?;
        let mut command = Command::new(&self.program);
        command.args(["--service", process.part.as_str(), "--host", &self.host]);
        command.args(["--port", &process.port.to_string(), "--end-with-stdin"]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A group of its own: a Ctrl-C at the terminal is for us, and we end them in their order.
        command.process_group(0).stdin(Stdio::piped());
        command.stdout(log.try_clone().map_err(wrong)?).stderr(log);
        Ok(Running(command.spawn().map_err(wrong)?))
    }
}

/// A process that runs. Dropped, it ends in order, by itself: its standard input has ended then.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end. Cancel safe. Errors: LOCAL-002.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus> {
        loop {
            let lost = |e| Error::new(Code::LocalStart, "a process can't be waited for").cause(e);
            if let Some(status) = self.0.try_wait().map_err(lost)? {
                return Ok(status);
            }
            Clock::system().sleep(LOOK).await;
        }
    }

    /// Ends it in order, or at once where that takes too long. Errors: LOCAL-002.
    pub(super) async fn end(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        if let Some(ended) = Clock::system().timeout(END_LIMIT, self.ended()).await {
            return ended.map(drop);
        }
        // Gone meanwhile, it needs no more.
        let _ = self.0.kill();
        self.ended().await.map(drop)
    }
}
