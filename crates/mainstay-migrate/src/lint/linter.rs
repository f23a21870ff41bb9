//! The linter: what it remembers over the statements of a run, and of the file it is in.

use std::collections::HashSet;

use mainstay_db::lex::Token;

use super::parse::{
    Action, AlterTable, ConstraintKind, Name, Statement, Tok, significant, statement, unquoted,
};
use super::rules::{self, Case, Until};
use super::{Catalogue, Finding, LintOptions, Server};

/// Looks at the statements of a run, one after the other.
#[derive(Debug)]
pub struct Linter {
    server: Server,
    catalogue: Catalogue,
    options: LintOptions,
    run: Run,
    file: File,
    /// Whether the tables that a file makes are filled by the time the next one runs.
    each_alone: bool,
}

/// What earlier statements of the run have done.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Tables that did not exist before it, by their [place](Name::place).
    created: HashSet<String>,
    /// Tables that it has dropped or renamed: who makes one of that name makes a new one.
    gone: HashSet<String>,
    /// Checks `column IS NOT NULL` that are not validated yet: table, constraint, column.
    unproven: Vec<(String, String, String)>,
    /// Columns that a valid check keeps from being NULL: table, column.
    pub(super) proven: HashSet<(String, String)>,
}

/// What earlier statements of the file have done.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Whether a BEGIN of its own is open.
    pub(super) explicit: bool,
    /// Tables of some size that are locked until the transaction ends.
    pub(super) locked: Vec<String>,
    /// Constraints that were added without validation: table, constraint.
    pub(super) unvalidated: Vec<(String, String)>,
    /// Enum values that were added.
    pub(super) enum_values: Vec<String>,
    /// Indexes that the file has dropped.
    pub(super) dropped_indexes: HashSet<String>,
    /// Tables whose rows were copied elsewhere.
    pub(super) copied: HashSet<String>,
    /// Whether the session's time zone is UTC, as far as the file says.
    pub(super) utc: bool,
    pub(super) lock_timeout: bool,
    pub(super) foreign_keys_off: bool,
    pending: Vec<(Until, Finding)>,
}

impl Run {
    pub(super) fn is_new(&self, table: &Name) -> bool {
        self.created.contains(table.place())
    }
}

impl Linter {
    /// A linter for one run of migrations on `server`, whose tables `catalogue` knows.
    pub fn new(server: Server, catalogue: Catalogue, options: LintOptions) -> Self {
        let (run, file) = (Run::default(), File::default());
        Linter { server, catalogue, options, run, file, each_alone: false }
    }

    /// For files of which some ran long ago: a table is new in the file that makes it, and not in those
    /// after it.
    pub(super) fn each_alone(self) -> Self {
        Linter { each_alone: true, ..self }
    }

    /// What the rules say of one statement; `line` and `column` are where it begins.
    ///
    /// `in_transaction`: whether the file runs in one transaction.
    pub fn statement(
        &mut self,
        text: &str,
        line: usize,
        column: usize,
        in_transaction: bool,
    ) -> Vec<Finding> {
        let tokens = significant(text, self.server.engine);
        let parsed = statement(&tokens, self.server.engine);
        let mut case = Case {
            server: &self.server,
            options: &self.options,
            catalogue: &self.catalogue,
            run: &self.run,
            file: &self.file,
            in_transaction: in_transaction || self.file.explicit,
            text,
            tokens: &tokens,
            strings: strings(&tokens),
            line,
            column,
            found: Vec::new(),
            pending: Vec::new(),
        };
        rules::check(&mut case, &parsed);
        let (found, pending) = (case.found, case.pending);
        let locked = rules::locked(&parsed, &self.catalogue, &self.run, &self.options);
        self.file.pending.extend(pending);
        self.file.pending.retain(|(until, _)| !until.is_met(&parsed));
        self.file.locked.extend(locked);
        self.note(&parsed, in_transaction);
        found
    }

    /// What shows only when a file is over, such as a foreign key that got no index; forgets what
    /// belongs to the file. To be called after each file's last statement.
    pub fn finish_file(&mut self) -> Vec<Finding> {
        let file = std::mem::take(&mut self.file);
        if self.each_alone {
            self.run.created.clear();
            self.run.gone.clear();
        }
        file.pending.into_iter().map(|(_, finding)| finding).collect()
    }

