//! What the command-line clients understand beyond SQL, as far as files for them hold it: psql's
//! backslash commands and data lines, MySQL's `DELIMITER` and comments that run, SQLite's dot
//! commands. It only reads them; nothing of it is run.

use std::ops::Range;

use super::blocks::{is, one_of};

/// The word that a line with a new delimiter begins with.
pub(super) const DELIMITER: &str = "DELIMITER";

/// Settings of psql that change only what it prints, or that a migration has anyway.
const VARIABLES: &[&str] = &[
    "COMP_KEYWORD_CASE",
    "ECHO",
    "ECHO_HIDDEN",
    "FETCH_COUNT",
    "HIDE_TABLEAM",
    "HIDE_TOAST_COMPRESSION",
    "HISTCONTROL",
    "HISTFILE",
    "HISTSIZE",
    "ON_ERROR_STOP",
    "PROMPT1",
    "PROMPT2",
    "PROMPT3",
    "QUIET",
    "SHOW_ALL_RESULTS",
    "SHOW_CONTEXT",
    "VERBOSITY",
];

/// The first line of `text`, without its end.
pub(super) fn line(text: &str) -> &str {
    text.find('\n').map_or(text, |end| &text[..end])
}

/// The command that `line` begins with, with its backslash or point.
pub(super) fn command(line: &str) -> &str {
    let ends = |c: char| c.is_whitespace() || c == '\\';
    let end = line.char_indices().skip(1).find(|(_, c)| ends(*c)).map_or(line.len(), |(n, _)| n);
    &line[..end]
}

/// Whether psql's command in `line` can be left out without a change to the database.
pub(super) fn is_harmless(line: &str) -> bool {
    // Two backslashes end a command, and SQL may follow.
    if line.contains(" \\\\") {
        return false;
    }
    let command = command(line);
    let argument = line[command.len()..].split_whitespace().next();
    match command.strip_prefix('\\').unwrap_or(command) {
        "echo" | "qecho" | "warn" | "timing" | "pset" | "x" | "t" | "a" | "f" | "H" | "C" | "T"
        | "conninfo" | "errverbose" | "restrict" | "unrestrict" => true,
        "set" | "unset" => argument.is_none_or(|name| VARIABLES.contains(&name)),
        "encoding" => argument.is_none_or(|name| {
            let name = name.trim_matches(['\'', '"', ';']);
            one_of(name, &["UTF8", "UTF-8", "UNICODE"])
        }),
        _ => false,
    }
}

/// Whether `text`, where a statement should begin, is a command of SQLite's shell.
pub(super) fn is_dot_command(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// The data after a COPY that ends at byte `at`, and where SQL goes on.
pub(super) fn copy_data(sql: &str, at: usize) -> Option<(Range<usize>, usize)> {
    let from = at + sql[at..].find('\n')? + 1;
    let mut next = from;
    for line in sql[from..].split_inclusive('\n') {
        let begins = next;
        next += line.len();
        if line.trim_end_matches(['\r', '\n']) == "\\." {
            return Some((from..begins, next));
        }
    }
    None
}

/// Whether `word` begins a line with a new delimiter; a `$` may be right behind it.
pub(super) fn is_delimiter(word: &str) -> bool {
    let (name, rest) = word.split_at_checked(DELIMITER.len()).unwrap_or((word, ""));
    is(name, DELIMITER) && (rest.is_empty() || rest.starts_with('$'))
}

/// The delimiter that the `rest` of such a line gives, or why there is none.
pub(super) fn delimiter(rest: &str) -> Result<&str, &'static str> {
    let rest = rest.trim();
    let (argument, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let tail = tail.trim_start();
    let unquoted = ['\'', '"', '`']
        .into_iter()
        .find_map(|quote| argument.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(argument);
    if unquoted.is_empty() {
        return Err("it has no argument");
    }
    if unquoted.contains('\\') {
        return Err("a delimiter can't hold a backslash");
    }
    if !tail.is_empty() && !["--", "#", "/*"].iter().any(|comment| tail.starts_with(comment)) {
        return Err("something follows the delimiter, and the client would ignore it");
    }
    Ok(unquoted)
}

/// Whether `text` begins with `delimiter`; one of letters is a whole word.
pub(super) fn begins_with(text: &str, delimiter: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.strip_prefix(delimiter)
        .is_some_and(|rest| !(delimiter.ends_with(letter) && rest.starts_with(letter)))
}

/// Where, inside the token at `range`, a delimiter begins that the lexer takes for a part of it:
/// only what begins with neither letter nor digit may end a word without a space.
pub(super) fn cut(sql: &str, range: &Range<usize>, delimiter: &str) -> Option<usize> {
    let first = delimiter.chars().next().filter(|c| *c == '$' || !c.is_ascii())?;
    let token = &sql[range.clone()];
    // Strings and quoted names end where their quotes do.
    if token.starts_with(['\'', '"', '`']) {
        return None;
    }
    let mut found = token.match_indices(first).map(|(n, _)| range.start + n);
    found.find(|at| *at > range.start && begins_with(&sql[*at..], delimiter))
}

/// How much of a comment that MySQL runs comes before its SQL; none where no server runs it.
pub(super) fn executable_opening(comment: &str) -> Option<usize> {
    let mark = if comment.starts_with("/*!") { 3 } else { 4 };
    let digits = comment.bytes().skip(mark).take_while(|c| c.is_ascii_digit()).count();
    // MariaDB's dumps begin with one for a version that never comes, meant for the client.
    (&comment[mark..mark + digits] != "999999").then_some(mark + digits)
}
