//! Five ports that are free now: a port that is taken is told at once, and not by a service that dies of it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use mainstay::{Code, Error, Result};

/// `first` and the four after it, or any where it is 0. Errors: APP-002.
pub(super) fn free(host: &str, first: u16) -> Result<[u16; 5]> {
    // All are held until all are known, so that none is found twice.
    let mut held = Vec::with_capacity(5);
    let mut ports = [0; 5];
    for (port, n) in ports.iter_mut().zip(0_u16..) {
        let wanted = match first {
            0 => 0,
            _ => first.checked_add(n).ok_or_else(|| {
                Error::new(Code::Listen, format!("there are no five ports from {first} on"))
            })?,
        };
        let taken = |e: std::io::Error| {
            let why = match e.kind() {
                ErrorKind::AddrInUse => "another process listens there".to_owned(),
                _ => e.to_string(),
            };
            let fix = "choose another first of five with --port or PORT (0 takes free ones)";
            Error::new(Code::Listen, format!("can't listen on {host}:{wanted}")).why(why).fix(fix)
        };
        let listener = TcpListener::bind((host, wanted)).map_err(taken)?;
        *port = listener.local_addr().map_err(taken)?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// One that nobody has, of 127.0.0.1. Errors: APP-002.
pub(super) fn any() -> Result<u16> {
    let none = |e| Error::new(Code::Listen, "there is no free port on 127.0.0.1").cause(e);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(none)?;
    Ok(listener.local_addr().map_err(none)?.port())
}

/// Where a service that listens on `host` is reached from this machine.
pub(super) fn url(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(any) if any.is_unspecified() => {
            let own: IpAddr = match any {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            format!("http://{}", SocketAddr::new(own, port))
        }
        Ok(address) => format!("http://{}", SocketAddr::new(address, port)),
        Err(_) => format!("http://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_five_or_those_from_the_first_on() {
        let any = free("127.0.0.1", 0).unwrap();
        assert!(any.iter().all(|port| *port > 0));
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = free("127.0.0.1", port).unwrap_err();
        assert_eq!(error.code(), Code::Listen);
        assert!(error.what().ends_with(&port.to_string()), "{error:?}");
        assert_eq!(free("127.0.0.1", 65_533).unwrap_err().code(), Code::Listen);
    }

    #[test]
    fn a_url_is_one_that_can_be_asked() {
        assert_eq!(url("127.0.0.1", 80), "http://127.0.0.1:80");
        assert_eq!(url("0.0.0.0", 80), "http://127.0.0.1:80");
        assert_eq!(url("::", 80), "http://[::1]:80");
        assert_eq!(url("shop.local", 80), "http://shop.local:80");
    }
}
