//! A child that ends with us, even if we are killed.
//!
//! A shell stands between: it holds the other end of a pipe and waits on it. When we end, by
//! whatever means, the system closes our end, and the shell tells the server to stop. Nothing here
//! depends on our own clean-up being run.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use rustix::process::{Pid, Signal};

use crate::account::Account;
use crate::folder::Folder;
use crate::tree;

/// `$1` is the signal that stops the server, `$2` and `$3` folders to remove after it or nothing, the rest
/// its command. The shell ends when the server does; a second one waits on the pipe, and is ended with it.
/// Each is there until the other has done with it, so that no number is signalled that is another process's
/// by then. A server may miss a signal while it starts, so it gets a second one, and is killed with all of
/// its group in the end. A child of a shell ignores SIGINT unless it says otherwise, as database servers do.
const WATCHER: &str = r#"signal=$1; root=$2; run=$3; shift 3
trap "" INT TERM HUP
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{
  read -r _ <&3
  kill -s "$signal" "$child"; sleep 10
  kill -s "$signal" "$child"; sleep 15
  [ -n "$root" ] && setsid /bin/sh -c 'sleep 1; rm -rf "$@"' remove "$root" "$run" &
  kill -s KILL 0
} 2>/dev/null &
reader=$!
wait "$child"
status=$?
kill -s KILL "$reader" 2>/dev/null
[ -n "$root" ] && rm -rf "$root" "$run" 2>/dev/null
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
        for removed in [&folder.root, &folder.run] {
            shell.arg(if temporary { removed.as_os_str() } else { "".as_ref() });
        }
        shell.args(command);
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

    /// The shell's.
    pub(crate) fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Stops the server and waits for its end, at most `limit`.
    pub(crate) fn stop(&mut self, limit: Duration) -> Result<()> {
        if let Some(mut pipe) = self.child.stdin.take() {
            // Closing it is the message; the line only makes it prompt.
            let _ = writeln!(pipe);
        }
        // One whose time is stopped would not hear of it.
        if self.is_alive() {
            self.freeze(false)?;
        }
        wait_until(limit, || !self.is_alive()).ok_or_else(|| {
            Error::new(Code::LocalStart, format!("the server did not stop within {limit:?}"))
        })
    }
}

impl Watched {
    /// Ends the shell, the server and all that they started, at once.
    pub(crate) fn kill(&mut self, limit: Duration) -> Result<()> {
        let all = self.freeze(true)?;
        for process in &all {
            signal(*process, Signal::KILL)?;
        }
        let gone = || !self.is_alive() && all.iter().all(|process| !tree::is_alive(*process));
        wait_until(limit, gone).ok_or_else(|| {
            Error::new(Code::LocalStart, format!("the server was not gone within {limit:?}"))
        })
    }

    /// Stops the shell, the server and all that they started, or lets them go on; tells which these are.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<Vec<Pid>> {
        let Some(root) = self.pid() else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        // What was started while we looked is found by looking again: who is stopped starts nothing.
        loop {
            let new: Vec<Pid> =
                tree::below(root).into_iter().filter(|p| !all.contains(p)).collect();
            if new.is_empty() {
                return Ok(all);
            }
            for process in &new {
                signal(*process, if frozen { Signal::STOP } else { Signal::CONT })?;
            }
            all.extend(new);
        }
    }
}

/// One that ended meanwhile needs no signal.
fn signal(process: Pid, signal: Signal) -> Result<()> {
    match rustix::process::kill_process(process, signal) {
        Err(e) if e != rustix::io::Errno::SRCH => {
            Err(Error::new(Code::LocalStart, "the server could not be signalled").cause(e))
        }
        _ => Ok(()),
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The pipe closes here if it has not: the watcher does the rest on its own time.
        drop(self.child.stdin.take());
        if self.is_alive() {
            let _ = self.freeze(false);
        }
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

/// Gives `input` to a tool and tells what it says, at most `limit` long: a server that is stopped answers
/// nobody. As [`run`] otherwise.
pub(crate) fn ask(
    command: &mut Command,
    input: &str,
    limit: Duration,
    account: Account,
) -> Result<String> {
    account.apply(command);
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |e| Error::new(Code::LocalStart, format!("{name} did not run")).cause(e);
    command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Each pipe has a thread, so that none waits for another to be emptied.
    let (ended, said, wrong) = std::thread::scope(|threads| {
        threads.spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
        let said = threads.spawn(|| stdout.map(read).unwrap_or_default());
        let wrong = threads.spawn(|| stderr.map(read).unwrap_or_default());
        let ended = wait_until(limit, || !matches!(child.try_wait(), Ok(None)));
        if ended.is_none() {
            let _ = child.kill();
        }
        let status = child.wait();
        let text = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_default();
        (ended.map(|()| status), text(said), text(wrong))
    });
    let Some(status) = ended else {
        return Err(Error::new(Code::LocalStart, format!("{name} had no answer in {limit:?}"))
            .fix("let the server go on, if it is paused; else read its log"));
    };
    match status.map_err(failed)? {
        status if status.success() => Ok(said),
        status => Err(Error::new(Code::LocalStart, format!("{name} failed: {status}")).why(wrong)),
    }
}

fn read(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
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
