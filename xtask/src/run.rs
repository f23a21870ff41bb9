//! Running programs: what is run is shown, and a failure ends the task.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a task ends with; the error is for a person.
pub(crate) type Done<T = ()> = Result<T, String>;

/// The workspace's root: of the checkout that it was run in, which may share its target folder with
/// the one that it was built in.
pub(crate) fn root() -> PathBuf {
    let run = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let own = run.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    own.parent().map(Path::to_owned).unwrap_or_default()
}

/// A cargo command in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(root());
    forget_package(&mut command);
    command
}

/// What cargo says of the package that it runs is not for the cargo that this one calls: build scripts
/// that look at it would be run anew each time, with all that depends on them.
fn forget_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Done {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command.status().map_err(|e| format!("{shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

/// As a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
