//! Tests that fail beside others and pass alone: told by name, and no reason to refuse a change.
//!
//! It is for a run that nobody watches. What fails alone too has failed, and so has a run in which many
//! fail, or one that failed without saying which test it was.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::run::{Done, show};

/// More than these are no accident of a busy machine.
const TESTS_MAX: usize = 4;

/// What a run of `cargo test --no-fail-fast` said of its failures.
#[derive(Debug, Default, PartialEq)]
struct Failures {
    /// As in `test NAME ... FAILED`; two programs may have tests of one name.
    tests: Vec<String>,
    /// How many failed, by the programs' own count.
    count: usize,
    /// The words by which cargo chooses each program again: `-p mainstay-db --test it`.
    targets: Vec<String>,
}

impl Failures {
    fn read(&mut self, line: &str) {
        let test = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED"));
        if let Some(test) = test {
            self.tests.push(test.to_owned());
        }
        if line.starts_with("test result: FAILED") {
            self.count += number(line, " failed").unwrap_or_default();
        }
        let target = line.trim().strip_prefix("`-p ").and_then(|l| l.strip_suffix('`'));
        if let Some(target) = target {
            self.targets.push(format!("-p {target}"));
        }
    }
}

/// Runs `all`; tests that fail are run again, each program's by itself, as `again` makes the command from the
/// words for cargo.
pub(crate) fn run(mut all: Command, again: impl Fn(&[&str]) -> Done<Command>) -> Done {
    let (passed, _, failed) = watched(&mut all)?;
    if passed {
        return Ok(());
    }
    let named = failed.tests.join(", ");
    // Where a name was lost in what a test printed, or a program ended without a result, nobody knows what failed.
    let known = failed.tests.len() == failed.count && !failed.targets.is_empty();
    if !known || failed.tests.is_empty() || failed.tests.len() > TESTS_MAX {
        return Err(format!("{}: {named}", show(&all)));
    }
    eprintln!("alone once more: {named}");
    let mut ran = 0;
    for target in &failed.targets {
        let mut words: Vec<&str> = vec!["test", "--no-fail-fast"];
        words.extend(target.split(' '));
        words.extend(["--", "--test-threads", "1", "--exact"]);
        words.extend(failed.tests.iter().map(String::as_str));
        let (passed, count, _) = watched(&mut again(&words)?)?;
        if !passed || count == 0 {
            return Err(format!("{target} failed alone too, or has none of them: {named}"));
        }
        ran += count;
    }
    if ran < failed.tests.len() {
        return Err(format!("{ran} of those that failed were found again: {named}"));
    }
    eprintln!("warning: unsteady, they failed beside others and passed alone: {named}");
    Ok(())
}

/// Runs it, shows all that it prints, and keeps what it says of failures and how many tests passed.
fn watched(command: &mut Command) -> Done<(bool, usize, Failures)> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let told = |e: std::io::Error| format!("{shown}: {e}");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(told)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let errors = std::thread::spawn(move || err.map(|e| follow(e, |text| eprint!("{text}"))));
    let lines = out.map(|out| follow(out, |text| print!("{text}"))).unwrap_or_default();
    let errors = errors.join().ok().flatten().unwrap_or_default();
    let status = child.wait().map_err(told)?;
    let mut failures = Failures::default();
    lines.iter().chain(&errors).for_each(|line| failures.read(line));
    let results = lines.iter().filter(|line| line.starts_with("test result: ok"));
    let passed = results.filter_map(|line| number(line, " passed")).sum();
    Ok((status.success(), passed, failures))
}

/// The number before `what`, of a line `test result: ok. 3 passed; 0 failed; …`.
fn number(line: &str, what: &str) -> Option<usize> {
    line.split_once(what)?.0.rsplit(' ').next()?.parse().ok()
}

/// Hands on each line, and keeps those that say how tests ended.
fn follow(from: impl Read, show: impl Fn(&str)) -> Vec<String> {
    let mut kept = Vec::new();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        show(&text);
        let text = text.trim_end();
        if ["test ", "    `"].iter().any(|start| text.starts_with(start)) && !text.ends_with(" ok")
        {
            kept.push(text.to_owned());
        }
        line.clear();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const FAILS: &str = "echo 'test a::b ... FAILED'; echo 'test result: FAILED. 7 passed; 1 failed'; \
         echo '    `-p mainstay-db --test it`' >&2; exit 101";

    #[test]
    fn what_passes_alone_is_told_and_no_more() {
        let again = |words: &[&str]| {
            let wanted =
                "test --no-fail-fast -p mainstay-db --test it -- --test-threads 1 --exact a::b";
            assert_eq!(words.join(" "), wanted);
            Ok(sh("echo 'test result: ok. 1 passed; 0 failed'"))
        };
        assert_eq!(run(sh(FAILS), again), Ok(()));
    }

    #[test]
    fn what_fails_alone_has_failed() {
        assert!(run(sh(FAILS), |_| Ok(sh(FAILS))).is_err());
    }

    #[test]
    fn what_is_not_found_again_has_failed() {
        assert!(run(sh(FAILS), |_| Ok(sh("echo 'test result: ok. 0 passed; 0 failed'"))).is_err());
    }

    #[test]
    fn a_failure_without_a_name_or_of_many_is_not_tried_again() {
        let never = |_: &[&str]| unreachable!();
        assert!(run(sh("exit 101"), never).is_err());
        let many = FAILS.replace("1 failed'", "6 failed'");
        let many = format!("for n in 1 2 3 4 5; do echo \"test $n ... FAILED\"; done; {many}");
        assert!(run(sh(&many), never).is_err());
        // Another program failed too, and nobody knows of what.
        let lost = FAILS.replace("1 failed'", "2 failed'");
        assert!(run(sh(&lost), never).is_err());
    }

    #[test]
    fn a_program_that_ended_without_a_name_has_failed() {
        let two = FAILS.replace("exit 101", "echo '    `-p mainstay-jobs --lib`' >&2; exit 101");
        let again = |words: &[&str]| {
            let found = usize::from(words.contains(&"mainstay-db"));
            Ok(sh(&format!("echo 'test result: ok. {found} passed; 0 failed'")))
        };
        assert!(run(sh(&two), again).is_err());
    }
}
