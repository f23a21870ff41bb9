//! How changelogs name files: from the root of them all, or from the file that names them.

use mainstay_core::Result;

use super::location::Location;

/// The path from the root that `path` means in the file `from`, with `/` between its parts and no
/// `.` or `..`.
pub(super) fn resolve(path: &str, relative: bool, from: &str, at: &Location) -> Result<String> {
    let path = path.trim().replace('\\', "/");
    let path = without_classpath(&path);
    let mut parts: Vec<&str> = match from.rsplit_once('/') {
        Some((folder, _)) if relative => folder.split('/').collect(),
        _ => Vec::new(),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(at
                        .error(format_args!("'{path}' is outside of the changelogs"))
                        .fix("keep the files below the folder of the first one"));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// A file as the history is asked for it, however it is written there or in a changelog: Liquibases of
/// several versions, on several systems, name the same file in several ways.
pub(crate) fn normal(path: &str) -> String {
    let path = path.trim().replace('\\', "/");
    let path = without_classpath(&path);
    let drive = path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    let path = path.get(1..).and_then(|p| p.strip_prefix(':')).filter(|_| drive).unwrap_or(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn without_classpath(path: &str) -> &str {
    path.strip_prefix("classpath*:").or(path.strip_prefix("classpath:")).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_name() {
        for written in [
            "db/a.xml",
            "/db/a.xml",
            "./db/a.xml",
            "db\\a.xml",
            "classpath:db/a.xml",
            "classpath*:/db//a.xml",
            "C:\\db\\a.xml",
            "db/x/../a.xml",
        ] {
            assert_eq!(normal(written), "db/a.xml", "{written}");
        }
        assert_eq!(normal("../a.xml"), "../a.xml");
    }

    #[test]
    fn paths_lead_from_the_root() {
        let at = Location::new(&"db/inc.xml".into(), 1);
        let path = |path, relative| resolve(path, relative, "db/inc.xml", &at);
        assert_eq!(path("sub/rel.xml", true).unwrap(), "db/sub/rel.xml");
        assert_eq!(path("../top.xml", true).unwrap(), "top.xml");
        assert_eq!(path("./db//dot.xml", false).unwrap(), "db/dot.xml");
        assert_eq!(path("/db/slash.xml", false).unwrap(), "db/slash.xml");
        assert_eq!(path("classpath:db\\cp.xml", false).unwrap(), "db/cp.xml");
        assert!(path("../../etc/passwd", true).unwrap_err().what().contains("outside"));
    }
}
