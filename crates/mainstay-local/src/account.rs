//! The account a server runs under: our own, or, because servers refuse to run as root, the one its
//! package made.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use mainstay_core::{Code, Error, Result};

/// A user and its group, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// Whether it is another than our own, which only root can switch to.
    other: bool,
}

impl Account {
    /// Our own, or the first of `names` that exists where we are root.
    pub(crate) fn choose(names: &[&str]) -> Result<Self> {
        let own = fs::metadata("/proc/self").map(|m| (m.uid(), m.gid()));
        let (uid, gid) = own
            .map_err(|e| Error::new(Code::LocalStart, "the current user is not known").cause(e))?;
        if uid != 0 {
            return Ok(Self { uid, gid, other: false });
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        names.iter().find_map(|name| lookup(&passwd, name)).ok_or_else(|| {
            Error::new(Code::LocalStart, "a database server does not run as root")
                .why(format!("none of the users {} exists", names.join(", ")))
                .fix("create one of these users, or run as another user than root")
        })
    }

    /// Makes `command` run under this account.
    pub(crate) fn apply(self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        if self.other {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Makes `path` this account's.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        if !self.other {
            return Ok(());
        }
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(|e| {
            Error::new(
                Code::LocalFolder,
                format!("{} can't be handed to the server's user", path.display()),
            )
            .cause(e)
        })
    }

    /// Checks that this account can pass through every folder above `path`.
    pub(crate) fn check_reach(self, path: &Path) -> Result<()> {
        if !self.other {
            return Ok(());
        }
        for folder in path.ancestors().skip(1) {
            let Ok(meta) = fs::metadata(folder) else { continue };
            let open = match (meta.uid() == self.uid, meta.gid() == self.gid) {
                (true, _) => meta.mode() & 0o100,
                (_, true) => meta.mode() & 0o010,
                _ => meta.mode() & 0o001,
            };
            if open == 0 {
                let what = format!("the server's user can't pass through {}", folder.display());
                return Err(Error::new(Code::LocalFolder, what)
                    .why("we are root, a database server is not, and that folder is closed to others")
                    .fix(format!("chmod o+x {}, or choose a folder elsewhere", folder.display())));
            }
        }
        Ok(())
    }
}

fn lookup(passwd: &str, name: &str) -> Option<Account> {
    let mut fields =
        passwd.lines().map(|l| l.split(':')).find_map(|mut f| (f.next()? == name).then_some(f))?;
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Account { uid, gid, other: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(lookup(passwd, "postgres"), Some(Account { uid: 101, gid: 104, other: true }));
        assert_eq!(lookup(passwd, "mysql"), None);
    }
}
