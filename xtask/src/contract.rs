//! The shop against its own OpenAPI documents: schemathesis makes requests from them, good and bad, and no
//! answer may be a server's error.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::run::{Done, cargo, root, run};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const VERSIONS: [&str; 2] = ["v1", "v2"];
/// Requests of each kind for an operation.
const EXAMPLES: &str = "60";

pub(crate) fn contract() -> Done {
    let tool = install()?;
    let folder = std::env::temp_dir().join(format!("mainstay-contract-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let checked = check(&tool, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    checked
}

/// In a folder of its own, once.
fn install() -> Done<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let venv = target.unwrap_or_else(|| root().join("target")).join("schemathesis");
    let tool = venv.join("bin/st");
    if !tool.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(venv.join("bin/pip")).args(["install", "-q", SCHEMATHESIS]))?;
    }
    Ok(tool)
}

fn check(tool: &Path, folder: &Path) -> Done {
    let (_shop, url) = start(folder)?;
    for version in VERSIONS {
        let document = format!("{url}/openapi/{version}.json");
        // One worker: Python 3.11 fails to compile what several threads of it make at once.
        let args = ["--checks", "not_a_server_error", "--max-examples", EXAMPLES, "--workers", "1"];
        run(Command::new(tool).arg("run").arg(document).args(args).current_dir(folder))?;
    }
    Ok(())
}

/// On SQLite and a free port, with limits that nobody meets.
fn start(folder: &Path) -> Done<(Running, String)> {
    run(&mut cargo(&["build", "-p", "shop"]))?;
    let manifest = root().join("Cargo.toml");
    let mut shop = cargo(&["run", "-q", "-p", "shop", "--manifest-path"]);
    shop.arg(manifest).args(["--", "--port", "0"]).current_dir(folder);
    for limit in ["REQUESTS", "ORDERS", "LOGIN"] {
        shop.env(format!("MAINSTAY_LIMITS__{limit}"), "100000/s");
    }
    let mut shop = Running(shop.stdout(Stdio::piped()).spawn().map_err(|e| format!("shop: {e}"))?);
    let mut lines = shop.0.stdout.take().map(BufReader::new).ok_or("the shop prints nothing")?;
    let mut line = String::new();
    lines.read_line(&mut line).map_err(|e| format!("shop: {e}"))?;
    let url = line.split_whitespace().find(|word| word.starts_with("http://"));
    let url = url.ok_or("the shop did not start")?.trim_end_matches(',').to_owned();
    Ok((shop, url))
}

/// Ended with the task.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
