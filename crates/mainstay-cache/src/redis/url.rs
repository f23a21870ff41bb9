//! Opens a client for a URL, and says what is wrong with one without repeating its password.

use mainstay_core::{Code, Error, Result};
use redis::{Client, IntoConnectionInfo};

/// The client, and its place for people. It connects to nothing.
///
/// Errors: CACHE-004.
pub(super) fn open(url: &str) -> Result<(Client, String)> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    if scheme != "redis" && scheme != "rediss" {
        return Err(wrong().why("the scheme is neither `redis` nor `rediss`"));
    }
    if scheme == "rediss" && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another may have been quicker, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
    let address = address.split_once('?').map_or(address, |(address, _)| address);
    let info = url.into_connection_info().map_err(|_| wrong())?;
    let client = Client::open(info).map_err(|_| wrong())?;
    Ok((client, format!("{scheme}://{address}")))
}

fn wrong() -> Error {
    Error::new(Code::CacheOption, "the Redis URL is malformed")
        .fix("write redis://:PASSWORD@HOST:6379/0, or rediss:// for TLS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_of_without_its_password() {
        let (_, place) = open("redis://:s3cret@127.0.0.1:6380/2").unwrap();
        assert_eq!(place, "redis://127.0.0.1:6380/2");
        for url in ["s3cret", "http://:s3cret@h", "redis://:s3cret@h:port"] {
            let error = open(url).err().unwrap();
            assert_eq!(error.code(), Code::CacheOption);
            assert!(!error.report().contains("s3cret"), "{error:?}");
        }
    }
}
