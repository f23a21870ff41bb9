//! `mainstay migrate takeover`: goes on where another tool stopped.

use std::path::{Path, PathBuf};

use clap::Args;
use mainstay_core::Result;
use mainstay_migrate::{Migrator, Tool, Version};

use super::setting::Setting;
use super::show;

/// Whose history, and where its files are.
#[derive(Debug, Args)]
pub(crate) struct Takeover {
    /// Whose: flyway, liquibase, refinery, sqlx or diesel [default: found out]
    #[arg(long, value_name = "TOOL", value_parser = tool)]
    from: Option<Tool>,
    /// The tool's table, if it is not called as usual
    #[arg(long, value_name = "TABLE")]
    from_table: Option<String>,
    /// The folder with the tool's own files
    #[arg(long, value_name = "DIR")]
    from_dir: Option<PathBuf>,
    /// Writes them there under our names
    #[arg(long, value_name = "DIR", requires = "from_dir")]
    write: Option<PathBuf>,
    /// Of Liquibase: the version that the database is taken for
    #[arg(long, value_name = "VERSION", value_parser = super::version)]
    baseline: Option<Version>,
}

fn tool(text: &str) -> Result<Tool, String> {
    Tool::parse(text).ok_or_else(|| {
        let all: Vec<_> = Tool::ALL.into_iter().map(Tool::as_str).collect();
        format!("`{text}` is none of {}", all.join(", "))
    })
}

/// Takes the history over, and prints what was done. Errors: those of
/// [`takeover`](Migrator::takeover).
pub(crate) async fn run(
    migrator: &Migrator,
    takeover: Takeover,
    setting: &Setting,
    json: bool,
) -> Result<()> {
    let how = mainstay_migrate::Takeover {
        tool: takeover.from,
        table: takeover.from_table,
        from: takeover.from_dir,
        write: takeover.write,
        baseline: takeover.baseline,
    };
    let done = migrator.takeover(&how).await?;
    if json {
        return show::as_json(&done);
    }
    for file in &done.files {
        println!("wrote {file}");
    }
    match done.rows.len() {
        0 => println!("nothing to do: the history has all of {} ({})", done.table, done.tool),
        1 => println!("1 migration taken over from {} ({})", done.table, done.tool),
        n => println!("{n} migrations taken over from {} ({})", done.table, done.tool),
    }
    if let Some(folder) = &how.write
        && !setting.options.dir.iter().any(|dir| Path::new(dir) == folder)
    {
        println!("set dir = [\"{}\"] under [migrate] in mainstay.toml", folder.display());
    }
    Ok(())
}
