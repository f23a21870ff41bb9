//! `mainstay migrate split`: how a file is cut into statements.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mainstay_core::Result;
use mainstay_db::Engine;
use serde_json::json;

/// A file to be cut.
#[derive(Debug, Args)]
pub(crate) struct Split {
    /// The file
    file: PathBuf,
    /// By which engine's rules
    #[arg(long)]
    engine: Dialect,
}

/// An engine, by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Dialect {
    Sqlite,
    #[value(alias = "postgresql")]
    Postgres,
    #[value(alias = "mariadb")]
    Mysql,
}

impl Dialect {
    pub(crate) fn engine(self) -> Engine {
        match self {
            Dialect::Sqlite => Engine::Sqlite,
            Dialect::Postgres => Engine::Postgres,
            Dialect::Mysql => Engine::MySql,
        }
    }
}

/// Prints the statements. Errors: MIG-013, with the file's name; APP-003.
pub(crate) fn run(split: &Split, json: bool) -> Result<()> {
    let text = super::read(&split.file)?;
    let path = split.file.display().to_string();
    let statements = mainstay_migrate::split_file(&path, &text, split.engine.engine())?;
    if json {
        let all: Vec<_> = statements
            .iter()
            .map(|s| {
                let mut out = json!({"line": s.line, "column": s.column, "sql": s.text});
                if let Some(data) = &s.copy {
                    out["copy"] = json!(data);
                }
                out
            })
            .collect();
        println!("{}", serde_json::Value::from(all));
        return Ok(());
    }
    for statement in statements {
        let place = format!("{}:{}:{}", split.file.display(), statement.line, statement.column);
        println!("-- {place}\n{};\n", statement.text);
        if let Some(data) = statement.copy {
            print!("{data}\\.\n\n");
        }
    }
    Ok(())
}
