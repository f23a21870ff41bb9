//! Whom calls over https trust: the machine's certificates, or authorities that the service names. What
//! connects without TLS is here too, so that the transport needs to know of neither.

use std::error::Error as StdError;

use hyper_util::client::legacy::connect::HttpConnector;
use mainstay_core::Result;

#[cfg(not(feature = "client-tls"))]
pub(super) type Connector = HttpConnector;
#[cfg(feature = "client-tls")]
pub(super) type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

/// Who may vouch for a target.
#[derive(Debug, Default)]
pub(super) enum Trust {
    /// No target is over https.
    #[default]
    Nobody,
    /// Whom the machine trusts.
    #[cfg(feature = "client-tls")]
    Machine,
    /// The authorities in these texts and files, in PEM, and nobody else.
    #[cfg(feature = "client-tls")]
    Authorities(Vec<Authority>),
}

/// Where certificates of authorities are.
#[cfg(feature = "client-tls")]
#[derive(Clone, Debug)]
pub(super) enum Authority {
    Pem(Vec<u8>),
    File(std::path::PathBuf),
}

#[cfg(not(feature = "client-tls"))]
#[expect(clippy::unnecessary_wraps, reason = "with TLS it can fail")]
pub(super) fn connector(http: HttpConnector, _: Trust) -> Result<Connector> {
    Ok(http)
}

/// Errors: HTTP-004.
#[cfg(feature = "client-tls")]
pub(super) fn connector(mut http: HttpConnector, trust: Trust) -> Result<Connector> {
    use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
    use mainstay_core::{Code, Error};
    use rustls::{ClientConfig, DEFAULT_VERSIONS, RootCertStore};

    http.enforce_http(false);
    let config = || {
        let provider = rustls::crypto::ring::default_provider();
        ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(DEFAULT_VERSIONS)
            .map_err(|e| Error::new(Code::HttpOption, "TLS can't be set up").cause(e))
    };
    let config = match trust {
        Trust::Nobody => config()?.with_root_certificates(RootCertStore::empty()),
        Trust::Authorities(all) => config()?.with_root_certificates(roots(&all)?),
        Trust::Machine => match config()?.with_native_roots() {
            Ok(config) => config,
            // Calls over http go on; those over https trust nobody.
            Err(error) => {
                tracing::warn!(%error, "no certificates of this machine: https calls will fail");
                config()?.with_root_certificates(RootCertStore::empty())
            }
        },
    };
    let builder = HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth());
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

#[cfg(feature = "client-tls")]
fn roots(authorities: &[Authority]) -> Result<rustls::RootCertStore> {
    use mainstay_core::{Code, Error};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        let (from, pem) = match authority {
            Authority::Pem(pem) => ("the PEM given".to_owned(), pem.clone()),
            Authority::File(path) => {
                let what = || format!("{} can't be read", path.display());
                let read = std::fs::read(path);
                let pem = read.map_err(|e| Error::new(Code::HttpOption, what()).cause(e))?;
                (path.display().to_string(), pem)
            }
        };
        let wrong = |why: String| {
            Error::new(Code::HttpOption, format!("{from} has no certificate of an authority"))
                .why(why)
                .fix("give certificates in PEM: -----BEGIN CERTIFICATE-----")
        };
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
            roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        }
        if roots.len() == before {
            return Err(wrong("there is none in it".to_owned()));
        }
    }
    Ok(roots)
}

#[cfg(not(feature = "client-tls"))]
pub(super) fn distrust(_: &(dyn StdError + 'static)) -> Option<String> {
    None
}

/// Why the other side's certificate is not trusted, where that is what ended a handshake.
#[cfg(feature = "client-tls")]
pub(super) fn distrust(error: &(dyn StdError + 'static)) -> Option<String> {
    use rustls::CertificateError::{
        BadSignature, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    use rustls::Error::InvalidCertificate;

    let why = match found(error)? {
        // Of another authority that has the name of a trusted one.
        InvalidCertificate(UnknownIssuer | BadSignature) => {
            "nobody who is trusted has signed it".to_owned()
        }
        InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "it is for another name than the one that is called".to_owned()
        }
        InvalidCertificate(other) => other.to_string(),
        _ => return None,
    };
    Some(format!("its certificate is not trusted: {why}"))
}

/// rustls's own error, which tokio wraps into one of I/O, whose `source` is what is in that.
#[cfg(feature = "client-tls")]
fn found<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
