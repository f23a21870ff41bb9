//! Allowances.

use super::super::Allows;
use super::{Code, Engine, Finding, POSTGRES, fires};

#[test]
fn an_allowance_covers_its_statement() {
    let file = "-- mainstay:allow LINT-104 emptied last month\nDROP TABLE flags;\n\
                DROP TABLE orders; -- mainstay:allow LINT-104 copied to the archive\n\
                DROP TABLE customers;\n";
    let mut allows = Allows::of(file, Engine::Postgres);
    let finding = fires(POSTGRES, Code::LintDropTable, "DROP TABLE flags");
    assert!(allows.covers(&finding, &(2..=2)));
    assert!(allows.covers(&finding, &(3..=3)));
    assert!(!allows.covers(&finding, &(4..=4)));
    let other = Finding { code: Code::LintRename, ..finding };
    assert!(!allows.covers(&other, &(2..=2)));
    assert!(allows.findings().is_empty());
}

#[test]
fn allowances_have_faults_of_their_own() {
    let file = "-- mainstay:allow LINT-104\nDROP TABLE flags;\n\
                /* mainstay:allow NONE because */ SELECT '-- mainstay:allow LINT-101 no';\n";
    let allows = Allows::of(file, Engine::Sqlite);
    let codes: Vec<_> = allows.findings().iter().map(|f| (f.code, f.line)).collect();
    let expected =
        [(Code::LintAllowReason, 1), (Code::LintAllowUnknown, 3), (Code::LintAllowUnused, 1)];
    assert_eq!(codes, expected);
}
