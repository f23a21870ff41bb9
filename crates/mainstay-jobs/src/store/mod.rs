//! What is asked of the database, statement by statement. Three dialects, one meaning.
//!
//! Nothing here decides: what is run next, when again and who is dead is the worker's and the leader's.

pub(crate) mod careful;
pub(crate) mod claim;
pub(crate) mod enqueue;
pub(crate) mod settle;
pub(crate) mod unique;
pub(crate) mod worker;

use mainstay_db::Engine;

/// The text of a statement on each engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sql {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
    pub(crate) mysql: &'static str,
}

impl Sql {
    pub(crate) fn on(self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
            Engine::MySql => self.mysql,
        }
    }
}

/// The database's time in microseconds, as an expression. The machines of a fleet may differ about the
/// time; their database does not differ from itself.
macro_rules! now {
    (sqlite) => {
        "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) * 1000 AS INTEGER)"
    };
    (postgres) => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
    };
    (mysql) => {
        "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"
    };
}
pub(crate) use now;

/// Rows `(id)` of the JSON array of numbers that is bound as the given placeholder.
macro_rules! ids {
    (sqlite, $n:literal) => {
        concat!("(SELECT value AS id FROM json_each(", $n, "))")
    };
    (postgres, $n:literal) => {
        concat!(
            "(SELECT CAST(value AS BIGINT) AS id FROM json_array_elements_text(CAST(",
            $n,
            " AS JSON)))"
        )
    };
    (mysql, $n:literal) => {
        concat!("JSON_TABLE(", $n, ", '$[*]' COLUMNS (id BIGINT PATH '$'))")
    };
}
pub(crate) use ids;

/// A list of numbers as JSON.
pub(crate) fn json(ids: impl IntoIterator<Item = i64>) -> String {
    let mut out = String::from("[");
    for id in ids {
        if out.len() > 1 {
            out.push(',');
        }
        out += &id.to_string();
    }
    out.push(']');
    out
}

/// Takes a list of jobs out of those that run later.
pub(crate) const DELETE_SCHEDULED: Sql = Sql {
    sqlite: concat!("DELETE FROM mainstay_scheduled WHERE id IN ", ids!(sqlite, "$1")),
    postgres: concat!(
        "DELETE FROM mainstay_scheduled WHERE id = ANY(ARRAY",
        ids!(postgres, "$1"),
        ")"
    ),
    mysql: concat!(
        "DELETE s FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_scheduled AS s ON s.id = g.id"
    ),
};

/// Those of a list of jobs that a broker has.
pub(crate) const HANDED: Sql = Sql {
    sqlite: concat!(
        "SELECT h.id FROM ",
        ids!(sqlite, "$1"),
        " AS g JOIN mainstay_handed AS h ON h.id = g.id"
    ),
    postgres: concat!(
        "SELECT h.id FROM ",
        ids!(postgres, "$1"),
        " AS g JOIN mainstay_handed AS h ON h.id = g.id"
    ),
    mysql: concat!(
        "SELECT h.id FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_handed AS h ON h.id = g.id"
    ),
};
