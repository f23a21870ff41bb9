//! Where migrations come from: folders, what was embedded at compile time, or texts. Everything is
//! read and checked before anything runs.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::Dir;
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use crate::conf::Conf;
use crate::name::{self, Kind};
use crate::version::Version;

/// How deep folders may be nested: a link that leads back up is an error, not a loop.
const DEPTH_MAX: usize = 16;
/// A larger script is most likely a dump put there by mistake.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const VERSION_CHARS_MAX: usize = 50;

/// The migrations of a service, wherever they are kept.
///
/// In a folder, files in a folder called `sqlite`, `postgres` (or `postgresql`), `mysql` or `mariadb`
/// are that engine's alone; all others are every engine's. MariaDB reads `mysql` and `mariadb`.
///
/// ```
/// use mainstay_migrate::Migrations;
///
/// let migrations = Migrations::new()
///     .text("V1__users.sql", "CREATE TABLE users (id BIGINT PRIMARY KEY)")
///     .text("R__names.sql", "CREATE VIEW names AS SELECT id FROM users");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Migrations {
    locations: Vec<Location>,
}

#[derive(Clone, Debug)]
enum Location {
    Folder(PathBuf),
    Embedded(&'static Dir<'static>),
    Text(String, Arc<str>),
}

/// One script, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) kind: Kind,
    pub(crate) description: String,
    /// As the history names it: below its location, with `/`.
    #[expect(clippy::struct_field_names, reason = "the history's own name for it")]
    pub(crate) script: String,
    /// As messages name it.
    pub(crate) path: String,
    pub(crate) text: Arc<str>,
    pub(crate) conf: Conf,
}

/// All scripts for one engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scripts {
    pub(crate) versioned: BTreeMap<Version, Script>,
    pub(crate) undo: BTreeMap<Version, Script>,
    pub(crate) baseline: BTreeMap<Version, Script>,
    /// By description.
    pub(crate) repeatable: BTreeMap<String, Script>,
    /// By event, then in the order of their names.
    pub(crate) callbacks: Vec<Script>,
}

/// A file as it was found.
struct Found {
    script: String,
    path: String,
    bytes: Vec<u8>,
}

/// Which database the scripts are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct For {
    pub(crate) engine: Engine,
    pub(crate) mariadb: bool,
}

impl Migrations {
    /// None, to which others are added.
    pub fn new() -> Self {
        Self::default()
    }

    /// The files below a folder, read when they are needed.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.locations.push(Location::Folder(path.into()));
        self
    }

    /// What was embedded at compile time: see [`migrations!`](crate::migrations).
    #[must_use]
    pub fn embedded(mut self, folder: &'static Dir<'static>) -> Self {
        self.locations.push(Location::Embedded(folder));
        self
    }

    /// One script, by its file name.
    #[must_use]
    pub fn text(mut self, name: impl Into<String>, sql: impl Into<Arc<str>>) -> Self {
        self.locations.push(Location::Text(name.into(), sql.into()));
        self
    }

    /// The version that the next migration has: one more than the highest, with as many digits; or the
    /// time (`20261126011209`, UTC), where versions are times or there are none yet.
    ///
    /// Errors: MIG-001.
    pub fn next_version(&self) -> Result<String> {
        let engines = [Engine::Sqlite, Engine::Postgres, Engine::MySql];
        let mut highest: Option<Version> = None;
        for engine in engines {
            let scripts = self.load(For { engine, mariadb: true })?;
            highest = highest.max(scripts.highest().cloned());
        }
        let now = chrono::DateTime::<chrono::Utc>::from(Clock::system().wall());
        let time = now.format("%Y%m%d%H%M%S").to_string();
        let Some(highest) = highest else { return Ok(time) };
        // A time has 14 digits, or 12 without seconds.
        match highest.as_str().split_once('.').map_or(highest.as_str(), |(first, _)| first) {
            first if first.len() >= 12 => Ok(time),
            first => match first.parse::<u64>() {
                Ok(n) => Ok(format!("{:0width$}", n + 1, width = first.len())),
                Err(_) => Ok(time),
            },
        }
    }

    /// Reads everything for one engine. Errors: MIG-001.
    pub(crate) fn load(&self, database: For) -> Result<Scripts> {
        let mut found = Vec::new();
        for location in &self.locations {
            match location {
                Location::Folder(path) => walk(path, path, database, 0, &mut found)?,
                Location::Embedded(dir) => embedded(dir, dir.path(), database, &mut found),
                Location::Text(name, sql) => found.push(Found {
                    script: name.clone(),
                    path: name.clone(),
                    bytes: sql.as_bytes().to_vec(),
                }),
            }
        }
        Scripts::of(found)
    }
}

fn file_error(what: String) -> Error {
    Error::new(Code::MigrationFile, what)
}

