//! A path's template and what goes into it: whatever an argument holds, it stays one segment.

use std::fmt::Write;

use mainstay_core::{Code, Error, Result};

/// `template` with each `{name}` replaced. Errors: HTTP-037.
pub(super) fn fill(template: &str, args: &[(&'static str, String)]) -> Result<String> {
    let wrong = |why: String| Error::new(Code::ServiceCall, format!("{template}: {why}"));
    if !template.starts_with('/') {
        return Err(wrong("a path begins with /".to_owned()));
    }
    let mut path = String::with_capacity(template.len() + 16);
    let (mut rest, mut used) = (template, 0);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(wrong("a { is not closed".to_owned()));
        };
        let Some((_, value)) = args.iter().find(|(given, _)| *given == name) else {
            return Err(wrong(format!("{{{name}}} is not given")));
        };
        // Encoded or not, many take these for the folder itself or the one above.
        if matches!(value.as_str(), "" | "." | "..") {
            return Err(wrong(format!("{{{name}}} is empty or made of dots")));
        }
        path += before;
        encode(value, &mut path);
        (rest, used) = (after, used + 1);
    }
    path += rest;
    if used < args.len() {
        return Err(wrong(format!("{} arguments are given, and it takes {used}", args.len())));
    }
    Ok(path)
}

/// Adds `name=value` to a path.
pub(super) fn add_query(path: &mut String, name: &str, value: &str) {
    path.push(if path.contains('?') { '&' } else { '?' });
    encode(name, path);
    path.push('=');
    encode(value, path);
}

/// All but RFC 3986's unreserved characters.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte as char);
            }
            // Writing to a string can't fail.
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_stays_one_segment() {
        let fill = |value: &str| fill("/stock/{sku}/now", &[("sku", value.to_owned())]);
        assert_eq!(fill("a-1").unwrap(), "/stock/a-1/now");
        assert_eq!(fill("../x?y#z é").unwrap(), "/stock/..%2Fx%3Fy%23z%20%C3%A9/now");
        for wrong in ["", ".", ".."] {
            assert_eq!(fill(wrong).unwrap_err().code(), Code::ServiceCall);
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_told() {
        let told = |template, args: &[(&'static str, String)]| {
            fill(template, args).unwrap_err().to_string()
        };
        assert_eq!(told("/a/{b}", &[]), "HTTP-037: /a/{b}: {b} is not given");
        assert_eq!(told("a", &[]), "HTTP-037: a: a path begins with /");
        assert_eq!(told("/a/{b", &[]), "HTTP-037: /a/{b: a { is not closed");
        let args = [("b", "1".to_owned())];
        assert_eq!(told("/a", &args), "HTTP-037: /a: 1 arguments are given, and it takes 0");
    }

    #[test]
    fn a_query_is_encoded() {
        let mut path = "/a".to_owned();
        add_query(&mut path, "q", "x&y");
        add_query(&mut path, "n", "1");
        assert_eq!(path, "/a?q=x%26y&n=1");
    }
}
