//! The errors of splitting, each with its place in the text. The file's name is the caller's to
//! add.

use mainstay_core::{Code, Error};
use mainstay_db::Engine;
use mainstay_db::lex::Token;

use super::client;
use super::place::Place;

fn at(place: Place, what: &str) -> Error {
    let Place { line, column, .. } = place;
    Error::new(Code::MigrationSplit, format!("line {line}, column {column}: {what}"))
}

/// `rest` begins with a token that goes on to the end of the text.
pub(super) fn unclosed(place: Place, token: Token, rest: &str) -> Error {
    let mark = rest.get(..1).unwrap_or_default();
    let (what, close) = match token {
        Token::Comment | Token::Other => ("comment", "*/"),
        Token::Name => ("quoted name", if mark == "[" { "]" } else { mark }),
        _ if mark == "$" => ("dollar-quoted string", dollars(rest)),
        _ => ("string", if mark == "\"" { mark } else { "'" }),
    };
    at(place, &format!("the {what} that begins here is not closed"))
        .why(format!("no `{close}` that closes it comes before the end of the text"))
        .fix(format!("close it with `{close}`, or look for a quote too many before it"))
}

/// The mark that `rest` begins with, from dollar to dollar.
fn dollars(rest: &str) -> &str {
    rest.match_indices('$').nth(1).map_or(rest, |(end, _)| &rest[..=end])
}

/// `rest` begins with the word that opened a block.
pub(super) fn block(place: Place, rest: &str, engine: Engine) -> Error {
    let word = rest.find(|c: char| !c.is_ascii_alphabetic()).map_or(rest, |end| &rest[..end]);
    let fix = match engine {
        Engine::MySql => {
            "close each block with its END, or put the statement between two DELIMITER lines"
        }
        Engine::Sqlite | Engine::Postgres => {
            "close the body with `END;`, after the semicolon of its last statement"
        }
    };
    at(place, &format!("the {word} block that begins here has no END"))
        .why("its semicolons end nothing before that, so all that follows would belong to it")
        .fix(fix)
}

/// Something other than a comment follows the COPY on its line.
pub(super) fn copy_line(place: Place) -> Error {
    at(place, "more SQL follows COPY ... FROM stdin on its line")
        .why("the lines after it are its data")
        .fix("move what follows below the line `\\.` that ends the data")
}

/// The data of the COPY at `place` go on to the end of the text.
pub(super) fn copy_open(place: Place) -> Error {
    at(place, "the data of COPY ... FROM stdin have no end")
        .why("no line `\\.` comes before the end of the text")
        .fix("write the data below the statement and `\\.` on a line of its own after them")
}

/// A line that only psql understands.
pub(super) fn meta_command(place: Place, line: &str) -> Error {
    let command = client::command(line);
    let fix = match command.strip_prefix('\\').unwrap_or(command) {
        "." => "remove it, or write the COPY ... FROM stdin whose data it should end",
        "i" | "ir" | "include" | "include_relative" => {
            "put that file's statements here, or make it a migration of its own"
        }
        "c" | "connect" => "remove it: a migration runs in the database of its URL",
        "copy" => "write COPY ... FROM stdin; with the data below it and a last line `\\.`",
        "set" | "unset" | "gset" | "prompt" | "getenv" => "write the value where it is used",
        "gexec" => "write out the statements, or run them in a DO block with EXECUTE",
        "g" | "gx" | "gdesc" | "crosstabview" => "end the statement with `;` instead",
        "if" | "elif" | "else" | "endif" => "decide it in a DO block",
        "q" | "quit" => "remove it, and what comes after it",
        "encoding" => "store the file as UTF-8",
        _ => "remove it, or do in SQL what it does",
    };
    at(place, &format!("`{command}` is a command of psql and can't be run here"))
        .why("statements go to the server directly, and it does not know psql's commands")
        .fix(fix)
}

/// `rest` begins with a command that only SQLite's shell understands.
pub(super) fn dot_command(place: Place, rest: &str) -> Error {
    let command = client::command(client::line(rest));
    let fix = match command {
        ".read" => "put that file's statements here, or make it a migration of its own",
        ".import" => "write INSERT statements",
        _ => "remove it, or do in SQL what it does",
    };
    at(place, &format!("`{command}` is a command of SQLite's shell and can't be run here"))
        .why("statements go to SQLite directly, and it does not know its shell's commands")
        .fix(fix)
}

/// A DELIMITER that gives none.
pub(super) fn delimiter(place: Place, why: &'static str) -> Error {
    at(place, "this DELIMITER line can't be followed")
        .why(why)
        .fix("write the delimiter and nothing else, as in `DELIMITER //`, and later `DELIMITER ;`")
}
