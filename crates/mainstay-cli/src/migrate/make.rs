//! `mainstay migrate new`: an empty file with the right name.

use std::path::{Path, PathBuf};

use clap::Args;
use mainstay_core::{Code, Error, Result};
use mainstay_migrate::Version;

use super::setting::Setting;

/// A migration to be made.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// What it does, in some words: `add users`
    name: String,
    /// Its version [default: the next number, or the time where versions are times]
    #[arg(long)]
    version: Option<String>,
    /// Also makes the file that takes it back
    #[arg(long)]
    undo: bool,
    /// Makes one that runs whenever it has changed
    #[arg(long, conflicts_with_all = ["version", "undo"])]
    repeatable: bool,
    /// Puts it into the folder of one engine: sqlite, postgres, mysql or mariadb
    #[arg(long, value_parser = ["sqlite", "postgres", "mysql", "mariadb"])]
    engine: Option<String>,
}

/// Makes the files, and prints their names. Errors: APP-003, MIG-001.
pub(crate) fn run(new: &New, setting: &Setting) -> Result<()> {
    let words: Vec<_> = new
        .name
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let name = words.join("_");
    if name.is_empty() {
        return Err(Error::new(Code::Argument, format!("`{}` is no name", new.name)));
    }
    let first = setting.options.dir.first().map_or("migrations", String::as_str);
    let folder = match &new.engine {
        Some(engine) => Path::new(first).join(engine),
        None => PathBuf::from(first),
    };
    std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, e))?;
    if new.repeatable {
        return write(&folder.join(format!("R__{name}.sql")), &new.name);
    }
    let version = match &new.version {
        Some(version) if Version::parse(version).is_some() => version.clone(),
        Some(version) => {
            return Err(Error::new(Code::Argument, format!("`{version}` is no version")));
        }
        None => setting.migrations().next_version()?,
    };
    write(&folder.join(format!("V{version}__{name}.sql")), &new.name)?;
    if new.undo {
        write(&folder.join(format!("U{version}__{name}.sql")), &format!("undo: {}", new.name))?;
    }
    Ok(())
}

fn write(path: &Path, title: &str) -> Result<()> {
    use std::io::Write;
    let file = std::fs::File::options().write(true).create_new(true).open(path);
    let text = format!("-- {title}\n");
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| failed(path, e))?;
    println!("{}", path.display());
    Ok(())
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::new(Code::Argument, format!("{} can't be made", path.display())).cause(error)
}
