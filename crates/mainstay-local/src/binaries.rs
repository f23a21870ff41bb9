//! Finding the programs of a server: an explicit folder, PATH, then where distributions put them.

use std::path::{Path, PathBuf};

use mainstay_core::{Code, Error, Result, config};

/// A server's programs: how to look for them and what to install where they are missing.
pub(crate) struct Programs {
    /// The variable that names a folder to look in first.
    pub(crate) variable: &'static str,
    pub(crate) package: &'static str,
    /// Folders to look in last; a `*` stands for one level, the highest version first.
    pub(crate) folders: &'static [&'static str],
}

impl Programs {
    /// The path of `program`. Errors: LOCAL-001, naming the package and the folders looked in.
    pub(crate) fn find(&self, program: &str) -> Result<PathBuf> {
        let folders = self.folders();
        if let Some(found) = folders.iter().map(|f| f.join(program)).find(|p| p.is_file()) {
            return Ok(found);
        }
        let looked: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
        Err(Error::new(Code::LocalMissing, format!("the program `{program}` is not installed"))
            .why(format!("not in {}", looked.join(", ")))
            .fix(format!(
                "apt-get install {}, or set {} to the folder that has it",
                self.package, self.variable
            )))
    }

    fn folders(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            config::variable(self.variable).map(PathBuf::from).into_iter().collect();
        for pattern in self.folders {
            all.extend(expand(pattern));
        }
        if let Some(path) = config::variable("PATH") {
            all.extend(std::env::split_paths(&path));
        }
        all
    }
}

fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("/*/") else { return vec![pattern.into()] };
    let Ok(entries) = Path::new(before).read_dir() else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_by_key(|n| std::cmp::Reverse(n.parse::<u32>().unwrap_or(0)));
    names.into_iter().map(|n| Path::new(before).join(n).join(after)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let programs =
            Programs { variable: "NO_SUCH_VARIABLE", package: "nosuch-server", folders: &[] };
        let error = programs.find("nosuchd").unwrap_err();
        assert_eq!(error.code(), Code::LocalMissing);
        assert!(error.report().contains("apt-get install nosuch-server"), "{error:?}");
    }

    #[test]
    fn the_highest_version_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9", "15", "14"] {
            std::fs::create_dir_all(dir.path().join(version).join("bin")).unwrap();
        }
        let found = expand(&format!("{}/*/bin", dir.path().display()));
        assert!(found[0].ends_with("15/bin"), "{found:?}");
    }
}
