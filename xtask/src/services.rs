//! The test servers, kept up between commands by a process of their own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::ci::RIG;
use crate::packages;
use crate::run::{Done, cargo, root, run};

/// How long the servers may take to start.
const START_TRIES: u32 = 600;

fn state() -> PathBuf {
    root().join("data").join("services")
}

/// The variable, its value and the id of the process that keeps the servers.
fn read() -> Option<(String, String, String)> {
    let text = fs::read_to_string(state()).ok()?;
    let mut lines = text.lines().map(str::to_owned);
    let (name, value, pid) = (lines.next()?, lines.next()?, lines.next()?);
    alive(&pid).then_some((name, value, pid))
}

fn alive(pid: &str) -> bool {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.contains("mainstay-rig")
}

pub(crate) fn up() -> Done {
    if read().is_some() {
        return status();
    }
    packages::servers()?;
    run(&mut cargo(&["build", "--quiet", "--package", "mainstay-testkit"]))?;
    let file = state();
    let folder = file.parent().ok_or("the workspace has no root")?;
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let _ = fs::remove_file(&file);
    let path = file.display().to_string();
    let mut serve = cargo(&[&RIG[..], &["serve", "--state", &path]].concat());
    // A group of its own: it outlives this command and the terminal's Ctrl-C.
    serve.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = serve.spawn().map_err(|e| format!("the servers did not start: {e}"))?;
    for _ in 0..START_TRIES {
        if read().is_some() {
            return status();
        }
        if let Ok(Some(ended)) = child.try_wait() {
            return Err(format!(
                "the servers did not start ({ended}); `cargo xtask test` says why"
            ));
        }
        pause();
    }
    Err("the servers did not start in time".to_owned())
}

pub(crate) fn status() -> Done {
    match read() {
        None => println!("down; `cargo xtask services up` starts them"),
        Some((name, value, pid)) => {
            let addresses: serde_json::Value =
                serde_json::from_str(&value).map_err(|e| e.to_string())?;
            println!("up, kept by process {pid}");
            for (key, value) in addresses.as_object().into_iter().flatten() {
                println!("  {key:<16} {}", value.as_str().unwrap_or_default());
            }
            println!("tests use them with: export {name}='{value}'");
        }
    }
    Ok(())
}

pub(crate) fn down() -> Done {
    let Some((_, _, pid)) = read() else {
        println!("they are not up");
        return Ok(());
    };
    run(Command::new("kill").args(["-s", "TERM", &pid]))?;
    for _ in 0..START_TRIES {
        if !alive(&pid) {
            let _ = fs::remove_file(state());
            println!("down");
            return Ok(());
        }
        pause();
    }
    Err(format!("process {pid} did not end"))
}

#[expect(clippy::disallowed_methods, reason = "a command that waits for another process")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}
