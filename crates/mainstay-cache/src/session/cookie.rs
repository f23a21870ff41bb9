//! The cookie: read from a `Cookie` header, written as a `Set-Cookie` header. It believes nothing it reads.

use std::fmt::Write as _;

/// How many cookies of the name are looked at: another path or host may have set one of the same name.
const SAME_NAME_MAX: usize = 4;

/// Whether requests from other sites bring the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Where somebody follows a link to here, and else not.
    #[default]
    Lax,
    /// Never: who follows a link to here is a stranger at first.
    Strict,
    /// Always: other sites may send requests in the user's name, so guard against it otherwise.
    None,
}

/// A cookie's name and attributes.
pub(super) struct Cookie {
    /// With its prefix.
    pub(super) name: String,
    attributes: String,
}

impl Cookie {
    pub(super) fn new(name: &str, secure: bool, same_site: SameSite) -> Self {
        let prefix = if secure { "__Host-" } else { "" };
        let mut attributes = format!("HttpOnly; SameSite={same_site:?}");
        if secure {
            attributes += "; Secure";
        }
        Self { name: format!("{prefix}{name}"), attributes }
    }

    /// The values that a `Cookie` header has for it.
    pub(super) fn values<'h>(&self, header: &'h str) -> impl Iterator<Item = &'h str> {
        let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(name, _)| *name == self.name).map(|(_, v)| v).take(SAME_NAME_MAX)
    }

    pub(super) fn set(&self, value: &str, max_age_s: i64) -> String {
        let mut out = format!("{}={value}; Path=/; Max-Age={}; ", self.name, max_age_s.max(0));
        let _ = out.write_str(&self.attributes);
        out
    }

    /// Takes the cookie away.
    pub(super) fn removal(&self) -> String {
        self.set("", 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secure_cookie_is_the_host_s_own() {
        let cookie = Cookie::new("session", true, SameSite::Lax);
        assert_eq!(
            cookie.set("v", 60),
            "__Host-session=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            Cookie::new("s", false, SameSite::Strict).removal(),
            "s=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn it_is_found_among_others_by_its_whole_name() {
        let cookie = Cookie::new("a", false, SameSite::Lax);
        let found: Vec<_> = cookie.values("x=1;a=2; aa=3;  a=4=5 ;b; a").collect();
        assert_eq!(found, ["2", "4=5"]);
        assert_eq!(cookie.values(&"a=1;".repeat(100)).count(), SAME_NAME_MAX);
    }
}
