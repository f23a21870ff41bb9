//! An index that does not exist yet: what it is on, its name, and the statement that makes it.

use mainstay_db::Engine;
use serde::Serialize;

use super::table::Table;

/// Names longer than this are cut by PostgreSQL; MySQL takes one more.
const NAME_MAX: usize = 63;

/// What is indexed: a column, or an expression over columns of the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Term {
    Column(String),
    Expression { sql: String, columns: Vec<String> },
}

impl Term {
    pub(crate) fn columns(&self) -> &[String] {
        match self {
            Term::Column(name) => std::slice::from_ref(name),
            Term::Expression { columns, .. } => columns,
        }
    }

    pub(crate) fn sql(&self, engine: Engine) -> String {
        match self {
            Term::Column(name) => quote(engine, name),
            Term::Expression { sql, .. } => format!("({sql})"),
        }
    }
}

/// A part of the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) term: Term,
    pub(crate) descending: bool,
    /// Where it is said, and not what the direction implies.
    pub(crate) nulls_first: Option<bool>,
    pub(crate) class: Option<&'static str>,
}

impl Key {
    pub(crate) fn of(term: Term) -> Self {
        Self { term, descending: false, nulls_first: None, class: None }
    }

    fn sql(&self, engine: Engine) -> String {
        let mut sql = self.term.sql(engine);
        if let Some(class) = self.class {
            sql += &format!(" {class}");
        }
        if self.descending {
            sql += " DESC";
        }
        if engine == Engine::Postgres
            && let Some(first) = self.nulls_first.filter(|first| *first != self.descending)
        {
            sql += if first { " NULLS FIRST" } else { " NULLS LAST" };
        }
        sql
    }
}

/// How it is organised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// In order.
    #[default]
    Btree,
    /// By the parts of each value: JSON, arrays, words.
    Gin,
}

/// A condition that rows must meet to be in the index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Predicate {
    pub(crate) sql: String,
    pub(crate) columns: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Index {
    /// Which of the tables that were looked at.
    pub(crate) table: usize,
    pub(crate) method: Method,
    pub(crate) keys: Vec<Key>,
    /// How many of the first keys are compared by =, so that their order is free.
    pub(crate) equal: usize,
    pub(crate) include: Vec<String>,
    pub(crate) predicate: Option<Predicate>,
}

impl Index {
    pub(crate) fn btree(table: usize, keys: Vec<Key>, equal: usize) -> Self {
        Self { table, method: Method::Btree, keys, equal, include: Vec::new(), predicate: None }
    }

    /// What it costs to have, to compare candidates by: a narrow one first, and rather a part than all rows.
    pub(crate) fn weight(&self) -> usize {
        let base = self.keys.len() * 10 + self.include.len() * 6;
        base.saturating_sub(if self.predicate.is_some() { 5 } else { 0 })
    }

    /// Whether they differ in no more than how they are counted.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Self { equal: 0, ..self.clone() } == Self { equal: 0, ..other.clone() }
    }

    /// `idx_TABLE_COLUMNS`, cut where the engine would.
    pub(crate) fn name(&self, table: &Table) -> String {
        let mut name = format!("idx_{}", table.name);
        for key in &self.keys {
            name += "_";
            match &key.term {
                Term::Column(column) => name += column,
                Term::Expression { sql, .. } => name += &word(sql),
            }
        }
        if let Some(predicate) = &self.predicate {
            name += &format!("_where_{}", word(&predicate.sql));
        }
        if !self.include.is_empty() {
            name += "_covering";
        }
        shortened(&name)
    }

    /// What follows `ON`.
    pub(crate) fn target(&self, table: &Table, engine: Engine) -> String {
        let keys: Vec<_> = self.keys.iter().map(|key| key.sql(engine)).collect();
        let method = if self.method == Method::Gin { " USING gin" } else { "" };
        let mut sql = format!("{}{method} ({})", qualified(table, engine), keys.join(", "));
        if !self.include.is_empty() {
            let include: Vec<_> = self.include.iter().map(|name| quote(engine, name)).collect();
            sql += &format!(" INCLUDE ({})", include.join(", "));
        }
        if let Some(predicate) = &self.predicate {
            sql += &format!(" WHERE {}", predicate.sql);
        }
        sql
    }

    /// The statement that a migration has, with the index's name.
    pub(crate) fn ddl(&self, name: &str, table: &Table, engine: Engine) -> String {
        let concurrently = if engine == Engine::Postgres { " CONCURRENTLY" } else { "" };
        let name = quote(engine, name);
        format!("CREATE INDEX{concurrently} {name} ON {}", self.target(table, engine))
    }
}

