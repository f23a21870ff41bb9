//! Reads Redis' URLs: what is wrong with one is told without repeating any of it, since a password may be
//! anywhere in it. It connects to nothing.

use mainstay_core::{Code, Error, Result};
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

/// What connects there, and its place for people: host, port and database.
pub(super) fn open(url: &str) -> Result<(Client, String)> {
    let (base, query) = url.trim().split_once('?').unwrap_or((url.trim(), ""));
    let tls = match base.split_once("://") {
        Some(("redis", _)) => false,
        Some(("rediss", _)) => true,
        _ => return Err(wrong("it begins with neither redis:// nor rediss://")),
    };
    if base.contains('#') {
        return Err(wrong("it has a `#`"));
    }
    let authorities = authorities(query)?;
    let info = base
        .into_connection_info()
        .map_err(|_| wrong("the user, the host, the port or the database can't be read"))?;
    let login = info.redis_settings();
    if login.username().is_some() && login.password().is_none() {
        return Err(wrong("there is no `:` before the password"));
    }
    let place = place(&info)?;
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let client = if tls {
        // Where another thread chose one in between, that one serves.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: authorities };
        Client::build_with_tls(info, certificates)
            .map_err(|_| wrong("its `cacertfile` holds no certificates"))?
    } else {
        Client::open(info).map_err(|_| wrong("its address can't be used"))?
    };
    Ok((client, place))
}

fn place(info: &ConnectionInfo) -> Result<String> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            Ok(format!("Redis at {host}:{port}/{}", info.redis_settings().db()))
        }
        _ => Err(wrong("it names no host")),
    }
}

/// The certificates named by `cacertfile`.
fn authorities(query: &str) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let Some(("cacertfile", path)) = parameter.split_once('=') else {
            return Err(wrong("what follows `?` is not `cacertfile=PATH`"));
        };
        // `/` is what is escaped in paths.
        let path = path.replace("%2F", "/").replace("%2f", "/").replace("%20", " ");
        let read = std::fs::read(path).map_err(|error| {
            Error::new(Code::BrokerUrl, "the Redis URL's `cacertfile` can't be read")
                .cause(error)
                .fix("name a readable file of PEM certificates")
        });
        found = Some(read?);
    }
    Ok(found)
}

fn wrong(why: &'static str) -> Error {
    Error::new(Code::BrokerUrl, "the Redis URL is malformed").why(why).fix(
        "write redis://:PASSWORD@HOST:6379/0, or rediss:// for TLS; in a password, `@` as %40, `/` as %2F, \
         `:` as %3A, `?` as %3F, `#` as %23",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_has_no_user_and_no_password() {
        let place = |url| open(url).unwrap().1;
        assert_eq!(place("redis://:s3cret@h/3"), "Redis at h:6379/3");
        assert_eq!(place("redis://ann:s%403cret@[::1]:6380"), "Redis at [::1]:6380/0");
    }

    #[test]
    fn mistakes_are_told_without_the_password() {
        for url in [
            "",
            "u:s3cret@h",
            "http://u:s3cret@h",
            "s3cret://h",
            "redis://s3cret@h",
            "redis://:s3cret@",
            "redis://:s3cret@h:port",
            "redis://h/s3cret",
            "redis://:s3cret@h?s3cret=1",
            "redis://:s3cret#x@h",
            "rediss://:s3cret@h?cacertfile=/nowhere.pem",
        ] {
            let error = open(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert_eq!(error.code(), Code::BrokerUrl, "{url}");
            assert!(!error.report().contains("s3cret"), "{error:?}");
        }
    }
}
