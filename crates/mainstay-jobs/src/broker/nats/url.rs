//! Reads NATS' URLs: what is wrong with one is told without repeating its password. It connects to
//! nothing.

use std::path::PathBuf;

use async_nats::ServerAddr;
use mainstay_core::{Code, Error, Result};

const PORT: u16 = 4222;
const PARAMETERS: &[&str] = &["cacertfile", "credentials", "name", "replicas"];

/// Where the servers are, and as whom they are spoken to.
#[derive(Clone)]
pub(super) struct Target {
    /// Those of one cluster.
    pub(super) servers: Vec<ServerAddr>,
    pub(super) login: Login,
    pub(super) tls: bool,
    /// For people: without password and token.
    pub(super) place: String,
    /// Certificates to trust instead of the machine's own.
    pub(super) authorities: Option<PathBuf>,
    /// How the connection is called in the server's own lists.
    pub(super) name: String,
    /// How many servers keep each message; what fits the server if not given.
    pub(super) replicas: Option<usize>,
}

/// As whom.
#[derive(Clone)]
pub(super) enum Login {
    None,
    Token(String),
    User {
        user: String,
        password: String,
    },
    /// A file with a JWT and its key.
    File(PathBuf),
}

/// Reads `nats[tls]://[USER:PASSWORD@|TOKEN@]HOST[:PORT][,HOST[:PORT]]...[?PARAMETERS]`.
///
/// Errors: MSG-001.
pub(super) fn parse(url: &str) -> Result<Target> {
    let (scheme, rest) = url
        .trim()
        .split_once("://")
        .ok_or_else(|| wrong("`://` is missing after the scheme, such as nats://"))?;
    let tls = match scheme {
        "nats" => false,
        "tls" => true,
        // Whatever else stands there may hold a password.
        _ => return Err(wrong("the scheme is neither `nats` nor `tls`")),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may hold an `@` that was not escaped, and a host may not.
    let (login, hosts) = match rest.rsplit_once('@') {
        Some((login, hosts)) => (login_of(login)?, hosts),
        None => (Login::None, rest),
    };
    let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
    if hosts.contains('/') {
        return Err(wrong("a path follows the host")
            .fix("in a password, write `/` as %2F, `@` as %40, `:` as %3A, `?` as %3F"));
    }
    let servers = hosts.split(',').map(|host| server(scheme, host)).collect::<Result<Vec<_>>>()?;
    let shown = match &login {
        Login::User { user, .. } => format!("{user}@"),
        _ => String::new(),
    };
    let mut target = Target {
        servers,
        login,
        tls,
        place: format!("{scheme}://{shown}{hosts}"),
        authorities: None,
        name: "mainstay".to_owned(),
        replicas: None,
    };
    parameters(query, &mut target)?;
    Ok(target)
}

impl Target {
    /// Whether the files that it names can be read.
    ///
    /// Errors: MSG-001.
    pub(super) fn check(&self) -> Result<()> {
        let credentials = match &self.login {
            Login::File(path) => Some(path),
            _ => None,
        };
        for (parameter, path) in
            [("cacertfile", self.authorities.as_ref()), ("credentials", credentials)]
        {
            let Some(path) = path else { continue };
            std::fs::File::open(path).map_err(|error| {
                let what = format!("can't read `{parameter}` {}", path.display());
                Error::new(Code::BrokerUrl, what).cause(error).fix("name a readable file")
            })?;
        }
        Ok(())
    }
}

fn login_of(login: &str) -> Result<Login> {
    Ok(match login.split_once(':') {
        Some(("", _)) => return Err(wrong("the user before `:` is missing")),
        Some((user, password)) => Login::User {
            user: decoded(user, "the user")?,
            password: decoded(password, "the password")?,
        },
        None if login.is_empty() => return Err(wrong("the user before `@` is missing")),
        None => Login::Token(decoded(login, "the token")?),
    })
}

fn server(scheme: &str, host: &str) -> Result<ServerAddr> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, after) =
                rest.split_once(']').ok_or_else(|| wrong("the host's `[` has no `]`"))?;
            (format!("[{name}]"), after.strip_prefix(':'))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port)),
            None => (host.to_owned(), None),
        },
    };
    if name.is_empty() {
        return Err(wrong("the host is missing"));
    }
    let port = match port {
        None => PORT,
        Some(port) => port.parse().ok().filter(|p| *p != 0).ok_or_else(|| {
            wrong("the port is not a number from 1 to 65535")
                .fix("in a password, write `@` as %40, `/` as %2F, `:` as %3A, `?` as %3F")
        })?,
    };
    // Its own words repeat what it was given.
    format!("{scheme}://{name}:{port}").parse().map_err(|_| wrong("the host is not a name"))
}

