//! The one cookie that is read and written here. It is no jar.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use mainstay_core::token::Tokens;

/// Cookies of that name that are looked at: a browser may have several, of other paths.
const READ_MAX: usize = 4;

pub(super) fn is_name(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(fine)
}

/// What the request's cookies of that name say. What is not understood is passed over.
pub(super) fn read(headers: &HeaderMap, name: &str) -> Tokens {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut all = Tokens::default();
    for (_, value) in pairs.filter(|(own, _)| *own == name).take(READ_MAX) {
        match value.parse::<Tokens>() {
            Ok(tokens) => tokens.iter().for_each(|token| all.add(token.clone())),
            Err(error) => tracing::debug!(code = %error.code(), "a cookie is passed over: {error}"),
        }
    }
    all
}

pub(super) fn write(
    headers: &mut HeaderMap,
    name: &str,
    tokens: &Tokens,
    max_age: Duration,
    secure: bool,
) {
    let secure = if secure { "; Secure" } else { "" };
    let age = max_age.as_secs();
    let cookie = format!("{name}={tokens}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::try_from(cookie) {
        headers.append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_among_others_and_nonsense_is_passed_over() {
        let mut headers = HeaderMap::new();
        let lines = ["a=1; t=pg.1.0/5;b", "xt=pg.9.0/9; t=nonsense; t=pg.2.0/3~pg.1.0/4", "t"];
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        assert_eq!(read(&headers, "t").to_string(), "pg.1.0/5~pg.2.0/3");
        assert!(read(&headers, "none").is_empty());
        assert!(is_name("mainstay_token") && !is_name("") && !is_name("a b") && !is_name("a=b"));
    }
}
