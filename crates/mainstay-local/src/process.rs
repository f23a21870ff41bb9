//! A child that ends with us, even if we are killed.
//!
//! A shell stands between: it holds the other end of a pipe and waits on it. When we end, by
//! whatever means, the system closes our end, and the shell tells the server to stop. Nothing here
//! depends on our own clean-up being run.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use rustix::process::{Pid, Signal};

use crate::account::Account;
use crate::folder::Folder;

/// `$1` is the signal that stops the server, `$2` a folder to remove after it or nothing, the rest its
/// command. The shell ends when the server
/// does; a second one waits on the pipe, and is ended with it. Each is there until the other has done
/// with it, so that no number is signalled that is another process's by then. A child of a shell ignores SIGINT unless it says otherwise, as
/// database servers do.
const WATCHER: &str = r#"signal=$1; temporary=$2; shift 2
trap "" INT TERM HUP
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -s "$signal" "$child"; exec sleep 60; } 2>/dev/null &
reader=$!
wait "$child"
status=$?
kill -s KILL "$reader" 2>/dev/null
[ -n "$temporary" ] && rm -rf "$temporary" 2>/dev/null
exit $status"#;

/// A running server and the shell that watches over it.
#[derive(Debug)]
pub(crate) struct Watched {
    child: Child,
}

impl Watched {
    /// Starts `command`, to be stopped with `signal`. `temporary` is removed after its end.
    pub(crate) fn spawn(
        command: &[String],
        signal: &str,
        folder: &Folder,
        temporary: bool,
        account: Account,
    ) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let log = &folder.log;
        let failed = |e: std::io::Error| {
            Error::new(Code::LocalStart, format!("{} did not start", command[0])).cause(e)
        };
        let out = File::options().create(true).append(true).open(log).map_err(failed)?;
        account.own(log)?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", WATCHER, "watcher", signal]);
        shell.arg(if temporary { folder.root.as_os_str() } else { "".as_ref() }).args(command);
        // A group of its own, so that a Ctrl-C at our terminal does not reach the server.
        shell.process_group(0).current_dir("/");
        shell.stdin(Stdio::piped()).stdout(out.try_clone().map_err(failed)?).stderr(out);
        account.apply(&mut shell);
        Ok(Self { child: shell.spawn().map_err(failed)? })
    }

    /// Whether the shell, and so the server, is still there.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops the server and waits for its end, at most `limit`.
    pub(crate) fn stop(&mut self, limit: Duration) -> Result<()> {
        if let Some(mut pipe) = self.child.stdin.take() {
            // Closing it is the message; the line only makes it prompt.
            let _ = writeln!(pipe);
        }
        wait_until(limit, || !self.is_alive()).ok_or_else(|| {
            Error::new(Code::LocalStart, format!("the server did not stop within {limit:?}"))
        })
    }
}

impl Watched {
    /// Ends all of its group at once.
    pub(crate) fn kill(&mut self, limit: Duration) -> Result<()> {
        self.signal(Signal::KILL)?;
        wait_until(limit, || !self.is_alive() && self.group_is_gone()).ok_or_else(|| {
            Error::new(Code::LocalStart, format!("the server was not gone within {limit:?}"))
        })
    }

    /// Stops all of its group, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        self.signal(if frozen { Signal::STOP } else { Signal::CONT })
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(group) = self.group() else { return Ok(()) };
        rustix::process::kill_process_group(group, signal)
            .map_err(|e| Error::new(Code::LocalStart, "the server could not be signalled").cause(e))
    }

    fn group_is_gone(&self) -> bool {
        self.group().is_none_or(|group| rustix::process::test_kill_process_group(group).is_err())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The pipe closes here if it has not: the watcher does the rest on its own time.
        drop(self.child.stdin.take());
        let _ = self.child.try_wait();
    }
}

/// Runs a tool to its end, as `account`, from a folder it can read.
pub(crate) fn run(command: &mut Command, account: Account) -> Result<()> {
    account.apply(command);
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.current_dir("/").stdin(Stdio::null()).output();
    let output =
        output.map_err(|e| Error::new(Code::LocalStart, format!("{name} did not run")).cause(e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let tail: Vec<_> = said.lines().rev().take(8).collect();
    Err(Error::new(Code::LocalStart, format!("{name} failed: {}", output.status))
        .why(tail.into_iter().rev().collect::<Vec<_>>().join("\n")))
}

/// Whether `command` succeeds; its output is of no interest.
pub(crate) fn succeeds(command: &mut Command, account: Account) -> bool {
    account.apply(command);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}

/// Polls until `done`, for at most `limit`.
#[expect(clippy::disallowed_methods, reason = "every call of this crate blocks, and says so")]
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> Option<()> {
    let clock = Clock::system();
    let deadline = clock.now() + limit;
    while !done() {
        if clock.now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    Some(())
}
