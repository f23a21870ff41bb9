//! What the tests of changelogs share: files in memory, and the options of a run.

use std::collections::BTreeMap;

use mainstay_core::Result;
use mainstay_db::Engine;

use super::{ChangeLog, Options, Source, Target};

/// Files by their paths.
#[derive(Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, String>);

impl Files {
    pub(crate) fn with(mut self, path: &str, text: impl Into<String>) -> Self {
        self.0.insert(path.to_owned(), text.into());
        self
    }

    /// The changelog that begins with `root`, on SQLite.
    pub(crate) fn load(&self, root: &str) -> Result<ChangeLog> {
        super::load(root, self, &Options::for_tests())
    }
}

impl Source for Files {
    fn read(&self, path: &str) -> Result<Option<String>> {
        Ok(self.0.get(path).cloned())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let inside = format!("{folder}/");
        Ok(self.0.keys().filter(|path| path.starts_with(&inside)).cloned().collect())
    }
}

pub(crate) const SQLITE: Target = Target { engine: Engine::Sqlite, mariadb: false };
pub(crate) const POSTGRES: Target = Target { engine: Engine::Postgres, mariadb: false };
pub(crate) const MARIADB: Target = Target { engine: Engine::MySql, mariadb: true };
pub(crate) const MYSQL: Target = Target { engine: Engine::MySql, mariadb: false };

impl Options {
    pub(crate) fn for_tests() -> Self {
        Self::new(SQLITE)
    }
}
