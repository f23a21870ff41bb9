//! The comments of formatted SQL that are meant for Liquibase: which they are, and the attributes
//! that they carry.

use mainstay_core::Result;

use super::location::Location;
use super::model::ChangeSet;

/// How the SQL of a change set is taken apart.
pub(super) struct Header {
    pub(super) split: bool,
    pub(super) strip_comments: bool,
    pub(super) delimiter: Option<String>,
    pub(super) rollback_split: bool,
    pub(super) rollback_delimiter: Option<String>,
}

const DIRECTIVES: &[&str] = &[
    "changeset",
    "comment",
    "rollback",
    "preconditions",
    "property",
    "validCheckSum",
    "ignoreLines",
];

const ATTRIBUTES: &[&str] = &[
    "stripComments",
    "splitStatements",
    "rollbackSplitStatements",
    "endDelimiter",
    "rollbackEndDelimiter",
    "runOnChange",
    "runAlways",
    "context",
    "contextFilter",
    "logicalFilePath",
    "labels",
    "runInTransaction",
    "dbms",
    "ignore",
    "failOnError",
    "runWith",
    "runWithSpoolFile",
];

/// What follows `expected` at the beginning, after white space, in any case; not within a word.
pub(super) fn word<'a>(text: &'a str, expected: &str) -> Option<&'a str> {
    let text = text.trim_start();
    let start = text.get(..expected.len())?;
    let rest = &text[expected.len()..];
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
    (ends && start.eq_ignore_ascii_case(expected)).then_some(rest)
}

/// What follows `--` and the directive's name.
pub(super) fn directive<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    word(line.trim_start().strip_prefix("--")?, name)
}

/// The name and the rest of a `--precondition-name`.
pub(super) fn precondition(line: &str) -> Option<(&str, &str)> {
    let text = line.trim_start().strip_prefix("--")?.trim_start();
    let label = "precondition-";
    let start = text.get(..label.len())?;
    let rest = start.eq_ignore_ascii_case(label).then(|| &text[label.len()..])?;
    Some(rest.split_once(char::is_whitespace).unwrap_or((rest, "")))
}

/// Whether a line opens a rollback in a comment of several lines.
pub(super) fn opens_rollback(line: &str) -> bool {
    let opens = line.trim_start().strip_prefix("/*").and_then(|rest| word(rest, "liquibase"));
    opens.and_then(|rest| word(rest, "rollback")).is_some_and(|rest| rest.trim().is_empty())
}

/// Refuses a directive with one dash, which would be taken for SQL.
pub(super) fn refuse_one_dash(line: &str, at: &Location) -> Result<()> {
    let Some(rest) = line.trim_start().strip_prefix('-').filter(|rest| !rest.starts_with('-'))
    else {
        return Ok(());
    };
    match DIRECTIVES.iter().find(|d| word(rest, d).is_some()) {
        Some(directive) => Err(at
            .error(format_args!("{directive} is written with one dash"))
            .fix(format!("write --{directive}"))),
        None => Ok(()),
    }
}

/// The `key:value` of a line; a value may be quoted.
pub(super) fn attributes(rest: &str, at: &Location) -> Result<Vec<(String, String)>> {
    let mut attributes = Vec::new();
    let mut rest = rest.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == ':' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(after) = after.strip_prefix(':') else {
            return Err(at
                .error(format_args!("'{key}' is no attribute"))
                .fix("write key:value, and put a value with spaces into double quotes"));
        };
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| {
                at.error(format_args!("the quotes of '{key}' are not closed"))
                    .fix("close them on the same line")
            })?,
            None => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
        };
        attributes.push((key.to_owned(), value.to_owned()));
        rest = next.trim_start();
    }
    Ok(attributes)
}

/// The change set that a line begins, from what follows `--changeset`.
pub(super) fn change_set(rest: &str, at: &Location, path: &str) -> Result<(ChangeSet, Header)> {
    let wrong = || {
        at.error("the change set has no author and id")
            .fix("write --changeset author:id, without a space after the colon")
    };
    let rest = rest.trim();
    let (author, rest) = match rest.strip_prefix('"') {
        Some(quoted) => {
            let (author, rest) = quoted.split_once('"').ok_or_else(wrong)?;
            (author, rest.strip_prefix(':').ok_or_else(wrong)?)
        }
        None => rest.split_once(':').ok_or_else(wrong)?,
    };
    let (id, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
        None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
    };
    if author.trim().is_empty() || id.replace(':', "").trim().is_empty() {
        return Err(wrong());
    }
    let mut set = ChangeSet::new(id, author, path, at.clone());
    let mut header = Header {
        split: true,
        strip_comments: true,
        delimiter: None,
        rollback_split: true,
        rollback_delimiter: None,
    };
    for (key, value) in attributes(rest, at)? {
        attribute(&mut set, &mut header, &key, value)?;
    }
    Ok((set, header))
}

fn attribute(set: &mut ChangeSet, header: &mut Header, key: &str, value: String) -> Result<()> {
    let at = set.at.clone();
    let flag = || match value.to_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(at
            .error(format_args!("{key} is '{value}', neither true nor false"))
            .fix("write true or false")),
    };
    match key.to_lowercase().as_str() {
        "stripcomments" => header.strip_comments = flag()?,
        "splitstatements" => header.split = flag()?,
        "rollbacksplitstatements" => header.rollback_split = flag()?,
        "enddelimiter" => header.delimiter = Some(value),
        "rollbackenddelimiter" => header.rollback_delimiter = Some(value),
        "runonchange" => set.run_on_change = flag()?,
        "runalways" => set.run_always = flag()?,
        "runintransaction" => set.run_in_transaction = flag()?,
        "failonerror" => set.fail_on_error = flag()?,
        "ignore" => set.ignore = flag()?,
        "context" | "contextfilter" => set.contexts = Some(value),
        "labels" => set.labels = Some(value),
        "dbms" => set.dbms = Some(value),
        "logicalfilepath" => set.file = value,
        "runwith" | "runwithspoolfile" => {
            return Err(at
                .error("change sets can't be run with another tool")
                .fix("take runWith away, and write SQL that the engine itself understands"));
        }
        _ => {
            let known = ATTRIBUTES.iter().copied();
            return Err(at.unknown("the change set's attribute", key, known));
        }
    }
    Ok(())
}
