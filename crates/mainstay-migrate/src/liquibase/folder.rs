//! A changelog's files, below a folder of this machine.

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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&format!("{} can't be read", file.display())).cause(error)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut out = Vec::new();
        let mut todo = vec![self.0.join(folder)];
        while let Some(folder) = todo.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry
                    .map_err(|e| failed(&format!("{} can't be read", folder.display())).cause(e))?
                    .path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    out.push(self.below(&path));
                }
                if out.len() + todo.len() > FILES_MAX {
                    return Err(failed(&format!("{} has too many files", folder.display())));
                }
            }
        }
        Ok(out)
    }
}

impl Folder {
    fn below(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.0).unwrap_or(path);
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }
}

fn failed(what: &str) -> Error {
    Error::new(Code::MigrationChangelog, what.to_owned())
}
