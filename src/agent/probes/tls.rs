//! The same over TLS. Whatever certificate a replica has is taken: it is asked how it is, at an address
//! of this host's own, and nothing is told to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, Stream,
};

use super::http::{Get, first_line};
use super::{late, words};

/// Takes every certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(|| {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    let verifier = Arc::new(Anybody(provider));
    Ok(Arc::new(builder.with_custom_certificate_verifier(verifier).with_no_client_auth()))
});

/// A stream of which every read and write ends by the same moment.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> std::io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(std::io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// The status of the answer, within the limit. Blocks.
pub(super) fn status(get: &Get, limit: Duration) -> Result<u16, String> {
    let told = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => late(limit),
        _ => words(&error),
    };
    let config = CONFIG.as_ref().map_err(ToString::to_string)?;
    let deadline = Instant::now() + limit;
    let stream = TcpStream::connect_timeout(&get.to, limit).map_err(told)?;
    let name = ServerName::IpAddress(get.to.ip().into());
    let connection = ClientConnection::new(Arc::clone(config), name);
    let mut connection = connection.map_err(|error| error.to_string())?;
    let mut timed = Timed { stream, deadline };
    let mut tls = Stream::new(&mut connection, &mut timed);
    tls.write_all(get.text().as_bytes()).map_err(told)?;
    let (mut read, mut piece) = (Vec::new(), [0; 256]);
    loop {
        if let Some(status) = first_line(&read)? {
            return Ok(status);
        }
        match tls.read(&mut piece).map_err(told)? {
            0 => return Err("the connection was closed without an answer".to_owned()),
            n => read.extend_from_slice(&piece[..n]),
        }
    }
}
