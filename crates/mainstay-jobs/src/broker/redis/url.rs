//! Reads Redis' URLs: what is wrong with one is told without repeating its password. It connects to
//! nothing.

use std::path::PathBuf;

use mainstay_core::{Code, Error, Result};
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

const PORT: u16 = 6379;
const PARAMETERS: &[&str] = &["cacertfile"];

/// Where a server is, and as whom it is spoken to.
#[derive(Clone)]
pub(super) struct Target {
    host: String,
    port: u16,
    tls: bool,
    user: Option<String>,
    password: Option<String>,
    database: i64,
    /// Certificates to trust instead of the machine's own.
    authorities: Option<PathBuf>,
    /// For people: without the password.
    pub(super) place: String,
}

/// Reads `redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?cacertfile=PATH]`.
///
/// Errors: MSG-001.
pub(super) fn parse(url: &str) -> Result<Target> {
    let (scheme, rest) = url
        .trim()
        .split_once("://")
        .ok_or_else(|| wrong("`://` is missing after the scheme, such as redis://"))?;
    let tls = match scheme {
        "redis" => false,
        "rediss" => true,
        // Whatever else stands there may hold a password.
        _ => return Err(wrong("the scheme is neither `redis` nor `rediss`")),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may hold an `@` that was not escaped, and a host may not.
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (Some(login), rest),
        None => (None, rest),
    };
    let (user, password) = login.map(login_of).transpose()?.unwrap_or_default();
    let (address, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = host_and_port(address)?;
    let database = match database {
        "" => 0,
        number => number.parse().ok().filter(|n| (0..=1_000_000).contains(n)).ok_or_else(|| {
            wrong("what follows the host is not the number of a database")
                .fix("in a password, write `/` as %2F, `@` as %40, `:` as %3A, `?` as %3F")
        })?,
    };
    let shown = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let place = format!("{scheme}://{shown}{address}/{database}");
    let mut target = Target { host, port, tls, user, password, database, authorities: None, place };
    parameters(query, &mut target)?;
    Ok(target)
}

fn login_of(login: &str) -> Result<(Option<String>, Option<String>)> {
    let (user, password) =
        login.split_once(':').ok_or_else(|| wrong("there is no `:` before the password"))?;
    let user = Some(decoded(user, "the user")?).filter(|user| !user.is_empty());
    Ok((user, Some(decoded(password, "the password")?)))
}

fn host_and_port(address: &str) -> Result<(String, u16)> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, after) =
            rest.split_once(']').ok_or_else(|| wrong("the host's `[` has no `]`"))?;
        (host, after.strip_prefix(':'))
    } else {
        match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    if host.is_empty() {
        return Err(wrong("the host is missing"));
    }
    let port = match port {
        None => PORT,
        Some(port) => port.parse().ok().filter(|p| *p != 0).ok_or_else(|| {
            wrong("the port is not a number from 1 to 65535")
                .fix("in a password, write `@` as %40, `/` as %2F, `:` as %3A, `?` as %3F")
        })?,
    };
    Ok((decoded(host, "the host")?, port))
}

fn parameters(query: &str, target: &mut Target) -> Result<()> {
    for parameter in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.contains(['@', '/', ':']) {
            return Err(wrong("what follows `?` is not a list of parameters")
                .fix("in a password, write `?` as %3F, `@` as %40, `/` as %2F"));
        }
        match name {
            "cacertfile" => target.authorities = Some(decoded(value, "a parameter")?.into()),
            _ => {
                return Err(wrong("a parameter after `?` is unknown")
                    .why(format!("the parameters are {}", PARAMETERS.join(", "))));
            }
        }
    }
    Ok(())
}

