//! Dollar quotes, atomic bodies, rules, COPY with its data, psql's commands.

use mainstay_db::Engine;

use super::{one, refused, split, texts};

const PG: Engine = Engine::Postgres;

#[test]
fn strings_hold_semicolons() {
    for sql in [
        "DO $$ BEGIN PERFORM 1; END $$",
        "DO $body$ BEGIN EXECUTE $$ SELECT 1; $$; END; $body$ LANGUAGE plpgsql",
        "CREATE FUNCTION f(int) RETURNS int AS $f1$ SELECT $1; $f1$ LANGUAGE sql",
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1; SELECT ''; '''",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN a; ''; ''; END;'",
        "SELECT $1, $2",
        "SELECT a$b$c, $$;$$",
        "SELECT e'it\\'s; x', E'\\\\', 'a''b;'",
        "SELECT '\\', ';'",
        "SELECT U&'d\\0061t;', U&\"d;\" UESCAPE '!', b'1', x'1f'",
        "SELECT \"a;\"\"b\"",
        "SELECT 1 /* a; /* b; */ c; */ + 2",
        "SELECT data -> 'a;', '{}'::jsonb ? 'b', a #> '{c}'",
        "SELECT $ü$;$ü$",
        "SELECT name'; ', 1 AS e",
    ] {
        one(sql, PG);
    }
}

#[test]
fn an_atomic_body_is_one_statement() {
    for sql in [
        "CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT 1; SELECT a; END",
        "create or replace procedure p() language sql begin atomic insert into a values (1); end",
        "CREATE FUNCTION f() RETURNS int\nBEGIN /* x */ ATOMIC\n SELECT CASE WHEN a THEN 1 ELSE \
         CASE b WHEN 2 THEN 3 END END FROM c;\n SELECT CASE WHEN 1 THEN 2 END;\nEND",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT t.end, 1 AS end, \"end\" FROM t; END",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT begin atomic FROM t; SELECT 2; END",
        "CREATE PROCEDURE p() BEGIN ATOMIC END",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; BEGIN ATOMIC SELECT 2; END; SELECT 3; END",
        "CREATE FUNCTION f(begin int, atomic int) RETURNS int RETURN begin + atomic",
        "CREATE FUNCTION f() RETURNS int RETURN CASE WHEN true THEN 1 END",
    ] {
        one(sql, PG);
    }
    let sql = "CREATE FUNCTION f() RETURNS int\n BEGIN ATOMIC SELECT 1;";
    assert!(refused(sql, PG).starts_with("line 2, column 2: the BEGIN block"));
}

#[test]
fn parentheses_hold_semicolons() {
    one("CREATE RULE r AS ON INSERT TO a DO ALSO (INSERT INTO b VALUES (1); SELECT 2;)", PG);
    one("CREATE OR REPLACE RULE r AS ON DELETE TO a DO INSTEAD (a; (b; c); d)", PG);
    assert_eq!(texts("SELECT 1); SELECT 2", PG), ["SELECT 1)", "SELECT 2"]);
}

#[test]
fn names_like_keywords_open_nothing() {
    for sql in [
        "CREATE TABLE begin (\"end\" int, atomic int, begin int)",
        "SELECT begin, atomic, t.end, \"case\" FROM begin atomic",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "END AND NO CHAIN",
        "CREATE VIEW v AS SELECT CASE WHEN a THEN b END FROM function",
        "CREATE TABLE copy (stdin int)",
        "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION begin()",
    ] {
        one(sql, PG);
    }
}

#[test]
fn data_follow_a_copy_from_stdin() {
    let sql = "COPY public.a (b, \"c;\") FROM stdin;\n1;\tit's\n$$\t/* \"\n\\N\t\\\\.\n\\.\n\n\
               copy d from STDIN with (format csv);\n\\.\nSELECT 1;\n\
               COPY e FROM /* x */ STDIN WITH (FORMAT csv, DELIMITER ';') ; -- data\n\";\"\n\\.";
    let statements = split(sql, PG).unwrap();
    let copies: Vec<_> =
        statements.iter().map(|s| (s.text.as_str(), s.line, s.copy.as_deref())).collect();
    assert_eq!(
        copies,
        [
            ("COPY public.a (b, \"c;\") FROM stdin", 1, Some("1;\tit's\n$$\t/* \"\n\\N\t\\\\.\n")),
            ("copy d from STDIN with (format csv)", 7, Some("")),
            ("SELECT 1", 9, None),
            ("COPY e FROM /* x */ STDIN WITH (FORMAT csv, DELIMITER ';')", 10, Some("\";\"\n")),
        ]
    );
}

#[test]
fn windows_line_ends_end_data_too() {
    let statements = split("COPY a FROM stdin;\r\n1\r\n2\r\n\\.\r\nSELECT 1;\r\n", PG).unwrap();
    assert_eq!(statements[0].copy.as_deref(), Some("1\r\n2\r\n"));
    assert_eq!((statements[1].text.as_str(), statements[1].line), ("SELECT 1", 5));
}

#[test]
fn no_data_follow_other_copies() {
    for sql in [
        "COPY a TO STDOUT",
        "COPY (SELECT a FROM stdin) TO STDOUT WITH (FORMAT csv)",
        "COPY a FROM '/tmp/stdin'",
        "COPY stdin FROM PROGRAM 'cat; x'",
        "COPY a FROM \"stdin\"",
        "SELECT copy FROM stdin",
    ] {
        one(sql, PG);
        assert_eq!(split(sql, PG).unwrap()[0].copy, None);
    }
}

#[test]
fn data_without_end_are_named_where_the_copy_began() {
    let what = "line 2, column 2: the data of COPY ... FROM stdin have no end";
    for rest in ["", ";", ";\n", ";\n1\n2\n", ";\n1\n \\.\n\\.x\n"] {
        assert_eq!(refused(&format!("\n COPY a FROM stdin{rest}"), PG), what, "{rest:?}");
    }
    let what = refused("COPY a FROM stdin; SELECT 1;\n1\n\\.\n", PG);
    assert!(what.contains("more SQL follows"), "{what}");
}

#[test]
fn psqls_harmless_commands_are_left_out() {
    let sql = "\\restrict abc'\n\\set ON_ERROR_STOP on\n  \\set QUIET 1\n\\timing\n\
               \\pset pager off\n\
               SELECT 1; \\echo it's; done\n\\encoding UTF8\n\\encoding 'utf-8';\nSELECT 2;\n\
               \\qecho\n\\unrestrict abc'";
    assert_eq!(texts(sql, PG), ["SELECT 1", "SELECT 2"]);
}

#[test]
fn psqls_other_commands_are_named() {
    for (sql, command) in [
        ("\\i other.sql", "\\i"),
        ("\\ir other.sql\n", "\\ir"),
        ("\\set x 1\n", "\\set"),
        ("\\c other\n", "\\c"),
        ("\\connect other\r\n", "\\connect"),
        ("SELECT 'SELECT 1'\n\\gexec\n", "\\gexec"),
        ("SELECT 1 \\g\n", "\\g"),
        ("\\encoding LATIN1", "\\encoding"),
        ("\\copy a from 'b.csv'", "\\copy"),
        ("\\! ls", "\\!"),
        ("\\if true\n", "\\if"),
        ("\\.\n", "\\."),
        ("\\echo a \\\\ SELECT 1;", "\\echo"),
        ("SELECT 1\n\\echo a\n;", "\\echo"),
        ("\\\\", "\\"),
    ] {
        let what = refused(sql, PG);
        assert!(what.contains(&format!("`{command}` is a command of psql")), "{sql:?}: {what}");
    }
    assert!(refused("SELECT 1;\n  \\i x", PG).starts_with("line 2, column 3: "));
}
