//! The end of a service with the process that started it: that keeps the other end of a pipe, which the system
//! closes when it ends, by whatever means.

use std::io::{ErrorKind, Read};

use mainstay::{Code, Error, Result};
use rustix::process::{Signal, getpid, kill_process};

/// Ends this process as SIGTERM does once standard input has ended. Errors: LOCAL-002.
pub fn end_with_stdin() -> Result<()> {
    // A thread of its own, which nothing waits for: a read can't be taken back.
    let watch = std::thread::Builder::new().name("stdin".to_owned()).spawn(|| {
        let mut unread = [0; 256];
        loop {
            match std::io::stdin().read(&mut unread) {
                Ok(read) if read > 0 => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let _ = kill_process(getpid(), Signal::TERM);
    });
    let wrong = |e| Error::new(Code::LocalStart, "standard input can't be watched").cause(e);
    watch.map(drop).map_err(wrong)
}