fn parameters(query: &str, target: &mut Target) -> Result<()> {
    for parameter in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.contains(['@', '/', ':']) {
            return Err(wrong("what follows `?` is not a list of parameters")
                .fix("in a password, write `?` as %3F, `@` as %40, `/` as %2F"));
        }
        let value = decoded(value, "a parameter")?;
        match name {
            "cacertfile" => target.authorities = Some(value.into()),
            "credentials" if matches!(target.login, Login::None) => {
                target.login = Login::File(value.into());
            }
            "credentials" => return Err(wrong("there are both a user and `credentials`")),
            "name" => target.name = value,
            "replicas" => {
                let replicas = value.parse().ok().filter(|r| (1..=5).contains(r));
                let wrong = || wrong("`replicas` is not a number from 1 to 5");
                target.replicas = Some(replicas.ok_or_else(wrong)?);
            }
            _ => {
                return Err(wrong("a parameter after `?` is unknown")
                    .why(format!("the parameters are {}", PARAMETERS.join(", "))));
            }
        }
    }
    Ok(())
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
    Error::new(Code::BrokerUrl, format!("the NATS URL is malformed: {what}"))
        .fix("write nats://USER:PASSWORD@HOST:4222, or tls:// for TLS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let target = parse("tls://ann:p%40ss@[::1]:5222,b?replicas=3&name=shop").unwrap();
        let Login::User { user, password } = target.login else { panic!("no user") };
        assert_eq!((user.as_str(), password.as_str()), ("ann", "p@ss"));
        let ports: Vec<_> = target.servers.iter().map(ServerAddr::port).collect();
        assert_eq!(ports, [5222, 4222]);
        assert!(target.tls);
        assert_eq!((target.replicas, target.name.as_str()), (Some(3), "shop"));
        assert_eq!(target.place, "tls://ann@[::1]:5222,b");
    }

    #[test]
    fn a_token_is_not_shown() {
        let target = parse("nats://s3cret@h").unwrap();
        assert!(matches!(target.login, Login::Token(token) if token == "s3cret"));
        assert_eq!(target.place, "nats://h");
    }

    #[test]
    fn an_at_sign_in_the_password_is_no_host() {
        let Login::User { password, .. } = parse("nats://u:s3@cret@h:1/").unwrap().login else {
            panic!("no user")
        };
        assert_eq!(password, "s3@cret");
    }

    #[test]
    fn mistakes_are_told_by_their_place_and_without_the_password() {
        for (url, part) in [
            ("", "`://` is missing"),
            ("u:s3cret@h", "`://` is missing"),
            ("http://u:s3cret@h", "the scheme is neither"),
            ("s3cret://h", "the scheme is neither"),
            ("nats://u:s3cret@", "the host is missing"),
            ("nats://u:s3cret@:4222", "the host is missing"),
            ("nats://u:s3cret@h,", "the host is missing"),
            ("nats://u:s3cret@h:port", "the port is not a number"),
            ("nats://u:s3cret@h:0", "the port is not a number"),
            ("nats://u:5/s3cret", "a path follows the host"),
            ("nats://:s3cret@h", "the user before `:` is missing"),
            ("nats://@h", "the user before `@` is missing"),
            ("nats://u:s3cret%zz@h", "in the password, `%` is not followed"),
            ("nats://u:s3cret%ff@h", "the password is not UTF-8"),
            ("nats://u:s3cret@[::1", "has no `]`"),
            ("nats://u:s3cret@h h", "the host is not a name"),
            ("nats://u:s3cret@h?replicas=6", "`replicas` is not a number"),
            ("nats://u:s3cret@h?s3cret=1", "a parameter after `?` is unknown"),
            ("nats://u:s3cret@h?credentials=/f", "both a user and `credentials`"),
            ("nats://u:x?s3cret@h", "the port is not a number"),
            ("nats://h?s3cret@h", "what follows `?` is not a list"),
        ] {
            let error = parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert_eq!(error.code(), Code::BrokerUrl, "{url}");
            assert!(error.report().contains(part), "{url}: {error:?}");
            assert!(!error.report().contains("s3cret"), "{error:?}");
        }
    }
}
