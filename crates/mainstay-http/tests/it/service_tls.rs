//! Calls over https, to a real server of TLS whose certificate a private authority has signed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use mainstay_core::{Code, Error};
use mainstay_http::service::{Builder, Failure, Policy, Service};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Answers `count` connections, each with one answer, or none where the handshake failed.
fn serve(authority: &Authority, name: &str, count: usize) -> (SocketAddr, JoinHandle<usize>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap().pem();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config =
        ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let answered = (0..count).filter(|_| {
            let (socket, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            answer(&mut StreamOwned::new(connection, socket)).is_ok()
        });
        answered.count()
    });
    (address, server)
}

fn answer(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nsafe")?;
    stream.flush()
}

fn to(address: SocketAddr) -> Builder {
    Service::builder("vault", [format!("https://localhost:{}", address.port())])
}

async fn refused(service: Service, why: &str) -> Error {
    let error = service.get("/x").await.unwrap_err();
    let failure = error.detail::<Failure>().unwrap();
    // It would be the same again: one attempt.
    assert_eq!((failure.policy, failure.attempts), (Policy::Answer, 1), "{error:?}");
    assert_eq!(error.code(), Code::ServiceFailed);
    let told = format!("its certificate is not trusted: {why}");
    assert!(error.report().contains(&told), "{}", error.report());
    error
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let authority = authority();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let (address, server) = serve(&authority, "localhost", 2);
    for builder in [to(address).ca_pem(authority.pem()), to(address).ca_file(&file)] {
        assert_eq!(builder.build().unwrap().get("/x").await.unwrap().text(), "safe");
    }
    assert_eq!(server.join().unwrap(), 2);
}

#[tokio::test]
async fn who_is_not_trusted_is_not_asked() {
    let (ours, theirs) = (authority(), authority());
    let (address, server) = serve(&theirs, "localhost", 2);
    refused(to(address).ca_pem(ours.pem()).build().unwrap(), "nobody who is trusted").await;
    // Nor does the machine know the authority.
    refused(to(address).build().unwrap(), "nobody who is trusted").await;
    assert_eq!(server.join().unwrap(), 0);
    let (address, server) = serve(&ours, "elsewhere.example", 1);
    refused(to(address).ca_pem(ours.pem()).build().unwrap(), "it is for another name").await;
    assert_eq!(server.join().unwrap(), 0);
}

#[tokio::test]
async fn an_authority_that_is_none_is_told_at_the_start() {
    let at = || Service::builder("vault", ["https://localhost:1"]);
    for (builder, told) in [
        (at().ca_pem(""), "the PEM given has no certificate of an authority"),
        (at().ca_pem("-----BEGIN CERTIFICATE-----\nAAAA\n"), "the PEM given has no certificate"),
        (at().ca_file("/nonexistent/ca.pem"), "/nonexistent/ca.pem can't be read"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.code(), Code::HttpOption);
        assert!(error.to_string().contains(told), "{error}");
    }
}
