//! Other tools' files under our names. The SQL stays as it is, to the byte; what a tool says in a
//! comment or beside the file goes into a `.conf`.

use std::path::{Path, PathBuf};

use mainstay_core::{Code, Error, Result};

use super::Tool;
use crate::source::Migrations;
use crate::version::Version;

/// How deep folders may be nested.
const DEPTH_MAX: usize = 16;

/// One file of another tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OldFile {
    /// Where it was read, as messages name it.
    pub(super) path: String,
    pub(super) version: Version,
    /// Whether it takes back what another did.
    pub(super) undoes: bool,
    /// Under our rules.
    pub(super) name: String,
    pub(super) text: String,
    /// What stands beside it; empty for nothing.
    pub(super) conf: String,
}

/// All files of `tool` below `folder`, in the order of their versions. Errors: MIG-001, APP-003.
pub(super) fn read(tool: Tool, folder: &Path) -> Result<Vec<OldFile>> {
    let mut out = match tool {
        Tool::Sqlx => sqlx(folder)?,
        Tool::Refinery => refinery(folder, 0)?,
        Tool::Diesel => diesel(folder)?,
        Tool::Flyway | Tool::Liquibase => {
            let what = format!("files of {tool} are not written anew");
            return Err(Error::new(Code::Argument, what).fix("point --dir at them as they are"));
        }
    };
    out.sort_by(|a, b| (&a.version, a.undoes, &a.path).cmp(&(&b.version, b.undoes, &b.path)));
    Ok(out)
}

/// The files as migrations, without being written. Duplicates are found when they are loaded.
pub(super) fn migrations(files: &[OldFile]) -> Migrations {
    files.iter().fold(Migrations::new(), |all, file| {
        let all = all.text(file.name.clone(), file.text.as_str());
        match file.conf.as_str() {
            "" => all,
            conf => all.text(format!("{}.conf", file.name), conf),
        }
    })
}

/// Writes `files` into `folder`, and says which were not there already. Errors: MIG-001 where another
/// file of a name is there, before any is written.
pub(super) fn write(files: &[OldFile], folder: &Path) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for file in files {
        let mut both = vec![(file.name.clone(), file.text.as_str())];
        if !file.conf.is_empty() {
            both.push((format!("{}.conf", file.name), file.conf.as_str()));
        }
        for (name, text) in both {
            let path = folder.join(&name);
            match std::fs::read(&path) {
                Ok(bytes) if bytes == text.as_bytes() => {}
                Ok(_) => {
                    let what = format!("{} is there already, and is another", path.display());
                    return Err(Error::new(Code::MigrationFile, what)
                        .why(format!("{} was to be written there", file.path))
                        .fix("write to an empty folder"));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    missing.push((name, text));
                }
                Err(error) => return Err(failed(&path, "read", error)),
            }
        }
    }
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, "made", error))?;
    for (name, text) in &missing {
        let (path, partial) = (folder.join(name), folder.join(format!(".{name}.part")));
        // Renamed when it is whole, so that no half is taken for a migration.
        std::fs::write(&partial, text)
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|error| failed(&path, "written", error))?;
    }
    Ok(missing.into_iter().map(|(name, _)| name).collect())
}

/// `<n>_<description>.sql`, or `.up.sql` and `.down.sql`, in one folder.
fn sqlx(folder: &Path) -> Result<Vec<OldFile>> {
    let mut out = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| path.is_file()) {
        let name = file_name(&path);
        let Some((number, rest)) = name.split_once('_') else { continue };
        let Some(stem) = rest.strip_suffix(".sql") else { continue };
        let (stem, undoes) = match stem.strip_suffix(".down") {
            Some(stem) => (stem, true),
            None => (stem.strip_suffix(".up").unwrap_or(stem), false),
        };
        let text = text(&path)?;
        let alone = text.starts_with("-- no-transaction");
        out.push(file(&path, number, stem, undoes, text, alone)?);
    }
    Ok(out)
}

/// `V<n>__<name>.sql`, and `U<n>__<name>.sql`, which is one that may run late, below any folder.
fn refinery(folder: &Path, depth: usize) -> Result<Vec<OldFile>> {
    let mut out = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            if depth == DEPTH_MAX {
                let what = format!("{} is more than {DEPTH_MAX} folders deep", path.display());
                return Err(Error::new(Code::MigrationFile, what));
            }
            out.extend(refinery(&path, depth + 1)?);
            continue;
        }
        let name = file_name(&path);
        let Some((version, rest)) = name
            .strip_prefix(['V', 'U'])
            .and_then(|rest| rest.split_once("__"))
            .filter(|(version, _)| Version::parse(version).is_some())
        else {
            continue;
        };
        if rest.strip_suffix(".rs").is_some() {
            let what = format!("{} is written in Rust", path.display());
            let fix = format!("write the SQL that it makes as V{version}__....sql in its place");
            return Err(Error::new(Code::MigrationFile, what).fix(fix));
        }
        let Some(stem) = rest.strip_suffix(".sql") else { continue };
        let text = text(&path)?;
        let alone = text.lines().any(|line| {
            line.trim()
                .strip_prefix("--")
                .is_some_and(|rest| rest.trim() == "refinery:noTransaction")
        });
        out.push(file(&path, version, stem, false, text, alone)?);
    }
    Ok(out)
}

