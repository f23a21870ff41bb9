//! Who descends from a process. Servers put their children into groups of their own, as PostgreSQL does, so
//! that a signal to a group does not reach them.

use std::collections::HashMap;
use std::fs;

use rustix::process::Pid;

/// `root` and all that descends from it, parents first. Where there is no `/proc`, `root` alone.
pub(crate) fn below(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some((_, parent)) = look(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut all = vec![root.as_raw_pid()];
    let mut at = 0;
    while let Some(process) = all.get(at) {
        all.extend(children.remove(process).into_iter().flatten());
        at += 1;
    }
    all.into_iter().filter_map(Pid::from_raw).collect()
}

/// Whether it is there and no zombie, which only waits for its parent to hear of its end.
pub(crate) fn is_alive(process: Pid) -> bool {
    if !fs::exists("/proc/self/stat").unwrap_or(false) {
        return rustix::process::test_kill_process(process).is_ok();
    }
    look(process.as_raw_pid()).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Its state and its parent.
fn look(process: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before them is in parentheses and may itself hold any.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn grandchildren_in_groups_of_their_own_are_found() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "setsid sh -c 'echo $$; sleep 60' & wait"]).stdout(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let inner = Pid::from_raw(said.trim().parse().unwrap()).unwrap();
        // Its number is told before it has a child of its own.
        let mut all = Vec::new();
        crate::process::wait_until(std::time::Duration::from_secs(20), || {
            all = below(Pid::from_child(&child));
            all.len() >= 3
        });
        assert!(all.contains(&inner) && all.len() >= 3, "{all:?}");
        assert!(all.iter().all(|process| is_alive(*process)));
        for process in &all {
            rustix::process::kill_process(*process, rustix::process::Signal::KILL).unwrap();
        }
        child.wait().unwrap();
        assert!(!is_alive(Pid::from_child(&child)));
    }
}
