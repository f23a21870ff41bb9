//! Checks on the workspace itself: which crate may import which, and how files look.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{cargo, root};

const LINES_MAX: usize = 600;
/// The crates of one tier that may import each other: from, to.
const SAME_TIER: &[(&str, &str)] =
    &[("mainstay-db", "mainstay-pool"), ("mainstay-db", "mainstay-local")];

fn packages() -> Vec<Value> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn tier(package: &Value) -> Option<u64> {
    package["metadata"]["mainstay"]["tier"].as_u64()
}

/// A crate imports only lower tiers, and the testkit is only ever a dev-dependency.
#[test]
fn no_import_runs_up() {
    let packages = packages();
    let tiers: BTreeMap<&str, u64> =
        packages.iter().filter_map(|p| Some((p["name"].as_str()?, tier(p)?))).collect();
    assert!(tiers.len() >= 5, "the tiers were not found: {tiers:?}");
    let mut forbidden = Vec::new();
    for package in &packages {
        let from = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let dev = dependency["kind"] == "dev";
            if to == "mainstay-testkit" && !dev {
                forbidden
                    .push(format!("{from} -> {to}: the testkit is only ever a dev-dependency"));
            }
            if let (Some(a), Some(b), false) = (tier(package), tiers.get(to).copied(), dev)
                && b >= a
                && !SAME_TIER.contains(&(from, to))
            {
                forbidden.push(format!("{from} (tier {a}) -> {to} (tier {b})"));
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden edges:\n  {}", forbidden.join("\n  "));
}

/// A crate in `crates/` says its tier, or that it is for development only.
#[test]
fn every_crate_says_its_tier() {
    for package in packages() {
        let path = package["manifest_path"].as_str().unwrap();
        if path.contains("/crates/") {
            let stated =
                tier(&package).is_some() || package["metadata"]["mainstay"]["dev-only"] == true;
            assert!(stated, "{path} lacks [package.metadata.mainstay] tier = N");
        }
    }
}

#[test]
fn files_open_with_what_they_are_for_and_are_short() {
    let mut wrong = Vec::new();
    for file in sources(&root()) {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not open with //!", file.display()));
        }
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines, at most {LINES_MAX}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in folder.read_dir().unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "data" && !name.starts_with('.') {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out
}
