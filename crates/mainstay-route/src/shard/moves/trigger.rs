//! The SQL of the triggers that log what is written while a logical shard moves, and keep its keys shut once it has.
//!
//! They read the fence as it is now. Where its row is gone, the move is over and they are what is left of it: the write
//! passes. PostgreSQL's can't tell that from a snapshot of before the move, where a transaction keeps one: there it is a
//! conflict, after which a new snapshot is taken.

use super::capture::{FENCE, LOCK_CLASS, LOG};
use super::column::{Category, Column};
use super::side::Side;
use super::which::Which;

/// What values are written as texts by, whoever writes: as [`Side::begin`] reads them.
const SETTINGS: &str = " SET datestyle = 'ISO' SET timezone = 'UTC' SET intervalstyle = 'postgres' \
    SET bytea_output = 'hex' SET extra_float_digits = 1";

impl Side {
    fn trigger(&self, table: usize) -> String {
        format!("{}{}_{table}", super::look::OWN, self.id())
    }

    /// PostgreSQL's function and triggers of a table, as statements.
    pub(super) fn postgres_made(&self, table: usize, which: &Which) -> String {
        let of = &self.tables[table];
        let name = self.trigger(table);
        let function = format!("{}.{}", self.schema, self.d.name(&name));
        let body = self.postgres_body(table, which);
        let tag = tag(&body);
        // Numbers, texts and UUIDs are written alike whatever the session says; setting it costs each row.
        let plain = of.pk_columns().all(|column| column.category() != Category::Other);
        let settings = if plain { "" } else { SETTINGS };
        let (full, rows) = (&of.full, self.d.name(&name));
        // By its maker's rights: who writes needs none on our tables. And whoever writes, a replica's session too: the
        // mover itself is told apart within.
        let whole = self.on_each_part(
            table,
            &[
                "DROP TRIGGER IF EXISTS %1$I ON %2$s",
                "CREATE TRIGGER %1$I BEFORE TRUNCATE ON %2$s FOR EACH STATEMENT EXECUTE FUNCTION %3$s()",
                "ALTER TABLE %2$s ENABLE ALWAYS TRIGGER %1$I",
            ],
        );
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
             SET search_path = pg_catalog, pg_temp{settings} AS {tag}\n{body}\n{tag}; \
             DROP TRIGGER IF EXISTS {rows} ON {full}; \
             CREATE TRIGGER {rows} AFTER INSERT OR UPDATE OR DELETE ON {full} FOR EACH ROW EXECUTE FUNCTION {function}(); \
             ALTER TABLE {full} ENABLE ALWAYS TRIGGER {rows}; {whole}"
        )
    }

    /// Statements that take them away.
    pub(super) fn postgres_gone(&self, table: usize) -> String {
        let name = self.trigger(table);
        let (full, rows) = (&self.tables[table].full, self.d.name(&name));
        let whole = self.on_each_part(table, &["DROP TRIGGER IF EXISTS %1$I ON %2$s"]);
        format!(
            "DROP TRIGGER IF EXISTS {rows} ON {full}; {whole}; DROP FUNCTION IF EXISTS {}.{rows}()",
            self.schema
        )
    }

    /// Runs statements on a table and on each of its partitions, since a trigger of TRUNCATE is that of one relation
    /// alone. In them `%1$I` is the trigger, `%2$s` the relation, `%3$s` the function.
    fn on_each_part(&self, table: usize, statements: &[&str]) -> String {
        let name = self.trigger(table);
        let function = format!("{}.{}", self.schema, self.d.name(&name));
        let [full, whole, function] =
            [&self.tables[table].full, &format!("{name}_all"), &function].map(|text| literal(text));
        let all: Vec<String> = (statements.iter())
            .map(|sql| format!("EXECUTE format('{sql}', {whole}, part, {function});"))
            .collect();
        let body = format!(
            "DECLARE part regclass; BEGIN FOR part IN SELECT {full}::regclass \
             UNION SELECT c.oid::regclass FROM pg_partition_tree({full}::regclass) t \
             JOIN pg_class c ON c.oid = t.relid WHERE c.relkind IN ('r', 'p') LOOP {} END LOOP; END",
            all.join(" ")
        );
        let tag = tag(&body);
        format!("DO {tag} {body} {tag}")
    }

    fn postgres_body(&self, table: usize, which: &Which) -> String {
        let of = &self.tables[table];
        let (fence, id) = (self.own(FENCE), self.id());
        let which_of = |row: &str| which.sql(self.d, &of.keys, row, &self.schema);
        // Byte by byte: a collation may take different keys for the same.
        let bytes = |key: &Column, row: &str| match key.category() {
            Category::Text => self.d.bytes_of(&key.text(self.d, row)),
            _ => key.raw(self.d, row),
        };
        let keys = |row: &str| {
            let all: Vec<String> = of.keys.iter().map(|key| bytes(key, row)).collect();
            format!("ROW({})", all.join(", "))
        };
        format!(
            "DECLARE
    v_moved boolean;
    v_old boolean := false;
    v_new boolean := false;
    v_now boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
BEGIN
    IF current_setting('mainstay.mover', true) = '{id}' THEN RETURN NULL; END IF;
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'a logical shard of this table is being moved: it can''t be truncated';
    END IF;
    IF TG_OP <> 'INSERT' THEN v_old := COALESCE({old}, false); END IF;
    IF TG_OP = 'INSERT' THEN
        v_new := COALESCE({new}, false);
    ELSIF TG_OP = 'UPDATE' THEN
        IF {new_key} IS NOT DISTINCT FROM {old_key} THEN
            v_new := v_old;
        ELSE
            v_new := COALESCE({new}, false);
        END IF;
    END IF;
    IF NOT (v_old OR v_new) THEN RETURN NULL; END IF;
    PERFORM pg_advisory_xact_lock_shared({LOCK_CLASS}, {logical});
    IF v_now THEN
        SELECT f.moved INTO v_moved FROM {fence} f WHERE f.move = '{id}';
    ELSE
        SELECT f.moved INTO v_moved FROM {fence} f WHERE f.move = '{id}' FOR SHARE;
    END IF;
    IF v_moved IS NULL AND v_now THEN RETURN NULL; END IF;
    IF v_moved IS NULL THEN
        RAISE EXCEPTION 'the move of logical shard {logical} began after this transaction' USING ERRCODE = '40001';
    END IF;
    IF v_moved THEN
        RAISE EXCEPTION 'logical shard {logical} has moved to another shard' USING ERRCODE = 'MS026';
    END IF;
{notes}
    RETURN NULL;
END",
            logical = which.logical,
            old = which_of("OLD"),
            new = which_of("NEW"),
            old_key = keys("OLD"),
            new_key = keys("NEW"),
            notes = self.postgres_notes(table),
        )
    }

    /// The entries of the log for a row that was changed.
    fn postgres_notes(&self, table: usize) -> String {
        let of = &self.tables[table];
        let [old, new] = ["OLD", "NEW"].map(|row| self.d.json_array(&of.pk_texts(self.d, row)));
        let log = self.own(LOG);
        let note = |pk: &str| {
            format!("INSERT INTO {log} (move, tbl, pk) VALUES ('{}', {table}, {pk});", self.id())
        };
        format!(
            "    IF v_old THEN
        {note_old}
    END IF;
    IF v_new AND NOT v_old THEN
        {note_new}
    ELSIF v_new THEN
        IF {} <> {} THEN
            {note_new}
        END IF;
    END IF;",
            self.d.bytes_of(&new),
            self.d.bytes_of(&old),
            note_old = note(&old),
            note_new = note(&new),
        )
    }

    /// MariaDB's triggers of a table, each a statement.
    pub(super) fn mariadb_made(&self, table: usize, which: &Which) -> Vec<String> {
        let of = &self.tables[table];
        let log = self.own(LOG);
        let id = self.id();
        let [old, new] = ["OLD", "NEW"].map(|row| {
            format!("COALESCE({}, FALSE)", which.sql(self.d, &of.keys, row, &self.schema))
        });
        let [old_pk, new_pk] =
            ["OLD", "NEW"].map(|row| self.d.json_array(&of.pk_texts(self.d, row)));
        let note =
            |pk: &str| format!("INSERT INTO {log} (move, tbl, pk) VALUES ('{id}', {table}, {pk});");
        let note_old = format!("IF v_old THEN {} END IF;", note(&old_pk));
        // Byte by byte: by its collation, a text in other cases would be the same.
        let note_new = format!(
            "IF v_new AND NOT (v_old AND {} = {}) THEN {} END IF;",
            self.d.bytes_of(&old_pk),
            self.d.bytes_of(&new_pk),
            note(&new_pk)
        );
        let only_new = format!("IF v_new THEN {} END IF;", note(&new_pk));
        vec![
            self.mariadb_one(table, which, ("i", "INSERT"), ["FALSE", &new], &only_new),
            self.mariadb_one(
                table,
                which,
                ("u", "UPDATE"),
                [&old, &new],
                &format!("{note_old} {note_new}"),
            ),
            self.mariadb_one(table, which, ("d", "DELETE"), [&old, "FALSE"], &note_old),
        ]
    }

    fn mariadb_one(
        &self,
        table: usize,
        which: &Which,
        (kind, event): (&str, &str),
        [old, new]: [&str; 2],
        notes: &str,
    ) -> String {
        let name = self.d.name(&format!("{}_{kind}", self.trigger(table)));
        let (fence, id) = (self.own(FENCE), self.id());
        format!(
            "CREATE OR REPLACE TRIGGER {name} AFTER {event} ON {} FOR EACH ROW
BEGIN
    DECLARE v_moved BOOLEAN DEFAULT NULL;
    DECLARE v_old BOOLEAN DEFAULT FALSE;
    DECLARE v_new BOOLEAN DEFAULT FALSE;
    IF NOT (COALESCE(@mainstay_mover, '') = '{id}') THEN
        SET v_old = {old};
        SET v_new = {new};
    END IF;
    IF v_old OR v_new THEN
        SELECT moved INTO v_moved FROM {fence} WHERE move = '{id}' LOCK IN SHARE MODE;
        IF v_moved THEN
            SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31026, MESSAGE_TEXT = 'logical shard {} has moved to another shard';
        END IF;
        IF v_moved IS NOT NULL THEN
            {notes}
        END IF;
    END IF;
END",
            self.tables[table].full, which.logical
        )
    }

    /// Statements that take them away.
    pub(super) fn mariadb_gone(&self, table: usize) -> Vec<String> {
        let name = self.trigger(table);
        let drop = |kind| {
            let trigger = self.d.name(&format!("{name}_{kind}"));
            format!("DROP TRIGGER IF EXISTS {}.{trigger}", self.schema)
        };
        ["i", "u", "d"].map(drop).to_vec()
    }
}

/// What a body can be quoted between. No text holds more tags than it has letters.
fn tag(body: &str) -> String {
    let mut all = (0..=body.len()).map(|n| format!("$mainstay_{n}$"));
    all.find(|tag| !body.contains(tag.as_str())).unwrap_or_default()
}

/// A text as PostgreSQL's literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
