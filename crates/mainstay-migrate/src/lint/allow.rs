//! `-- mainstay:allow CODE reason`: the comments by which a file's author takes a finding on.
//!
//! Such a comment stands on lines of its own above the statement, or at the end of one of its
//! lines. It covers one code of one statement; what it covers is decided here, and what is done
//! with a finding that is covered is the caller's affair.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use mainstay_core::Code;
use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

use super::Finding;

const MARK: &str = "mainstay:allow";

/// The allowances of a file.
#[derive(Debug, Default)]
pub struct Allows {
    all: Vec<Allow>,
    faults: Vec<Finding>,
    /// Which of them have covered something.
    used: HashSet<usize>,
}

#[derive(Debug)]
struct Allow {
    code: Code,
    line: usize,
    column: usize,
    /// The line of code that it speaks of: its own, or the next that is not blank or a comment.
    covers: usize,
}

impl Allows {
    /// The allowances in the text of a whole file.
    pub fn of(file: &str, engine: Engine) -> Self {
        let mut allows = Allows::default();
        let mut waiting: Vec<Allow> = Vec::new();
        // The last line on which something other than white space and comments stood.
        let mut code_line = 0;
        let (mut line, mut start) = (1, 0);
        for (token, range) in Lexer::new(file, engine) {
            let text = file.get(range.clone()).unwrap_or("");
            match token {
                Token::Comment => {
                    let column = range.start - start + 1;
                    if let Some(allow) = allows.read(text, line, column) {
                        if code_line == line {
                            allows.all.push(Allow { covers: line, ..allow });
                        } else {
                            waiting.push(allow);
                        }
                    }
                }
                Token::Space => {}
                _ => {
                    let waited = waiting.drain(..).map(|allow| Allow { covers: line, ..allow });
                    allows.all.extend(waited);
                    code_line = line + text.matches('\n').count();
                }
            }
            line += text.matches('\n').count();
            if let Some(last) = text.rfind('\n') {
                start = range.start + last + 1;
            }
        }
        allows.all.extend(waiting);
        allows
    }

    /// Whether an allowance covers `finding`, whose statement stands on `lines`.
    pub fn covers(&mut self, finding: &Finding, lines: &RangeInclusive<usize>) -> bool {
        let mut covered = false;
        for (n, allow) in self.all.iter().enumerate() {
            if allow.code == finding.code && lines.contains(&allow.covers) {
                covered = true;
                self.used.insert(n);
            }
        }
        covered
    }

    /// What is wrong with the allowances themselves. To be asked when all findings of the file
    /// went through [`covers`](Allows::covers): one that covered nothing is a finding too.
    pub fn findings(&self) -> Vec<Finding> {
        let unused = self.all.iter().enumerate().filter(|(n, _)| !self.used.contains(n));
        let unused = unused.map(|(_, allow)| {
            let what = format!("nothing is found here that {} would allow", allow.code);
            let why = "it would hide a finding that somebody adds later, unread";
            fault(
                Code::LintAllowUnused,
                (allow.line, allow.column),
                what,
                why,
                "remove the comment",
            )
        });
        self.faults.iter().cloned().chain(unused).collect()
    }

    /// Reads one comment; what is wrong with it becomes a finding.
    fn read(&mut self, comment: &str, line: usize, column: usize) -> Option<Allow> {
        let text = comment.trim_start_matches(['-', '#', '/', '*']).trim_start();
        let rest = text.strip_prefix(MARK)?.trim_end_matches("*/").trim();
        let (word, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let at = (line, column);
        let known = Code::parse(word).filter(|code| code.as_str().starts_with("LINT-"));
        let Some(code) = known else {
            let what = format!("{MARK} names `{word}`, which is no code of the linter");
            let why = "it allows nothing";
            let fix = format!("write -- {MARK} LINT-001 reason, with the finding's own code");
            self.faults.push(fault(Code::LintAllowUnknown, at, what, why, &fix));
            return None;
        };
        if reason.trim().is_empty() {
            let what = format!("{MARK} {code} gives no reason");
            let why = "whoever reads it later can't tell whether it still holds";
            let fix = format!("write why it is safe here: -- {MARK} {code} REASON");
            self.faults.push(fault(Code::LintAllowReason, at, what, why, &fix));
        }
        Some(Allow { code, line, column, covers: line })
    }
}

fn fault(code: Code, at: (usize, usize), what: String, why: &str, fix: &str) -> Finding {
    let (line, column) = at;
    Finding { code, line, column, what, why: why.to_owned(), fix: fix.to_owned(), table: None }
}
