//! The binary: what it prints, and how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

pub(crate) fn shop(folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.current_dir(folder).env_remove("DATABASE_URL").env_remove("PORT");
    command.env_remove("RABBITMQ_URL").env_remove("REDIS_URL");
    command
}

pub(crate) fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// Always false, after a while.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn pause() -> bool {
    std::thread::sleep(std::time::Duration::from_millis(20));
    false
}

fn get(address: &str, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn mistakes_are_told_with_code_and_fix() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let text = fails(shop(dir.path()).args(["--port", &port]));
    assert!(
        text.contains("error[APP-002]: can't listen on 127.0.0.1:") && text.contains("--port"),
        "{text}"
    );
    for (url, code) in [
        ("shop.db", "CFG-004"),
        ("sqlit:shop.db", "CFG-004"),
        ("sqlite:no/such/folder/shop.db", "DB-026"),
        ("postgres://u:s3cret@127.0.0.1:9/d", "DB-022"),
        ("mysql://u:s3cret@127.0.0.1:9/d", "DB-022"),
    ] {
        let text = fails(shop(dir.path()).args(["--port", "0", "--database-url", url]));
        assert!(
            text.contains(&format!("error[{code}]")) && text.contains("fix: "),
            "{url}: {text}"
        );
        assert!(!text.contains("s3cret"), "{text}");
    }
    std::fs::write(dir.path().join("mainstay.toml"), "[pool]\nmax_sise = 3\n").unwrap();
    let text = fails(&mut shop(dir.path()));
    assert!(text.contains("CFG-002") && text.contains("did you mean `pool.max_size`?"), "{text}");
}

#[test]
fn the_configuration_tells_its_origins() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mainstay.toml"), "[pool]\nmax_size = 3\n").unwrap();
    let mut command = shop(dir.path());
    let output =
        command.args(["config", "--origin", "--host", "::1"]).env("PORT", "9000").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "http.port = 9000  # the environment's PORT",
        "http.host = \"::1\"  # the flag --host",
        "pool.min_idle = 0  # the defaults",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(
        text.lines()
            .any(|l| l.starts_with("pool.max_size = 3  # ") && l.ends_with("mainstay.toml")),
        "{text}"
    );
}

#[test]
fn what_is_secret_is_read_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = shop(dir.path());
    command.arg("config").env("RABBITMQ_URL", "amqp://u:s3cret@127.0.0.1:9");
    command.env("REDIS_URL", "redis://:s3cret@127.0.0.1:9");
    command.env("MAINSTAY_SESSIONS__SECRET", "s3cret".repeat(6));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains("s3cret"), "{text}");
    for key in ["jobs.broker", "redis.url", "sessions.secret"] {
        assert!(text.contains(&format!("{key} = (set)\n")), "{text}");
    }
    assert!(text.contains("database.url = null\n"), "{text}");
}

/// It serves on a database it makes itself, says how to ask it, and ends in order on SIGTERM.
#[test]
fn it_starts_with_nothing_and_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = shop(dir.path())
        .args(["--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.starts_with("shop listens on http://127.0.0.1:")
            && first.ends_with("SQLite at data/shop.db"),
        "{first}"
    );
    let curls =
        lines.by_ref().map_while(Result::ok).filter(|l| l.contains("curl -s ")).take(2).count();
    assert_eq!(curls, 2);
    let address = first.split_once("http://").unwrap().1.split_once(',').unwrap().0;
    let metrics = get(address, "/api/products").and_then(|_| get(address, "/metrics")).unwrap();
    for series in [
        r#"db_client_operation_duration_count{pool_name="main",db_system_name="sqlite"}"#,
        r#"db_client_connection_use_time_bucket{pool_name="main",le="0.01"}"#,
    ] {
        assert!(metrics.contains(series), "{metrics}");
    }
    // How the pool stands is told about once a second.
    let gauges = [
        r#"db_client_connection_count{pool_name="main",state="idle"}"#,
        r#"db_client_connection_max{pool_name="main"} 10"#,
        r#"db_client_connection_max{pool_name="main.writer"} 1"#,
        r#"db_client_connection_pending_requests{pool_name="main"} 0"#,
    ];
    let told = || get(address, "/metrics").is_ok_and(|m| gauges.iter().all(|g| m.contains(g)));
    assert!((0..500).any(|_| told() || pause()), "{:?}", get(address, "/metrics"));
    Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("draining") && text.ends_with("closed\n"), "{text}");
    assert!(dir.path().join("data/shop.db").exists());
}

mod postgres {
    use super::*;

    /// On a private PostgreSQL, killed without a chance to clean up: the server ends with it, and
    /// the next start finds the data.
    #[test]
    fn a_private_server_ends_with_a_killed_service() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let start = || {
            let mut command = shop(dir.path());
            command
                .args(["--port", "0", "--database-url", "postgres+local:./pg"])
                .stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            assert!(first.contains("PostgreSQL at "), "{first}");
            child
        };
        let mut child = start();
        let pid_file = dir.path().join("pg/data/postmaster.pid");
        let pid = std::fs::read_to_string(&pid_file).unwrap().lines().next().unwrap().to_owned();
        child.kill().unwrap();
        child.wait().unwrap();
        // At once again: the predecessor may still be stopping.
        let mut child = start();
        let second = std::fs::read_to_string(&pid_file).unwrap().lines().next().unwrap().to_owned();
        assert_ne!(pid, second);
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "the first server still runs"
        );
        Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(!pid_file.exists(), "an orderly end stops the server before it returns");
    }
}
