//! What a statement's words tell before its grammar is asked: what it begins with, and what locks, sets or writes
//! wherever it stands.

use mainstay_db::Engine;
use mainstay_db::lex::Token;

use super::functions;
use super::scan::Piece;

/// What a statement is by its beginning.
#[derive(Debug)]
pub(super) enum Kind<'p, 'a> {
    /// A query, for the parser.
    Query(&'p [Piece<'a>]),
    /// It reads, for this reason, and there is nothing to parse.
    Reads(&'static str),
}

/// Statements for the primary, by their first word.
const OTHERS: &[(&str, &[&str])] = &[
    (
        "writes",
        &["INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY", "LOAD", "IMPORT", "TRUNCATE"],
    ),
    (
        "changes the schema or rights",
        &[
            "CREATE", "ALTER", "DROP", "RENAME", "COMMENT", "GRANT", "REVOKE", "REINDEX",
            "CLUSTER", "REFRESH", "SECURITY", "REASSIGN",
        ],
    ),
    (
        "is a part of a transaction",
        &["BEGIN", "START", "COMMIT", "END", "ABORT", "ROLLBACK", "SAVEPOINT", "RELEASE", "XA"],
    ),
    (
        "belongs to a session",
        &[
            "SET",
            "RESET",
            "DISCARD",
            "USE",
            "PREPARE",
            "EXECUTE",
            "DEALLOCATE",
            "DECLARE",
            "FETCH",
            "MOVE",
            "OPEN",
            "CLOSE",
            "HANDLER",
            "LISTEN",
            "UNLISTEN",
        ],
    ),
    ("sends a message", &["NOTIFY"]),
    ("locks", &["LOCK", "UNLOCK"]),
    ("runs code that may write", &["CALL", "DO"]),
    (
        "works on one server",
        &[
            "VACUUM",
            "ANALYZE",
            "CHECKPOINT",
            "OPTIMIZE",
            "CHECK",
            "REPAIR",
            "CHECKSUM",
            "FLUSH",
            "KILL",
            "PURGE",
            "CHANGE",
            "STOP",
            "SHUTDOWN",
            "INSTALL",
            "UNINSTALL",
            "CACHE",
        ],
    ),
];

/// What MySQL's SHOW reads from the schema, which replicas have too.
const SHOWN: &[&str] = &[
    "TABLES",
    "COLUMNS",
    "FIELDS",
    "INDEX",
    "INDEXES",
    "KEYS",
    "CREATE",
    "DATABASES",
    "SCHEMAS",
    "TRIGGERS",
    "CHARACTER",
    "CHARSET",
    "COLLATION",
];

const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES", "TABLE"];

/// What `pieces` begin with. An error says why they are for the primary.
pub(super) fn kind<'p, 'a>(
    pieces: &'p [Piece<'a>],
    engine: Engine,
) -> Result<Kind<'p, 'a>, String> {
    anywhere(pieces, engine)?;
    let Some(first) = pieces.iter().find(|piece| !piece.is_sign("(")) else {
        return Err("it is not understood".to_owned());
    };
    if first.is_any(QUERIES) {
        return Ok(Kind::Query(pieces));
    }
    if first.is("EXPLAIN") || (engine == Engine::MySql && first.is_any(&["DESCRIBE", "DESC"])) {
        return explained(&pieces[1..], engine);
    }
    if first.is("SHOW") {
        return shown(&pieces[1..], engine);
    }
    match OTHERS.iter().find(|(_, words)| first.is_any(words)) {
        Some((what, _)) => Err(format!("{} {what}", first.text.to_uppercase())),
        None => Err("it is not understood".to_owned()),
    }
}

