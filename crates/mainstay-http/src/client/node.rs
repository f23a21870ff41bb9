//! One address as proxies write it: with or without port and brackets. Names, `unknown` and
//! obfuscated identifiers are no addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let found = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            if !after.is_empty() && !is_port(after.strip_prefix(':')?) {
                return None;
            }
            IpAddr::V6(inside.parse::<Ipv6Addr>().ok()?)
        }
        // Several colons and no brackets: an IPv6 address, which has no port then.
        None => match text.split_once(':') {
            Some((host, port)) if is_port(port) => IpAddr::V4(host.parse::<Ipv4Addr>().ok()?),
            _ => text.parse().ok()?,
        },
    };
    Some(found.to_canonical())
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The address in an element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
pub(super) fn forwarded(element: &str) -> Option<IpAddr> {
    // Nothing that a proxy writes here needs an escape; with one, quotes can't be told apart from the
    // right.
    if element.contains('\\') {
        return None;
    }
    let mut found = None;
    for pair in element.split(';') {
        let Some((name, value)) = pair.trim().split_once('=') else { continue };
        if name.eq_ignore_ascii_case("for") {
            // Twice is not allowed, and whoever reads the other one would see another client.
            if found.is_some() {
                return None;
            }
            let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            found = Some(address(unquoted.unwrap_or(value))?);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_ports_and_brackets() {
        let read = |text: &str| address(text).map(|a| a.to_string());
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:8080", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        let wrong = [
            "",
            "unknown",
            "_hidden",
            "localhost",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:x",
            "1.2.3.4:123456",
            "[2001:db8::1",
            "[192.0.2.1]",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "fe80::1%eth0",
            "192.0.2.01",
            "192.0.2.1 192.0.2.2",
            "\"192.0.2.1\"",
        ];
        for text in wrong {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn elements_of_forwarded_are_read() {
        let read = |text: &str| forwarded(text).map(|a| a.to_string());
        assert_eq!(read("for=192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(
            read("proto=https; FOR=\"[2001:db8::1]:4711\";by=_x").as_deref(),
            Some("2001:db8::1")
        );
        for text in [
            "",
            "by=192.0.2.1",
            "for=unknown",
            "for=_x",
            "for=192.0.2.1;for=192.0.2.2",
            r#"for="1\.2""#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
