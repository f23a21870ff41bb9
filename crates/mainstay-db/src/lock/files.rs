//! SQLite's locks by name: it has none itself. Within the process a mutex each, between processes the
//! operating system's lock on a file each, which ends with the process that has it.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use tokio::sync::OwnedMutexGuard;

/// How often another process's lock is asked for: at first, and after a while.
const POLL_MIN: Duration = Duration::from_millis(1);
const POLL_MAX: Duration = Duration::from_millis(50);

/// The locks of one handle, by the key of their name.
#[derive(Debug, Default)]
pub(crate) struct LocalNames(Mutex<HashMap<u64, Arc<tokio::sync::Mutex<()>>>>);

/// One that is held, until dropped.
#[derive(Debug)]
pub(crate) struct LocalLock {
    // Closed, and so unlocked, before the next of this process gets its turn.
    _file: Option<File>,
    _turn: OwnedMutexGuard<()>,
}

impl LocalNames {
    fn of(&self, key: u64) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody has or waits for is forgotten.
        all.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(all.entry(key).or_default())
    }

    /// Waits for the lock, in the order of asking within this handle; in `folder` for other handles
    /// and processes, which are served in no order. Without a folder the lock is this handle's alone.
    pub(crate) async fn lock(
        &self,
        key: u64,
        folder: Option<PathBuf>,
        clock: &Clock,
    ) -> Result<LocalLock> {
        let turn = self.of(key).lock_owned().await;
        let Some(folder) = folder else { return Ok(LocalLock { _file: None, _turn: turn }) };
        let mut wait = POLL_MIN;
        loop {
            if let Some(file) = try_file(folder.clone(), key).await? {
                return Ok(LocalLock { _file: Some(file), _turn: turn });
            }
            clock.sleep(wait).await;
            wait = (wait * 2).min(POLL_MAX);
        }
    }

    /// The lock, if nobody has it.
    pub(crate) async fn try_lock(
        &self,
        key: u64,
        folder: Option<PathBuf>,
    ) -> Result<Option<LocalLock>> {
        let Ok(turn) = self.of(key).try_lock_owned() else { return Ok(None) };
        let Some(folder) = folder else {
            return Ok(Some(LocalLock { _file: None, _turn: turn }));
        };
        let file = try_file(folder, key).await?;
        Ok(file.map(|file| LocalLock { _file: Some(file), _turn: turn }))
    }
}

/// The file's lock, if nobody has it. The files stay: one that is removed could be locked by two, each
/// in the belief to have the one under that name.
async fn try_file(folder: PathBuf, key: u64) -> Result<Option<File>> {
    let path = folder.join(format!("{key:016x}"));
    let tried = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&folder)
            .and_then(|()| File::options().create(true).append(true).open(&path))
            .map_err(|e| refused(&path, e))
            .and_then(|file| match file.try_lock() {
                Ok(()) => Ok(Some(file)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(e)) => Err(refused(&path, e)),
            })
    });
    let cut_off = |e| Err(Error::new(Code::File, "locking a file was cut off").cause(e));
    tried.await.unwrap_or_else(cut_off)
}

fn refused(path: &Path, error: std::io::Error) -> Error {
    Error::new(Code::File, format!("{} can't be locked", path.display())).cause(error)
}

/// The locks by name that a transaction on SQLite has, until it ends.
#[derive(Debug, Default)]
pub(crate) struct Named(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// It has ended.
    closed: bool,
    all: Vec<(u64, LocalLock)>,
}

impl Named {
    fn with<T>(&self, f: impl FnOnce(&mut Held) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn has(&self, key: u64) -> bool {
        self.with(|held| held.all.iter().any(|(k, _)| *k == key))
    }

    /// Keeps it for the transaction; whether that is still open.
    pub(crate) fn add(&self, key: u64, lock: LocalLock) -> bool {
        self.with(|held| {
            if !held.closed {
                held.all.push((key, lock));
            }
            !held.closed
        })
    }

    /// Lets go of all, and takes no more.
    pub(crate) fn clear(&self) {
        let all = self.with(|held| {
            held.closed = true;
            std::mem::take(&mut held.all)
        });
        drop(all);
    }
}