    fn note(&mut self, parsed: &Statement, in_transaction: bool) {
        match parsed {
            Statement::CreateTable(table) => {
                self.created(&table.name, table.if_not_exists);
            }
            Statement::CreateMaterialized { name, if_not_exists } => {
                self.created(name, *if_not_exists);
            }
            Statement::DropTable { names } => {
                for name in names {
                    self.run.created.remove(name.place());
                    self.run.gone.insert(name.place().to_owned());
                }
            }
            Statement::AlterTable(alter) => self.note_alter(alter),
            Statement::RenameTables(pairs) => {
                for (from, to) in pairs {
                    self.renamed(from, to);
                }
            }
            Statement::DropIndex { names, .. } => {
                self.file.dropped_indexes.extend(names.iter().map(|name| name.bare().to_owned()));
            }
            Statement::AddEnumValue { value, .. } => self.file.enum_values.push(value.clone()),
            Statement::InsertSelect { from } => {
                self.file.copied.extend(from.iter().map(|name| name.key.clone()));
            }
            Statement::Set { name, value } => self.note_set(name, value),
            Statement::Pragma { name, value } if name == "foreign_keys" => {
                // Inside a transaction it does nothing, whatever it says.
                let outside = !in_transaction && !self.file.explicit;
                self.file.foreign_keys_off = is_off(value) && outside;
            }
            Statement::Control { open } => {
                // What was held or is not committed yet belongs to one transaction.
                self.file.explicit = *open;
                self.file.locked.clear();
                self.file.unvalidated.clear();
                self.file.enum_values.clear();
            }
            _ => {}
        }
    }

    fn note_alter(&mut self, alter: &AlterTable) {
        let table = &alter.table.key;
        for action in &alter.actions {
            match action {
                Action::RenameTable { to } => self.renamed(&alter.table, to),
                Action::AddConstraint(constraint) if !constraint.not_valid => {
                    // All rows were looked at when it was added.
                    if let ConstraintKind::Check(Some(column)) = &constraint.kind {
                        self.run.proven.insert((table.clone(), column.key.clone()));
                    }
                }
                Action::AddConstraint(constraint) => {
                    let Some(name) = &constraint.name else { continue };
                    self.file.unvalidated.push((table.clone(), name.key.clone()));
                    if let ConstraintKind::Check(Some(column)) = &constraint.kind {
                        let check = (table.clone(), name.key.clone(), column.key.clone());
                        self.run.unproven.push(check);
                    }
                }
                Action::ValidateConstraint(name) => {
                    let proven = self
                        .run
                        .unproven
                        .iter()
                        .filter(|(of, constraint, _)| of == table && *constraint == name.key)
                        .map(|(of, _, column)| (of.clone(), column.clone()));
                    self.run.proven.extend(proven);
                }
                _ => {}
            }
        }
    }

    fn note_set(&mut self, name: &str, value: &str) {
        match name {
            "timezone" => self.file.utc = matches!(value, "utc" | "gmt" | "etc/utc"),
            "lock_timeout" | "lock_wait_timeout" => self.file.lock_timeout = true,
            "foreign_key_checks" => self.file.foreign_keys_off = is_off(value),
            _ => {}
        }
    }

    /// What the catalogue has is not made, by IF NOT EXISTS or by a statement that fails; where files
    /// ran long ago it may be what they made.
    fn created(&mut self, name: &Name, if_not_exists: bool) {
        let gone = self.run.gone.contains(name.place());
        let exists = !gone && self.catalogue.get(&name.key).is_some();
        if !exists || (self.each_alone && !if_not_exists) {
            self.run.created.insert(name.place().to_owned());
        }
    }

    fn renamed(&mut self, from: &Name, to: &Name) {
        // Without a schema the new name is in the old one's.
        let schema = from.key.rsplit_once('.').filter(|_| !to.key.contains('.'));
        let to = match schema {
            Some((schema, _)) => Name::of(&format!("{schema}.{}", to.key)),
            None => to.clone(),
        };
        if self.run.created.remove(from.place()) {
            self.run.created.insert(to.place().to_owned());
        }
        self.run.gone.insert(from.place().to_owned());
        self.file.copied.remove(&from.key);
    }
}

fn is_off(value: &str) -> bool {
    matches!(value, "off" | "0" | "false" | "no")
}

fn strings(tokens: &[Tok<'_>]) -> Vec<String> {
    let strings = tokens.iter().filter(|token| token.kind == Token::String);
    strings.map(|token| unquoted(token.text)).collect()
}
