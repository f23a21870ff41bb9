//! The folder of a private server: who may use it, and what is where in it.

use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mainstay_core::{Code, Error, Result};

use crate::account::Account;

/// The length of a socket's path that every system takes, less a file name.
const SOCKET_FOLDER_MAX: usize = 80;

/// A server's folder, made and handed to its account.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) root: PathBuf,
    pub(crate) data: PathBuf,
    /// Where the Unix socket is.
    pub(crate) run: PathBuf,
    pub(crate) log: PathBuf,
    /// The owner's lock: whoever has it may start and stop the server.
    lock: File,
}

impl Folder {
    pub(crate) fn prepare(root: &Path, account: Account) -> Result<Self> {
        let wrong = |e: std::io::Error| {
            Error::new(
                Code::LocalFolder,
                format!("{} can't be used as a data folder", root.display()),
            )
            .cause(e)
        };
        fs::create_dir_all(root).map_err(wrong)?;
        let root = root.canonicalize().map_err(wrong)?;
        check_ours(&root)?;
        let lock = File::options().create(true).truncate(false).write(true).open(root.join("lock"));
        let lock = lock.map_err(wrong)?;
        account.check_reach(&root.join("data"))?;
        let run = socket_folder(&root);
        if run.symlink_metadata().is_ok_and(|m| !m.is_dir()) {
            let what = format!("{} is not a folder", run.display());
            return Err(Error::new(Code::LocalFolder, what).fix("remove it"));
        }
        for folder in [&root, &run] {
            fs::create_dir_all(folder).map_err(wrong)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(wrong)?;
            account.own(folder)?;
        }
        Ok(Self { data: root.join("data"), log: root.join("server.log"), root, run, lock })
    }

    /// Whether we are the one who may start the server; told apart from a failing file system.
    pub(crate) fn try_own(&self) -> Result<bool> {
        match self.lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => {
                let what = format!("{} can't be locked", self.root.display());
                Err(Error::new(Code::LocalFolder, what).cause(e))
            }
        }
    }

    /// Fills the data folder with `make`, in a folder beside that is renamed when whole: a kill half-way
    /// leaves nothing that looks finished.
    pub(crate) fn make_data(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let half = self.root.join("data.new");
        let wrong = |e: std::io::Error| {
            Error::new(Code::LocalFolder, format!("{} can't be written", half.display())).cause(e)
        };
        if half.exists() {
            fs::remove_dir_all(&half).map_err(wrong)?;
        }
        make(&half)?;
        fs::rename(&half, &self.data).map_err(wrong)
    }

    /// Writes a file that only the server's account can read.
    pub(crate) fn write(&self, name: &str, text: &str, account: Account) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .map_err(|e| {
                Error::new(Code::LocalFolder, format!("{} can't be written", path.display()))
                    .cause(e)
            })?;
        account.own(&path)?;
        Ok(path)
    }

    /// A folder for what a server needs for a moment; each has its own, since one that starts removes what
    /// it takes for a dead one's.
    pub(crate) fn scratch(&self, account: Account) -> Result<PathBuf> {
        let path = self.root.join("tmp");
        fs::create_dir_all(&path).map_err(|e| {
            Error::new(Code::LocalFolder, format!("{} can't be made", path.display())).cause(e)
        })?;
        account.own(&path)?;
        Ok(path)
    }

    /// The end of the server's log, for an error.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Unlocked, and not only closed: a process that another thread is about to start has the file open
/// until it runs its program, and would keep the lock as long.
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// A folder that holds other things is not taken over: its owner and rights are about to change.
fn check_ours(root: &Path) -> Result<()> {
    let mut entries = root.read_dir().map_err(|e| {
        Error::new(Code::LocalFolder, format!("{} can't be read", root.display())).cause(e)
    })?;
    if entries.next().is_none() || root.join("lock").is_file() {
        return Ok(());
    }
    Err(Error::new(Code::LocalFolder, format!("{} holds other things", root.display()))
        .fix("name a folder that does not exist yet, or an empty one"))
}

/// Below the folder, or in the temporary one where that path would be too long for a socket.
fn socket_folder(root: &Path) -> PathBuf {
    let near = root.join("run");
    if near.as_os_str().len() <= SOCKET_FOLDER_MAX {
        return near;
    }
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    std::env::temp_dir().join(format!("mainstay-{:016x}", hasher.finish()))
}
