//! Other people's programs that tests hold ours against: the real Liquibase.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages;
use crate::run::{Done, root, run};

/// The package that carries Liquibase's jar and the drivers with it.
const LIQUIBASE: &str = "liquibase@4.28.1";
/// The queue on Redis that ours is measured beside; it pins its driver, ioredis 5.11.1.
const BULLMQ: &str = "bullmq@5.81.5";
/// Debian's; Liquibase's package lacks what its drivers log through.
const SLF4J: [&str; 2] = ["/usr/share/java/slf4j-api.jar", "/usr/share/java/slf4j-nop.jar"];

/// The variable that tells a test where Liquibase is: a class path.
pub(crate) const VARIABLE: &str = "MAINSTAY_TEST_LIQUIBASE";

/// Liquibase's class path; installed beside the build, so that the next run has it.
pub(crate) fn liquibase() -> Done<String> {
    packages::java()?;
    let folder = folder();
    let jars = folder.join("node_modules/liquibase/dist/liquibase/internal/lib");
    if !jars.join("liquibase-core.jar").is_file() {
        npm(&folder, LIQUIBASE)?;
    }
    let entries = std::fs::read_dir(&jars).map_err(|e| format!("{}: {e}", jars.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "jar"))
        .collect();
    paths.sort();
    paths.extend(SLF4J.map(PathBuf::from));
    let path = std::env::join_paths(paths).map_err(|e| e.to_string())?;
    path.into_string().map_err(|_| "the class path is not UTF-8".to_owned())
}

/// The folder that has BullMQ among its modules.
pub(crate) fn bullmq() -> Done<String> {
    packages::node()?;
    // Of this version: another one may be there from before.
    let folder = folder().join(BULLMQ);
    if !folder.join("node_modules/bullmq/package.json").is_file() {
        npm(&folder, BULLMQ)?;
    }
    Ok(folder.join("node_modules").display().to_string())
}

/// The program with the peers in Rust; built in a target folder of its own beside ours.
pub(crate) fn peers() -> Done<String> {
    let target = target().join("peers");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked"]).current_dir(root().join("bench/peers"));
    run(cargo.env("CARGO_TARGET_DIR", &target))?;
    Ok(target.join("release/peers").display().to_string())
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Beside the build, so that the next run has it.
fn folder() -> PathBuf {
    target().join("oracles")
}

fn npm(folder: &Path, package: &str) -> Done {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix"]);
    run(npm.arg(folder).arg(package))
}