/// `<version>_<name>/up.sql`, with `down.sql` and `metadata.toml` where they are needed.
fn diesel(folder: &Path) -> Result<Vec<OldFile>> {
    let mut out = Vec::new();
    for folder in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let up = folder.join("up.sql");
        if !up.is_file() {
            continue;
        }
        let name = file_name(&folder);
        let (version, stem) = name.split_once('_').unwrap_or((name.as_str(), ""));
        let version = version.replace('-', "");
        let metadata = folder.join("metadata.toml");
        let alone = metadata.is_file() && outside(&text(&metadata)?);
        out.push(file(&up, &version, stem, false, text(&up)?, alone)?);
        let down = folder.join("down.sql");
        if down.is_file() {
            out.push(file(&down, &version, stem, true, text(&down)?, alone)?);
        }
    }
    Ok(out)
}

/// Whether diesel's metadata say `run_in_transaction = false`.
fn outside(metadata: &str) -> bool {
    metadata.lines().any(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let Some((key, value)) = line.split_once('=') else { return false };
        key.trim() == "run_in_transaction" && value.trim() == "false"
    })
}

fn file(
    path: &Path,
    version: &str,
    stem: &str,
    undoes: bool,
    text: String,
    alone: bool,
) -> Result<OldFile> {
    let shown = path.display().to_string();
    let parsed = Version::parse(version).ok_or_else(|| {
        let what = format!("{shown} has the version `{version}`, which is none of ours");
        Error::new(Code::MigrationFile, what).fix("versions are digits, with points between them")
    })?;
    let mut conf = String::new();
    if alone {
        conf += "executeInTransaction=false\n";
    }
    // The other tools know no placeholders.
    if text.contains("${") {
        conf += "placeholderReplacement=false\n";
    }
    let prefix = if undoes { 'U' } else { 'V' };
    let name = format!("{prefix}{version}__{stem}.sql");
    Ok(OldFile { path: shown, version: parsed, undoes, name, text, conf })
}

/// What is in a folder, hidden files aside, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| failed(folder, "read", error);
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        out.push(entry.map_err(unreadable)?.path());
    }
    out.retain(|path| !file_name(path).starts_with('.'));
    out.sort();
    Ok(out)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| failed(path, "read", error))
}

fn failed(path: &Path, how: &str, error: std::io::Error) -> Error {
    let what = format!("{} can't be {how}", path.display());
    Error::new(Code::MigrationFile, what).cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn named(files: &[OldFile]) -> Vec<(&str, &str)> {
        files.iter().map(|file| (file.name.as_str(), file.conf.as_str())).collect()
    }

    #[test]
    fn sqlx_files_get_our_names() {
        let dir = folder(&[
            ("0001_init.sql", "SELECT 1"),
            ("2_add_users.up.sql", "-- no-transaction\nSELECT '${x}'"),
            ("2_add_users.down.sql", "SELECT 2"),
            ("README.md", ""),
        ]);
        let files = read(Tool::Sqlx, dir.path()).unwrap();
        let conf = "executeInTransaction=false\nplaceholderReplacement=false\n";
        let expected =
            [("V0001__init.sql", ""), ("V2__add_users.sql", conf), ("U2__add_users.sql", "")];
        assert_eq!(named(&files), expected);
        let wrong = folder(&[("one_x.sql", "")]);
        assert_eq!(read(Tool::Sqlx, wrong.path()).unwrap_err().code(), Code::MigrationFile);
    }

    #[test]
    fn diesel_folders_become_files() {
        let dir = folder(&[
            ("00000000000000_diesel_initial_setup/up.sql", "SELECT 1"),
            ("2024-01-02-030405_add_a/up.sql", "SELECT 2"),
            ("2024-01-02-030405_add_a/down.sql", "SELECT 3"),
            ("2024-01-02-030405_add_a/metadata.toml", "run_in_transaction = false # index"),
            ("notes/README.md", ""),
        ]);
        let files = read(Tool::Diesel, dir.path()).unwrap();
        let alone = "executeInTransaction=false\n";
        let expected = [
            ("V00000000000000__diesel_initial_setup.sql", ""),
            ("V20240102030405__add_a.sql", alone),
            ("U20240102030405__add_a.sql", alone),
        ];
        assert_eq!(named(&files), expected);
    }

    #[test]
    fn refinerys_late_ones_are_versioned_and_rust_is_refused() {
        let dir = folder(&[
            ("a/V1__one.sql", "SELECT 1"),
            ("b/U2__late.sql", "-- refinery:noTransaction\nSELECT 2"),
            ("other.sql", ""),
        ]);
        let files = read(Tool::Refinery, dir.path()).unwrap();
        let expected = [("V1__one.sql", ""), ("V2__late.sql", "executeInTransaction=false\n")];
        assert_eq!(named(&files), expected);
        let rust = folder(&[("V3__code.rs", "")]);
        let report = read(Tool::Refinery, rust.path()).unwrap_err().report();
        assert!(report.contains("V3__code.rs is written in Rust"), "{report}");
    }

    #[test]
    fn writing_twice_is_writing_once_and_nothing_is_written_over() {
        let dir = folder(&[("1_a.sql", "SELECT 1"), ("2_b.sql", "-- no-transaction\n")]);
        let files = read(Tool::Sqlx, dir.path()).unwrap();
        let to = dir.path().join("new");
        assert_eq!(write(&files, &to).unwrap(), ["V1__a.sql", "V2__b.sql", "V2__b.sql.conf"]);
        assert_eq!(write(&files, &to).unwrap(), [""; 0]);
        std::fs::write(to.join("V2__b.sql"), "SELECT 3").unwrap();
        std::fs::remove_file(to.join("V1__a.sql")).unwrap();
        assert_eq!(write(&files, &to).unwrap_err().code(), Code::MigrationFile);
        assert!(!to.join("V1__a.sql").exists());
    }
}
