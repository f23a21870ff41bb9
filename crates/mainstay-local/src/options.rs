//! What a private server is started with.

use std::path::PathBuf;

use mainstay_core::Result;

use crate::server::free_port;

/// Where a private server lives and what it offers. By default: durable, on a Unix socket alone.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its folder: data, socket, log and lock are below it. Created if missing.
    pub folder: PathBuf,
    /// Also listens on 127.0.0.1, on a free port, for users with this password.
    pub tcp_password: Option<String>,
    /// The port, where it must be a certain one, as after a restart; default: a free one.
    pub port: Option<u16>,
    /// Offers TLS on TCP.
    pub tls: Option<Tls>,
    /// Whether a commit survives a crash of the machine. `false` is for tests: several times
    /// faster, and the data may be lost with the machine (not with the process).
    pub durable: bool,
    /// Whether the folder is emptied after the server's end. Default false.
    pub temporary: bool,
    /// Further settings, `name=value`, in the server's own words.
    pub settings: Vec<String>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Tls {
    /// The server's certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The authority that signed it.
    pub authority: String,
}

impl Options {
    /// In `folder`, with the defaults.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            tcp_password: None,
            port: None,
            tls: None,
            durable: true,
            temporary: false,
            settings: Vec::new(),
        }
    }
}

impl Options {
    /// The port to listen on, where there is a password to ask for.
    pub(crate) fn tcp_port(&self) -> Result<Option<u16>> {
        match &self.tcp_password {
            None => Ok(None),
            Some(_) => self.port.map_or_else(free_port, Ok).map(Some),
        }
    }
}

/// Without the key.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