/// What locks, sets or writes wherever it stands.
fn anywhere(pieces: &[Piece<'_>], engine: Engine) -> Result<(), String> {
    for (at, piece) in pieces.iter().enumerate() {
        let next = pieces.get(at + 1);
        let then = |words: &[&str]| next.is_some_and(|next| next.is_any(words));
        if piece.is("FOR") && then(&["UPDATE", "SHARE", "NO", "KEY"]) {
            return Err(format!("{} locks rows", lock(&pieces[at..])));
        }
        if piece.is("LOCK") && then(&["IN"]) {
            return Err("LOCK IN SHARE MODE locks rows".to_owned());
        }
        if piece.is("INTO") {
            return Err("INTO writes".to_owned());
        }
        match engine {
            Engine::MySql => mysql(piece, next)?,
            // Escapes in a name would hide what is called.
            Engine::Postgres | Engine::Sqlite => {
                let named = pieces.get(at + 2).is_some_and(|name| name.token == Token::Name);
                if piece.is("U") && named && next.is_some_and(|next| next.is_sign("&")) {
                    return Err("U& hides what is named".to_owned());
                }
            }
        }
    }
    Ok(())
}

fn mysql(piece: &Piece<'_>, next: Option<&Piece<'_>>) -> Result<(), String> {
    if piece.is_sign("@") {
        return Err("@ names a variable of a session or of one server".to_owned());
    }
    if piece.is_sign(":") && next.is_some_and(|next| next.is_sign("=")) {
        return Err(":= sets a variable".to_owned());
    }
    if piece.is_any(&["NEXT", "PREVIOUS"]) && next.is_some_and(|next| next.is("VALUE")) {
        return Err("NEXT VALUE and PREVIOUS VALUE are of a sequence and a session".to_owned());
    }
    // In Oracle's mode a sequence's value is written as a column.
    if piece.is_any(&["NEXTVAL", "CURRVAL", "LASTVAL"]) {
        return Err(format!("{} is of a sequence and a session", piece.text));
    }
    if piece.is("SQL_CALC_FOUND_ROWS") {
        return Err("SQL_CALC_FOUND_ROWS belongs to a session".to_owned());
    }
    let called = next.is_some_and(|next| next.is_sign("(") && next.spaced);
    if called && piece.token == Token::Word && functions::minds_space(piece.text) {
        let name = piece.text;
        return Err(format!("{name} with a space before ( may be a function of the schema"));
    }
    Ok(())
}

/// FOR UPDATE and its like, as far as it has words.
fn lock(pieces: &[Piece<'_>]) -> String {
    let strength = ["FOR", "NO", "KEY", "UPDATE", "SHARE"];
    let words = pieces.iter().take(4).take_while(|piece| piece.is_any(&strength));
    words.map(|piece| piece.text.to_uppercase()).collect::<Vec<_>>().join(" ")
}

/// EXPLAIN goes where what it explains would go: with ANALYZE it is run, and the plan is of that server.
fn explained<'p, 'a>(pieces: &'p [Piece<'a>], engine: Engine) -> Result<Kind<'p, 'a>, String> {
    let mut rest = pieces;
    let options = ["ANALYZE", "VERBOSE", "EXTENDED", "PARTITIONS", "FORMAT"];
    while let Some((first, after)) = rest.split_first() {
        rest = if first.is("FORMAT") && after.first().is_some_and(|next| next.is_sign("=")) {
            after.get(2..).unwrap_or_default()
        } else if first.is_any(&options) {
            after
        } else if engine == Engine::Postgres
            && first.is_sign("(")
            && after.first().is_some_and(|next| !next.is_sign("(") && !next.is_any(QUERIES))
        {
            let end = after.iter().position(|piece| piece.is_sign(")"));
            end.and_then(|end| after.get(end + 1..)).unwrap_or_default()
        } else {
            break;
        };
    }
    let Some(first) = rest.iter().find(|piece| !piece.is_sign("(")) else {
        return Err("it is not understood".to_owned());
    };
    if first.is_any(QUERIES) {
        return Ok(Kind::Query(rest));
    }
    let named = |piece: &Piece<'_>| {
        matches!(piece.token, Token::Word | Token::Name | Token::String) || piece.is_sign(".")
    };
    let table = engine == Engine::MySql && !first.is("FOR") && rest.len() <= 4;
    if table && rest.len() == pieces.len() && rest.iter().all(named) && other(first).is_none() {
        return Ok(Kind::Reads("it describes a table"));
    }
    match other(first) {
        Some(what) => Err(format!("what it explains is no read: {what}")),
        None => Err("it is not understood".to_owned()),
    }
}

fn other(first: &Piece<'_>) -> Option<String> {
    let (what, _) = OTHERS.iter().find(|(_, words)| first.is_any(words))?;
    Some(format!("{} {what}", first.text.to_uppercase()))
}

fn shown<'p, 'a>(pieces: &'p [Piece<'a>], engine: Engine) -> Result<Kind<'p, 'a>, String> {
    let first = pieces.iter().find(|piece| !piece.is_any(&["EXTENDED", "FULL"]));
    let calls = pieces.iter().any(|piece| piece.is_sign("("));
    match first {
        Some(first) if engine == Engine::MySql && first.is_any(SHOWN) && !calls => {
            Ok(Kind::Reads("it shows the schema"))
        }
        _ => Err("SHOW tells of one server or session".to_owned()),
    }
}
