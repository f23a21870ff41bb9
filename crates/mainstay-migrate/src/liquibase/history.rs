//! What Liquibase's history says of a change set: the texts of its columns, as Liquibase writes them.
//!
//! The row itself is another's to write.

use super::model::{Change, ChangeSet};

/// What a column of the history takes.
const LENGTH: usize = 250;

/// `DESCRIPTION`: what its changes are, and what they name.
pub(crate) fn description(set: &ChangeSet) -> String {
    if set.changes.is_empty() {
        return "empty".to_owned();
    }
    let changes: Vec<_> = set.changes.iter().map(change).collect();
    cut(&changes.join("; "))
}

fn change(change: &Change) -> String {
    let names: Vec<_> = match change {
        Change::Sql(sql) => sql.path.iter().map(|path| format!("path={path}")).collect(),
        Change::Defined(defined) => {
            let fields = defined.fields.iter().filter(|(field, _)| named(field));
            fields.map(|(field, value)| format!("{field}={value}")).collect()
        }
    };
    if names.is_empty() {
        return change.name().to_owned();
    }
    format!("{} {}", change.name(), names.join(", "))
}

/// Whether a field names what the change is about.
fn named(field: &str) -> bool {
    let field = field.to_lowercase();
    field == "path"
        || field.ends_with("name") && !field.contains("schema") && !field.contains("catalog")
}

/// `COMMENTS`.
pub(crate) fn comments(set: &ChangeSet) -> String {
    cut(set.comment.as_deref().unwrap_or_default().trim())
}

/// `CONTEXTS`: those of the includes, then its own; each that is more than a name in parentheses.
pub(crate) fn contexts(set: &ChangeSet) -> Option<String> {
    let all = set.inherited_contexts.iter().chain(&set.contexts);
    let all: Vec<_> = all.map(|c| c.trim()).filter(|c| !c.is_empty()).map(enclosed).collect();
    (!all.is_empty()).then(|| all.join(" AND "))
}

fn enclosed(expression: &str) -> String {
    if expression.contains([' ', ',']) {
        return format!("({expression})");
    }
    expression.to_owned()
}

/// `LABELS`: those of the includes, then its own.
pub(crate) fn labels(set: &ChangeSet) -> Option<String> {
    let all = set.inherited_labels.iter().chain(&set.labels).flat_map(|l| l.split(','));
    let all: Vec<_> = all.map(str::trim).filter(|l| !l.is_empty()).collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LENGTH {
        return text.to_owned();
    }
    text.chars().take(LENGTH - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::super::location::Location;
    use super::super::model::{Defined, Sql};
    use super::*;

    fn set() -> ChangeSet {
        ChangeSet::new("1", "a", "a.xml", Location::new(&"a.xml".into(), 1))
    }

    #[test]
    fn descriptions_name_what_is_changed() {
        let mut set = set();
        assert_eq!(description(&set), "empty");
        let at = set.at.clone();
        let rename = Defined::new(Kind::RenameTable, at.clone())
            .with("newTableName", Some("b"))
            .with("oldTableName", Some("a"))
            .with("schemaName", Some("s"));
        let file = Sql { path: Some("f.sql".into()), ..Sql::new("select 1", at.clone()) };
        set.changes =
            vec![Change::Defined(rename), Change::Sql(Sql::new("x", at)), Change::Sql(file)];
        let want = "renameTable newTableName=b, oldTableName=a; sql; sqlFile path=f.sql";
        assert_eq!(description(&set), want);
        set.comment = Some("x".repeat(300));
        let comments = comments(&set);
        assert!(comments.len() == 250 && comments.ends_with("x..."), "{comments}");
    }

    #[test]
    fn contexts_and_labels_are_joined() {
        let mut set = set();
        assert_eq!((contexts(&set), labels(&set)), (None, None));
        (set.contexts, set.labels) = (Some("x or y".into()), Some("q, r".into()));
        (set.inherited_contexts, set.inherited_labels) = (vec!["ic".into()], vec!["il".into()]);
        assert_eq!(contexts(&set).as_deref(), Some("ic AND (x or y)"));
        assert_eq!(labels(&set).as_deref(), Some("il,q,r"));
    }
}
