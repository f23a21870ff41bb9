//! How an engine writes names and plain values.
//!
//! Every name is quoted, so that none can be taken for a keyword; a name that Liquibase would leave
//! unquoted is first brought into the case that the engine would give it.

use mainstay_db::Engine;

use super::reserved;
use crate::liquibase::filter::Target;
use crate::liquibase::model::{Defined, Quoting};

/// The engine, and how a change set's names are quoted.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    pub(super) target: Target,
    pub(super) quoting: Quoting,
}

impl Dialect {
    pub(super) fn engine(self) -> Engine {
        self.target.engine
    }

    /// A name, quoted.
    pub(super) fn name(self, name: &str) -> String {
        let name = name.trim();
        match self.engine() {
            Engine::MySql => format!("`{}`", name.replace('`', "``")),
            Engine::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
            Engine::Postgres => {
                let name = if self.folds(name) { name.to_lowercase() } else { name.to_owned() };
                format!("\"{}\"", name.replace('"', "\"\""))
            }
        }
    }

    /// Whether Liquibase leaves the name unquoted, and PostgreSQL so puts it into lower case.
    fn folds(self, name: &str) -> bool {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        let one_case = !name.chars().any(|c| c.is_ascii_lowercase());
        match self.quoting {
            Quoting::All => false,
            Quoting::Legacy => plain && one_case && !reserved::is(name),
            Quoting::Reserved => plain && !reserved::is(name),
        }
    }

    /// Names with commas between them, each quoted.
    pub(super) fn names(self, list: &str) -> String {
        let names = list.split(',').map(str::trim).filter(|n| !n.is_empty());
        names.map(|n| self.name(n)).collect::<Vec<_>>().join(", ")
    }

    /// A name with its schema, if there is one.
    pub(super) fn qualified(self, schema: Option<&str>, name: &str) -> String {
        match schema.filter(|s| !s.trim().is_empty()) {
            Some(schema) => format!("{}.{}", self.name(schema), self.name(name)),
            None => self.name(name),
        }
    }

    /// What the field names, in the schema that the change names.
    pub(super) fn object(self, change: &Defined, field: &str) -> String {
        let schema = self.schema(change, "schemaName", "catalogName");
        self.qualified(schema, change.get(field).unwrap_or_default())
    }

    /// The schema: PostgreSQL's schema, or the catalog, which is MySQL's database.
    pub(super) fn schema<'a>(
        self,
        change: &'a Defined,
        schema: &str,
        catalog: &str,
    ) -> Option<&'a str> {
        let (schema, catalog) = (change.get(schema), change.get(catalog));
        match self.engine() {
            // A catalog is another database to PostgreSQL, which no statement reaches.
            Engine::Postgres => schema,
            Engine::MySql | Engine::Sqlite => catalog.or(schema),
        }
    }

    /// A text, quoted.
    pub(super) fn text(self, text: &str) -> String {
        let text = text.replace('\'', "''");
        match self.engine() {
            Engine::MySql => format!("'{}'", text.replace('\\', "\\\\")),
            Engine::Sqlite | Engine::Postgres => format!("'{text}'"),
        }
    }

    pub(super) fn boolean(self, value: bool) -> &'static str {
        match (self.engine(), value) {
            (Engine::Postgres, true) => "TRUE",
            (Engine::Postgres, false) => "FALSE",
            (_, true) => "1",
            (_, false) => "0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liquibase::testing::{MYSQL, POSTGRES};

    #[test]
    fn names_have_the_case_that_liquibase_gives_them() {
        let legacy = Dialect { target: POSTGRES, quoting: Quoting::Legacy };
        let names = ["ORDER", "ID", "Id", "my-col", "A B", "A_1", "name", "a\"b"];
        let quoted = names.map(|n| legacy.name(n));
        let want = [
            "\"ORDER\"",
            "\"id\"",
            "\"Id\"",
            "\"my-col\"",
            "\"A B\"",
            "\"a_1\"",
            "\"name\"",
            "\"a\"\"b\"",
        ];
        assert_eq!(quoted, want);
        let all = Dialect { quoting: Quoting::All, ..legacy };
        assert_eq!(all.names("ID, Name"), "\"ID\", \"Name\"");
        let reserved = Dialect { quoting: Quoting::Reserved, ..legacy };
        assert_eq!(reserved.names("Id,ORDER"), "\"id\", \"ORDER\"");
        let mysql = Dialect { target: MYSQL, ..legacy };
        assert_eq!((mysql.name("ID"), mysql.text("a\\'b")), ("`ID`".into(), "'a\\\\''b'".into()));
    }
}
