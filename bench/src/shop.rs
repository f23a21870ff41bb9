//! The shop under a bounded load, as its user starts it. There is no peer: these are figures to
//! watch from one release to the next.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::report::{Better, Case};
use crate::servers::{Engine, fresh};

/// A third reads products, a third reads an order, a third moves money.
const SCRIPT: &str = r#"
local n = 0
request = function()
  n = n + 1
  if n % 3 == 0 then
    return wrk.format("GET", "/api/products?limit=10&after=" .. (n * 7 % 900))
  elseif n % 3 == 1 then
    return wrk.format("GET", "/api/orders/" .. (1 + n * 7919 % 100000))
  end
  local from = 1 + n * 104729 % 10000
  local body = string.format('{"from":%d,"to":%d,"amount":1}', from, from % 10000 + 1)
  return wrk.format("POST", "/api/transfers", { ["content-type"] = "application/json" }, body)
end
done = function(summary, latency)
  io.write(string.format("FIGURES %f %f %d\n",
    summary.requests / (summary.duration / 1e6), latency:percentile(99) / 1000,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
"#;

/// Ends the shop with the benchmark, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("our own path");
    own.with_file_name("shop")
}

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let fresh = fresh(engine).await;
        let folder = tempfile::tempdir().expect("a scratch folder");
        let shop = |args: &[&str]| {
            let mut command = Command::new(binary());
            command.args(args).arg("--database-url").arg(&fresh.url).current_dir(folder.path());
            command.stdout(Stdio::null());
            command
        };
        assert!(shop(&["seed"]).status().expect("the shop is built").success());
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a port")
            .port();
        let running =
            Running(shop(&["--port", &port.to_string()]).spawn().expect("the shop is built"));
        wait_until_up(port).await;
        let (rate, p99, errors) = load(folder.path(), port).await;
        drop(running);
        let name = engine.name();
        cases.push(Case::new(
            format!("shop, 32 connections, {name}"),
            "requests/s",
            Better::Higher,
            rate,
        ));
        cases.push(Case::new(
            format!("shop, 32 connections, p99, {name}"),
            "ms",
            Better::Lower,
            p99,
        ));
        cases.push(Case::new(
            format!("shop, 32 connections, errors, {name}"),
            "count",
            Better::Lower,
            errors,
        ));
    }
    cases
}

async fn wait_until_up(port: u16) {
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the shop did not start");
}

/// Ten seconds of load after two of warming up.
async fn load(folder: &Path, port: u16) -> (f64, f64, f64) {
    let script = folder.join("load.lua");
    std::fs::write(&script, SCRIPT).expect("the script is written");
    let mut last = None;
    for seconds in ["2s", "10s"] {
        let output = tokio::task::spawn_blocking({
            let script = script.clone();
            move || {
                let mut wrk = Command::new("wrk");
                wrk.args(["-t", "1", "-c", "32", "-d", seconds, "-s"]).arg(script);
                wrk.arg(format!("http://127.0.0.1:{port}")).output().expect("wrk is installed")
            }
        })
        .await
        .expect("wrk ended");
        last = Some(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = last.expect("it ran");
    let line = text.lines().find_map(|l| l.strip_prefix("FIGURES ")).expect("wrk's figures");
    let figures: Vec<f64> = line.split(' ').map(|f| f.parse().expect("a number")).collect();
    (figures[0], figures[1], figures[2])
}
