//! Recording: statements to a file as lines of JSON, by a thread of its own.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};

use crate::trace::{Event, line};

/// Statements that wait to be written.
const QUEUE_MAX: usize = 8192;

/// How a trace is recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordOptions {
    /// The file is not made larger than so many bytes; what comes after is counted and left out.
    /// Default: 256 MiB.
    pub bytes_max: u64,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self { bytes_max: 256 << 20 }
    }
}

impl RecordOptions {
    /// With another bound of the file's size.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }
}

/// What became of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Lines written.
    pub lines: u64,
    /// Statements left out: for want of room, or because the disk was too slow.
    pub dropped: u64,
}

#[derive(Default)]
struct Counts {
    lines: AtomicU64,
    dropped: AtomicU64,
}

pub(super) struct Recorder {
    queue: SyncSender<Event>,
    counts: Arc<Counts>,
    thread: std::thread::JoinHandle<()>,
}

impl Recorder {
    /// Errors: DOC-019 where the file is there already or can't be made.
    pub(super) fn begin(path: &Path, options: &RecordOptions) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::new(Code::DoctorTrace, format!("{} can't be written", path.display())).cause(e)
        };
        let file = File::options().write(true).create_new(true).open(path).map_err(failed)?;
        let counts = Arc::new(Counts::default());
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let writer = Writer {
            path: path.to_owned(),
            out: BufWriter::new(file),
            left: options.bytes_max,
            salt: Rng::system().u64(0..u64::MAX),
            counts: Arc::clone(&counts),
        };
        let thread = std::thread::Builder::new().name("mainstay-doctor-record".to_owned());
        let thread = thread.spawn(move || writer.run(&waiting)).map_err(failed)?;
        Ok(Self { queue, counts, thread })
    }

    /// Hands it to the thread, or counts it where that can't keep up.
    pub(super) fn write(&mut self, event: &Event) {
        if self.queue.try_send(event.clone()).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all is written. It blocks.
    pub(super) fn end(self) -> Recorded {
        drop(self.queue);
        let _ = self.thread.join();
        let Counts { lines, dropped } = &*self.counts;
        Recorded { lines: lines.load(Ordering::Relaxed), dropped: dropped.load(Ordering::Relaxed) }
    }
}

struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    left: u64,
    salt: u64,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Event>) {
        let mut broken = false;
        while let Ok(event) = queue.recv() {
            if broken || !self.one(&event).unwrap_or_else(|e| self.breaks(&e, &mut broken)) {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
            // What waits goes into one write.
            while let Ok(event) = queue.try_recv() {
                if broken || !self.one(&event).unwrap_or_else(|e| self.breaks(&e, &mut broken)) {
                    self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            if !broken && let Err(error) = self.out.flush() {
                self.breaks(&error, &mut broken);
            }
        }
        let dropped = self.counts.dropped.load(Ordering::Relaxed);
        if dropped > 0 && !broken {
            let _ = writeln!(self.out, "{{\"dropped\":{dropped}}}").and_then(|()| self.out.flush());
        }
    }

    /// Whether there was room for it.
    fn one(&mut self, event: &Event) -> std::io::Result<bool> {
        let line = line(event, self.salt);
        let size = line.len() as u64 + 1;
        if size > self.left {
            // The first that does not fit ends the file: a trace with gaps would mislead.
            self.left = 0;
            return Ok(false);
        }
        self.left -= size;
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")?;
        self.counts.lines.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn breaks(&self, error: &std::io::Error, broken: &mut bool) -> bool {
        tracing::warn!("the recording to {} has ended: {error}", self.path.display());
        *broken = true;
        false
    }
}
