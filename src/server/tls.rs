//! TLS: certificate and key are read once, before the server listens.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::error::{Error, ErrorKind, Result, Subject};

/// The name that clients give the protocol when they begin with TLS at once.
const ALPN: &[u8] = b"postgresql";

/// What TLS needs.
pub struct Tls {
    acceptor: TlsAcceptor,
    /// The certificates as they were read, for channel binding.
    pub certificates: Vec<u8>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn refused(path: &Path, reason: impl std::fmt::Display) -> Error {
    let message = format!("cannot use {} for TLS: {reason}", path.display());
    Error::new(ErrorKind::Input, Subject::File, message)
        .with_hint("--tls-certificate takes a PEM file of certificates, --tls-key one with their private key")
}

impl Tls {
    /// Reads a chain of certificates and the key of the first.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self> {
        let pem = std::fs::read(certificate).map_err(|e| refused(certificate, e))?;
        let chain = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| refused(certificate, e))?;
        if chain.is_empty() {
            return Err(refused(certificate, "there is no certificate in it"));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|e| refused(key, e))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| refused(key, e))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|e| refused(key, e))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificates: pem })
    }

    /// The handshake; a client that began with TLS at once must have named the protocol.
    pub async fn accept(&self, socket: TcpStream, direct: bool) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.acceptor.accept(socket).await?;
        if direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "direct TLS without the ALPN of PostgreSQL",
            ));
        }
        Ok(stream)
    }
}
