//! Reads RabbitMQ's URLs: what is wrong with one is told without repeating its password. It connects
//! to nothing.

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use mainstay_core::{Code, Error, Result};

/// Heartbeats a URL does not speak of, in seconds: a frozen broker is noticed after twice that.
const HEARTBEAT_S: u16 = 5;
const PARAMETERS: &[&str] = &["heartbeat", "cacertfile", "name"];

/// Where a broker is, and as whom it is spoken to.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) uri: AMQPUri,
    /// For people: without the password.
    pub(super) place: String,
    /// PEM certificates to trust besides the machine's own.
    pub(super) authorities: Option<String>,
    /// How the connection is called in the broker's own lists.
    pub(super) name: Option<String>,
}

/// Reads `amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST][?heartbeat=S&cacertfile=PATH&name=TEXT]`.
///
/// Errors: MSG-001.
pub(super) fn parse(url: &str) -> Result<Target> {
    let (scheme, rest) = url
        .trim()
        .split_once("://")
        .ok_or_else(|| wrong("`://` is missing after the scheme, such as amqp://"))?;
    let scheme = match scheme {
        "amqp" => AMQPScheme::AMQP,
        "amqps" => AMQPScheme::AMQPS,
        // Whatever else stands there may hold a password.
        _ => return Err(wrong("the scheme is neither `amqp` nor `amqps`")),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may hold an `@` that was not escaped, and a virtual host may not hold one.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = host_and_port(authority, scheme.default_port())?;
    let (username, password) = user_and_password(user)?;
    let vhost = match decoded(vhost, "the virtual host")? {
        empty if empty.is_empty() => "/".to_owned(),
        vhost => vhost,
    };
    let shown = if vhost == "/" { String::new() } else { format!("/{vhost}") };
    let place = format!("{scheme}://{username}@{authority}{shown}");
    let mut target = Target {
        uri: AMQPUri {
            scheme,
            authority: AMQPAuthority { userinfo: AMQPUserInfo { username, password }, host, port },
            vhost,
            query: AMQPQueryString { heartbeat: Some(HEARTBEAT_S), ..Default::default() },
        },
        place,
        authorities: None,
        name: None,
    };
    parameters(query, &mut target)?;
    Ok(target)
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) =
            rest.split_once(']').ok_or_else(|| wrong("the host's `[` has no `]`"))?;
        (host, after.strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err(wrong("the host is missing"));
    }
    let port = match port {
        None => default,
        Some(port) => port.parse().ok().filter(|p| *p != 0).ok_or_else(|| {
            wrong("the port is not a number from 1 to 65535")
                .fix("in a password, write `@` as %40, `/` as %2F, `:` as %3A, `?` as %3F")
        })?,
    };
    Ok((decoded(host, "the host")?, port))
}

fn user_and_password(user: Option<&str>) -> Result<(String, String)> {
    let Some(user) = user else { return Ok(("guest".to_owned(), "guest".to_owned())) };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    if user.is_empty() {
        return Err(wrong("the user before `@` is missing"));
    }
    Ok((decoded(user, "the user")?, decoded(password, "the password")?))
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
            "heartbeat" => {
                let seconds = value.parse().ok().filter(|s| (1..=600).contains(s));
                target.uri.query.heartbeat = Some(seconds.ok_or_else(|| {
                    wrong("`heartbeat` is not a number of seconds from 1 to 600")
                })?);
            }
            "cacertfile" => target.authorities = Some(certificates(&value)?),
            "name" => target.name = Some(value),
            unknown => {
                return Err(wrong(&format!("unknown parameter `{unknown}`"))
                    .why(format!("the parameters are {}", PARAMETERS.join(", "))));
            }
        }
    }
    Ok(())
}

fn certificates(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        wrong(&format!("can't read the `cacertfile` {path}"))
            .cause(error)
            .fix("name a readable file of PEM certificates")
    })
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
    Error::new(Code::BrokerUrl, format!("the RabbitMQ URL is malformed: {what}"))
        .fix("write amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps:// for TLS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let target = parse("amqps://ann:p%40ss@[::1]:5671/a%2Fb?heartbeat=9&name=shop").unwrap();
        assert_eq!(target.uri.authority.userinfo.password, "p@ss");
        assert_eq!((target.uri.authority.host.as_str(), target.uri.authority.port), ("::1", 5671));
        assert_eq!(target.uri.vhost, "a/b");
        assert_eq!(target.uri.query.heartbeat, Some(9));
        assert_eq!(target.name.as_deref(), Some("shop"));
        assert_eq!(target.place, "amqps://ann@[::1]:5671/a/b");
    }

    #[test]
    fn what_is_left_out_has_the_usual_value() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2F"] {
            let target = parse(url).unwrap();
            assert_eq!((target.uri.vhost.as_str(), target.uri.authority.port), ("/", 5672));
            assert_eq!(target.uri.authority.userinfo.username, "guest");
            assert_eq!(target.uri.query.heartbeat, Some(HEARTBEAT_S));
        }
        assert_eq!(parse("amqps://h").unwrap().uri.authority.port, 5671);
    }

    #[test]
    fn an_at_sign_in_the_password_is_no_host() {
        let target = parse("amqp://u:s3@cret@h:1/v").unwrap();
        assert_eq!(target.uri.authority.userinfo.password, "s3@cret");
        assert_eq!(target.uri.authority.host, "h");
    }

    #[test]
    fn mistakes_are_told_by_their_place_and_without_the_password() {
        for (url, part) in [
            ("", "`://` is missing"),
            ("u:s3cret@h", "`://` is missing"),
            ("http://u:s3cret@h", "the scheme is neither"),
            ("s3cret://h", "the scheme is neither"),
            ("amqp://u:s3cret@", "the host is missing"),
            ("amqp://u:s3cret@:5672", "the host is missing"),
            ("amqp://u:s3cret@h:port/", "the port is not a number"),
            ("amqp://u:s3cret@h:0", "the port is not a number"),
            ("amqp://u:s3cret@h:70000", "the port is not a number"),
            ("amqp://:s3cret@h", "the user before `@` is missing"),
            ("amqp://u:s3cret%zz@h", "in the password, `%` is not followed"),
            ("amqp://u:s3cret%4@h", "in the password, `%` is not followed"),
            ("amqp://u:s3cret%ff@h", "the password is not UTF-8"),
            ("amqp://u:s3cret@[::1", "has no `]`"),
            ("amqp://u:s3cret@h?heartbeat=0", "`heartbeat` is not a number of seconds"),
            ("amqps://u:s3cret@h?cacertfile=/nowhere", "can't read the `cacertfile` /nowhere"),
            ("amqp://u:s3cret@h?hartbeat=1", "unknown parameter `hartbeat`"),
            ("amqp://u:5?s3cret@h", "what follows `?` is not a list"),
        ] {
            let error = parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert_eq!(error.code(), Code::BrokerUrl, "{url}");
            assert!(error.report().contains(part), "{url}: {error:?}");
            assert!(!error.report().contains("s3cret"), "{error:?}");
        }
    }
}
