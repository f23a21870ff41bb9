//! Functions that the user says only read. What the engines' own do is in `functions`, and is not changed here.

use std::collections::HashSet;

use mainstay_db::Engine;

use super::functions;

/// By name, with or without its schema, as the engine keeps names.
#[derive(Clone, Debug, Default)]
pub(super) struct Safe(HashSet<String>);

impl Safe {
    pub(super) fn add(&mut self, names: impl Iterator<Item = String>, engine: Engine) {
        let own = |name: &String| !functions::is_known(name, engine);
        self.0.extend(
            names
                .map(|name| match engine {
                    Engine::MySql => name.to_ascii_lowercase(),
                    _ => name,
                })
                .filter(own),
        );
    }

    pub(super) fn has(&self, parts: &[String]) -> bool {
        // Most have none, and a name need not be put together for them.
        !self.0.is_empty() && self.0.contains(&parts.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Classifier, Where};
    use super::*;

    #[test]
    fn what_is_said_to_be_safe_is_and_nothing_else() {
        let names = ["tax_of", "billing.rate", "Odd", "nextval", "lo_export", "pg_notify"];
        let postgres = Classifier::builder(Engine::Postgres).safe_functions(names).build();
        for (sql, to) in [
            ("SELECT tax_of(1)", Where::Replica),
            ("SELECT TAX_OF(cents) FROM orders WHERE tax_of(cents) > 3", Where::Replica),
            ("SELECT * FROM billing.rate('x') AS r", Where::Replica),
            ("SELECT rate('x')", Where::Primary),
            ("SELECT \"Odd\"()", Where::Replica),
            ("SELECT Odd()", Where::Primary),
            ("SELECT tax_of(nextval('s'))", Where::Primary),
            ("SELECT tax_of(other())", Where::Primary),
            ("SELECT nextval('s')", Where::Primary),
            ("SELECT lo_export(1, 'x')", Where::Primary),
            ("SELECT pg_notify('a', 'b')", Where::Primary),
            ("SELECT tax_of(1) FROM orders FOR UPDATE", Where::Primary),
            ("SELECT other.tax_of(1)", Where::Primary),
        ] {
            assert_eq!(postgres.of(sql), to, "{sql}");
        }
        let mysql = Classifier::builder(Engine::MySql).safe_functions(["Tax_Of", "sleep"]).build();
        assert_eq!(mysql.of("SELECT tax_of(1)"), Where::Replica);
        assert_eq!(mysql.of("SELECT shop.tax_of(1)"), Where::Primary);
        assert_eq!(mysql.of("SELECT sleep(1)"), Where::Primary);
    }
}