/// Whether a folder of this name belongs to an engine, and if so, whether to this one.
fn engine_folder(name: &str, database: For) -> Option<bool> {
    match name {
        "sqlite" => Some(database.engine == Engine::Sqlite),
        "postgres" | "postgresql" => Some(database.engine == Engine::Postgres),
        "mysql" => Some(database.engine == Engine::MySql),
        "mariadb" => Some(database.engine == Engine::MySql && database.mariadb),
        _ => None,
    }
}

/// Gathers the files below `folder`; names in the history are below `root`.
fn walk(root: &Path, folder: &Path, of: For, depth: usize, out: &mut Vec<Found>) -> Result<()> {
    let shown = folder.display();
    if depth > DEPTH_MAX {
        return Err(file_error(format!("{shown} is more than {DEPTH_MAX} folders deep")));
    }
    let unreadable = |e: std::io::Error| {
        file_error(format!("the folder {shown} can't be read"))
            .fix("make it, or name another with --dir or migrate.dir")
            .cause(e)
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        entries.push((entry.file_name(), entry.file_type().map_err(unreadable)?));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, kind) in entries {
        let (path, name) = (folder.join(&name), name.to_string_lossy().into_owned());
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
            match engine_folder(&name, of) {
                Some(true) => walk(&path, &path, of, depth + 1, out)?,
                Some(false) => {}
                None => walk(root, &path, of, depth + 1, out)?,
            }
        } else if is_ours(&name) {
            out.push(read(root, &path)?);
        }
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let script = lower.strip_suffix(".conf").unwrap_or(&lower);
    Path::new(script).extension().is_some_and(|extension| extension == "sql")
}

fn read(root: &Path, path: &Path) -> Result<Found> {
    let shown = path.display().to_string();
    let unreadable = |e: std::io::Error| file_error(format!("{shown} can't be read")).cause(e);
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        let what = format!("{shown} has {length} bytes: at most {FILE_BYTES_MAX} are read");
        return Err(file_error(what).fix("load data with the engine's own tool"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Found { script: below(root, path), path: shown, bytes })
}

/// The path below `root`, with `/`.
fn below(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|p| p.to_string_lossy()).collect();
    parts.join("/")
}

fn embedded(dir: &Dir<'_>, root: &Path, of: For, out: &mut Vec<Found>) {
    for file in dir.files() {
        let name = file.path().file_name().unwrap_or_default().to_string_lossy();
        if is_ours(&name) && !name.starts_with('.') {
            out.push(Found {
                script: below(root, file.path()),
                path: file.path().display().to_string(),
                bytes: file.contents().to_vec(),
            });
        }
    }
    for dir in dir.dirs() {
        let name = dir.path().file_name().unwrap_or_default().to_string_lossy();
        match engine_folder(&name, of) {
            _ if name.starts_with('.') => {}
            Some(true) => embedded(dir, dir.path(), of, out),
            Some(false) => {}
            None => embedded(dir, root, of, out),
        }
    }
}

impl Scripts {
    fn of(found: Vec<Found>) -> Result<Self> {
        let (mut scripts, mut confs) = (Vec::new(), HashMap::new());
        for file in found {
            let text = decode(&file)?;
            match file.path.len().checked_sub(5).map(|at| file.path.split_at(at)) {
                Some((of, suffix)) if suffix.eq_ignore_ascii_case(".conf") => {
                    let conf = Conf::parse(&text)
                        .map_err(|why| file_error(format!("{}: {why}", file.path)))?;
                    confs.insert(of.to_owned(), (conf, file.path.clone()));
                }
                _ => scripts.push((file, text)),
            }
        }
        let mut all = Self::default();
        for (file, text) in scripts {
            let conf = confs.remove(&file.path).map(|(conf, _)| conf).unwrap_or_default();
            all.add(file, text.into(), conf)?;
        }
        if let Some((_, conf)) = confs.into_values().next() {
            return Err(file_error(format!("{conf} has no script beside it")));
        }
        all.callbacks.sort_by(|a, b| (&a.description, &a.path).cmp(&(&b.description, &b.path)));
        Ok(all)
    }