/// `schema.table`, the schema left out where it is the one that is meant anyway.
pub(crate) fn qualified(table: &Table, engine: Engine) -> String {
    let usual = match engine {
        Engine::Postgres => table.schema == "public",
        Engine::Sqlite | Engine::MySql => true,
    };
    let name = quote(engine, &table.name);
    if usual { name } else { format!("{}.{name}", quote(engine, &table.schema)) }
}

/// `name` as an identifier: quoted only where it must be.
pub(crate) fn quote(engine: Engine, name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !is_reserved(name) { name.to_owned() } else { engine.quote(name) }
}

/// Words that can't name a column or table without quotes, on one of the engines.
fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
}

#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "add", "all", "alter", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
    "authorization", "before", "between", "binary", "both", "by", "call", "cascade", "case",
    "cast", "change", "character", "check", "collate", "collation", "column", "concurrently",
    "condition", "constraint", "continue", "convert", "create", "cross", "current_catalog",
    "current_date", "current_role", "current_schema", "current_time", "current_timestamp",
    "current_user", "database", "databases", "declare", "default", "deferrable", "delayed",
    "delete", "desc", "describe", "distinct", "do", "drop", "each", "else", "end", "escape",
    "except", "exists", "explain", "false", "fetch", "for", "force", "foreign", "freeze", "from",
    "full", "fulltext", "grant", "group", "groups", "having", "if", "ignore", "ilike", "in",
    "index", "initially", "inner", "insert", "intersect", "interval", "into", "is", "isnull",
    "join", "key", "keys", "lag", "lateral", "lead", "leading", "left", "like", "limit", "lines",
    "load", "localtime", "localtimestamp", "lock", "match", "mod", "natural", "not", "notnull",
    "null", "of", "offset", "on", "only", "optimize", "option", "or", "order", "outer", "over",
    "overlaps", "partition", "placing", "primary", "procedure", "range", "rank", "read",
    "references", "regexp", "release", "rename", "repeat", "replace", "require", "restrict",
    "return", "returning", "revoke", "right", "rlike", "row", "rows", "schema", "select",
    "session_user", "set", "show", "similar", "some", "sql", "ssl", "starting", "symmetric",
    "system", "table", "tablesample", "then", "to", "trailing", "trigger", "true", "union",
    "unique", "unlock", "unsigned", "update", "usage", "use", "user", "using", "values",
    "variadic", "verbose", "when", "where", "while", "window", "with", "write", "xor",
];

/// What of an expression can be in a name.
fn word(sql: &str) -> String {
    let mut out = String::new();
    for c in sql.chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out.trim_end_matches('_').to_owned()
}

/// Names that were cut differ by a number made of the whole.
fn shortened(name: &str) -> String {
    if name.len() <= NAME_MAX {
        return name.to_owned();
    }
    // FNV-1a.
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let end = format!("_{hash:08x}");
    let mut cut = NAME_MAX - end.len();
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{end}", &name[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table { schema: "public".into(), name: name.into(), ..Table::default() }
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        let engine = Engine::Postgres;
        assert_eq!(quote(engine, "status"), "status");
        assert_eq!(quote(engine, "order"), "\"order\"");
        assert_eq!(quote(engine, "Größe\"x"), "\"Größe\"\"x\"");
        let key = Key { descending: true, ..Key::of(Term::Column("Ünix".into())) };
        let index = Index::btree(0, vec![key], 0);
        let shop = Table { schema: "Shop".into(), ..table("order") };
        assert_eq!(
            index.ddl(&index.name(&shop), &shop, engine),
            "CREATE INDEX CONCURRENTLY \"idx_order_Ünix\" ON \"Shop\".\"order\" (\"Ünix\" DESC)"
        );
    }

    #[test]
    fn reserved_words_are_in_their_order() {
        assert!(RESERVED.is_sorted() && is_reserved("user") && !is_reserved("items"));
    }

    #[test]
    fn long_names_are_cut_at_a_character_and_stay_different() {
        let long = |end: &str| {
            let key = Key::of(Term::Column(format!("{}{end}", "ü".repeat(60))));
            Index::btree(0, vec![key], 1).name(&table("t"))
        };
        assert!(long("a").len() <= NAME_MAX && long("a") != long("b"));
    }

    #[test]
    fn nulls_are_said_only_where_they_are_not_implied() {
        let key = |descending, nulls_first| {
            Key { descending, nulls_first, ..Key::of(Term::Column("a".into())) }
                .sql(Engine::Postgres)
        };
        assert_eq!(key(true, Some(true)), "a DESC");
        assert_eq!(key(true, Some(false)), "a DESC NULLS LAST");
        assert_eq!(key(false, Some(true)), "a NULLS FIRST");
    }
}