impl Target {
    /// What connects there.
    ///
    /// Errors: MSG-001 where `cacertfile` can't be used.
    pub(super) fn client(&self) -> Result<Client> {
        let (host, port) = (self.host.clone(), self.port);
        let address = if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let refused = |_| wrong("the address can't be used");
        let info: ConnectionInfo = address.into_connection_info().map_err(refused)?;
        let mut login = info.redis_settings().clone().set_db(self.database);
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = info.set_tcp_settings(tcp).set_redis_settings(login);
        if !self.tls {
            return Client::open(info).map_err(refused);
        }
        let root_cert = match &self.authorities {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|error| {
                Error::new(Code::BrokerUrl, format!("can't read `cacertfile` {}", path.display()))
                    .cause(error)
                    .fix("name a readable file of PEM certificates")
            })?),
        };
        let certificates = TlsCertificates { client_tls: None, root_cert };
        Client::build_with_tls(info, certificates).map_err(|_| {
            wrong("`cacertfile` holds no certificates").fix("name a file of PEM certificates")
        })
    }

    pub(super) fn tls(&self) -> bool {
        self.tls
    }
}

/// Undoes `%XX`.
fn decoded(text: &str, part: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, left) = match (first, after) {
            (b'%', [high, low, left @ ..]) => {
                let digit = |d: &u8| char::from(*d).to_digit(16);
                match (digit(high), digit(low)) {
                    (Some(high), Some(low)) => ((high * 16 + low) as u8, left),
                    _ => return Err(unescaped(part)),
                }
            }
            (b'%', _) => return Err(unescaped(part)),
            (byte, left) => (*byte, left),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8(bytes).map_err(|_| wrong(&format!("{part} is not UTF-8")))
}

fn unescaped(part: &str) -> Error {
    wrong(&format!("in {part}, `%` is not followed by two hexadecimal digits"))
        .fix("write a `%` itself as %25")
}

fn wrong(what: &str) -> Error {
    Error::new(Code::BrokerUrl, format!("the Redis URL is malformed: {what}"))
        .fix("write redis://:PASSWORD@HOST:6379/0, or rediss:// for TLS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let target = parse("rediss://ann:p%40ss@[::1]:6380/3?cacertfile=%2Fca.pem").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.database), ("::1", 6380, 3));
        assert_eq!(
            (target.user.as_deref(), target.password.as_deref()),
            (Some("ann"), Some("p@ss"))
        );
        assert_eq!(target.authorities, Some("/ca.pem".into()));
        assert!(target.tls);
        assert_eq!(target.place, "rediss://ann@[::1]:6380/3");
    }

    #[test]
    fn what_is_left_out_has_the_usual_value() {
        for url in ["redis://h", "redis://h/", "redis://h:6379/0"] {
            let target = parse(url).unwrap();
            assert_eq!((target.port, target.database), (6379, 0));
            assert_eq!((target.user, target.password), (None, None));
        }
        let target = parse("redis://:s3@cret@h").unwrap();
        assert_eq!((target.user, target.password.as_deref()), (None, Some("s3@cret")));
    }

    #[test]
    fn mistakes_are_told_by_their_place_and_without_the_password() {
        for (url, part) in [
            ("", "`://` is missing"),
            ("u:s3cret@h", "`://` is missing"),
            ("http://u:s3cret@h", "the scheme is neither"),
            ("s3cret://h", "the scheme is neither"),
            ("redis://s3cret@h", "there is no `:` before the password"),
            ("redis://:s3cret@", "the host is missing"),
            ("redis://:s3cret@:6379", "the host is missing"),
            ("redis://:s3cret@h:port", "the port is not a number"),
            ("redis://:s3cret@h:0", "the port is not a number"),
            ("redis://h/s3cret", "not the number of a database"),
            ("redis://:s3cret%zz@h", "in the password, `%` is not followed"),
            ("redis://:s3cret%ff@h", "the password is not UTF-8"),
            ("redis://:s3cret@[::1", "has no `]`"),
            ("redis://:s3cret@h?s3cret=1", "a parameter after `?` is unknown"),
            ("redis://h:1?s3cret@h", "what follows `?` is not a list"),
        ] {
            let error = parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert_eq!(error.code(), Code::BrokerUrl, "{url}");
            assert!(error.report().contains(part), "{url}: {error:?}");
            assert!(!error.report().contains("s3cret"), "{error:?}");
        }
    }
}
