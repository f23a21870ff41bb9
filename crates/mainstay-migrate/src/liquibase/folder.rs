//! A changelog's files, below a folder of this machine.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mainstay_core::{Code, Error, Result};

use super::Source;

const FILES_MAX: usize = 100_000;

/// The folder that the paths of a changelog lead from.
#[derive(Clone, Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Source for Folder {
    fn read(&self, path: &str) -> Result<Option<String>> {
        let file = self.0.join(path);
        match std::fs::read(&file) {
            Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                failed(&format!("{} is not UTF-8 at byte {at}", file.display()))
                    .fix("save it as UTF-8")
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unread(&file, error)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let first = self.0.join(folder);
        let mut listing = Listing { todo: vec![first.clone()], ..Listing::default() };
        while let Some(folder) = listing.todo.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound && folder == first => break,
                Err(error) => return Err(unread(&folder, error)),
            };
            for entry in entries {
                let path = entry.map_err(|error| unread(&folder, error))?.path();
                listing.add(path)?;
                if listing.files.len() + listing.todo.len() > FILES_MAX {
                    return Err(failed(&format!("{} has too many files", folder.display())));
                }
            }
        }
        Ok(listing.files.iter().map(|file| self.below(file)).collect())
    }
}

/// What has been seen of a folder.
#[derive(Default)]
struct Listing {
    files: Vec<PathBuf>,
    /// Folders that are still to be looked into.
    todo: Vec<PathBuf>,
}

impl Listing {
    fn add(&mut self, path: PathBuf) -> Result<()> {
        let kind = std::fs::symlink_metadata(&path).map_err(|error| unread(&path, error))?;
        if !kind.is_symlink() {
            let list = if kind.is_dir() { &mut self.todo } else { &mut self.files };
            list.push(path);
            return Ok(());
        }
        match std::fs::canonicalize(&path) {
            Ok(target) if target.is_dir() => {
                // A link to a folder that leads here would be followed for ever.
                let leads_here = |folder: &Path| {
                    std::fs::canonicalize(folder).is_ok_and(|real| real.starts_with(&target))
                };
                if !path.ancestors().skip(1).any(leads_here) {
                    self.todo.push(path);
                }
            }
            // One that leads nowhere is told when it is read.
            _ => self.files.push(path),
        }
        Ok(())
    }
}

impl Folder {
    fn below(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.0).unwrap_or(path);
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }
}

fn unread(path: &Path, error: std::io::Error) -> Error {
    failed(&format!("{} can't be read", path.display())).cause(error)
}

fn failed(what: &str) -> Error {
    Error::new(Code::MigrationChangelog, what.to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn folders_are_listed_and_links_do_not_lead_round() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder(root.path().to_owned());
        std::fs::create_dir_all(root.path().join("db/deep")).unwrap();
        std::fs::write(root.path().join("db/deep/a.sql"), "select 1").unwrap();
        std::os::unix::fs::symlink(root.path().join("db"), root.path().join("db/deep/up")).unwrap();
        assert_eq!(folder.list("db").unwrap(), ["db/deep/a.sql"]);
        assert_eq!(folder.list("gone").unwrap(), [""; 0]);
        assert!(folder.list("db/deep/a.sql").is_err());
    }
}