    fn add(&mut self, file: Found, text: Arc<str>, conf: Conf) -> Result<()> {
        let name = file.path.rsplit(['/', '\\']).next().unwrap_or(&file.path);
        let named = name::parse(name).map_err(|(why, fix)| {
            file_error(format!("{} is not named as a migration", file.path)).why(why).fix(fix)
        })?;
        let Some((kind, description)) = named else { return Ok(()) };
        let version = kind.version().cloned();
        if let Some(long) = version.as_ref().filter(|v| v.as_str().len() > VERSION_CHARS_MAX) {
            let what = format!("{}: the version {long} has over 50 characters", file.path);
            return Err(file_error(what));
        }
        let Found { script, path, .. } = file;
        let script = Script { kind, description, script, path, text, conf };
        let replaced = match (&script.kind, version) {
            (Kind::Versioned(_), Some(v)) => self.versioned.insert(v, script.clone()),
            (Kind::Undo(_), Some(v)) => self.undo.insert(v, script.clone()),
            (Kind::Baseline(_), Some(v)) => self.baseline.insert(v, script.clone()),
            (Kind::Repeatable, _) => {
                self.repeatable.insert(script.description.clone(), script.clone())
            }
            _ => {
                self.callbacks.push(script.clone());
                None
            }
        };
        match replaced {
            Some(first) => Err(duplicate(&first, &script)),
            None => Ok(()),
        }
    }

    /// The highest version that there is a file for.
    pub(crate) fn highest(&self) -> Option<&Version> {
        self.versioned.keys().chain(self.baseline.keys()).max()
    }
}

fn duplicate(first: &Script, second: &Script) -> Error {
    let what = match first.kind.version() {
        Some(version) => format!("two files have the version {version}"),
        None => format!("two repeatable files are called `{}`", first.description),
    };
    file_error(what)
        .why(format!("{}\n{}", first.path, second.path))
        .fix("give one of them another version or name")
}

/// UTF-8, or an error that says where it is not.
fn decode(file: &Found) -> Result<String> {
    let error = match std::str::from_utf8(&file.bytes) {
        Ok(text) => return Ok(text.to_owned()),
        Err(error) => error,
    };
    let before = &file.bytes[..error.valid_up_to()];
    let line = before.split(|b| *b == b'\n').count();
    let why = match file.bytes.get(..2) {
        Some([0xff, 0xfe] | [0xfe, 0xff]) => "it begins as UTF-16 does".to_owned(),
        _ => format!("line {line} has the byte 0x{:02x}", file.bytes[error.valid_up_to()]),
    };
    Err(file_error(format!("{} is not UTF-8", file.path)).why(why).fix("save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTGRES: For = For { engine: Engine::Postgres, mariadb: false };

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        dir
    }

    fn load(files: &[(&str, &[u8])], database: For) -> Result<Scripts> {
        let dir = folder(files);
        Migrations::new().folder(dir.path()).load(database)
    }

    #[test]
    fn an_engine_reads_its_own_folder_and_what_is_everybodys() {
        let files: &[(&str, &[u8])] = &[
            ("V1__a.sql", b"1"),
            ("later/V3__c.sql", b"3"),
            ("postgres/V2__b.sql", b"p"),
            ("mysql/V2__b.sql", b"m"),
            ("mariadb/R__r.sql", b"r"),
            (".git/V9__x.sql", b""),
            ("README.md", b""),
        ];
        let scripts = load(files, POSTGRES).unwrap();
        let named: Vec<_> = scripts.versioned.values().map(|s| s.script.as_str()).collect();
        assert_eq!(named, ["V1__a.sql", "V2__b.sql", "later/V3__c.sql"]);
        assert_eq!(&*scripts.versioned[&Version::parse("2").unwrap()].text, "p");
        let mysql = load(files, For { engine: Engine::MySql, mariadb: false }).unwrap();
        assert_eq!((mysql.versioned.len(), mysql.repeatable.len()), (3, 0));
        let mariadb = load(files, For { engine: Engine::MySql, mariadb: true }).unwrap();
        assert_eq!((mariadb.versioned.len(), mariadb.repeatable.len()), (3, 1));
        assert_eq!(
            load(files, For { engine: Engine::Sqlite, ..POSTGRES }).unwrap().versioned.len(),
            2
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let report = |files: &[(&str, &[u8])]| load(files, POSTGRES).unwrap_err().report();
        let twice = report(&[("V1__a.sql", b""), ("x/V1.0__b.sql", b"")]);
        assert!(twice.contains("V1__a.sql") && twice.contains("V1.0__b.sql"), "{twice}");
        let latin = report(&[("V1__a.sql", b"a\nb\nZ\xfcrich")]);
        assert!(latin.contains("line 3 has the byte 0xfc"), "{latin}");
        assert!(report(&[("V1__a.sql", b"\xff\xfea\0")]).contains("UTF-16"));
        assert!(report(&[("V2_b.sql", b"")]).contains("rename it to V2__b.sql"));
        assert!(report(&[("V1__a.sql.conf", b"")]).contains("no script beside it"));
        let conf = report(&[("V1__a.sql", b""), ("V1__a.sql.conf", b"x=1")]);
        assert!(conf.contains("V1__a.sql.conf: line 1"), "{conf}");
        let none = Migrations::new().folder("/nowhere/at/all").load(POSTGRES).unwrap_err();
        assert!(none.report().contains("/nowhere/at/all"));
    }
}
