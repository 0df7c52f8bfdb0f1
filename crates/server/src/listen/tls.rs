//! TLS 1.2 and 1.3, with a certificate that is reloaded when its files change.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use lens::live::Timeline;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, version};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::io::Io;

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// The protocols of ALPN (RFC 7301), the preferred one first.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Why there can be no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file holds no PEM of the kind wanted.
    #[error("there is no {what} in PEM in {}", path.display())]
    Missing {
        /// What should be there.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The certificate and the key cannot be used, or not together.
    #[error("the certificate and the key in {} cannot be used", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// The cryptography cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// Accepts TLS.
pub struct TlsServer {
    acceptor: TlsAcceptor,
    certificate: Arc<Reloading>,
}

impl TlsServer {
    /// TLS with the chain of certificates in `certificate` and the private key in `key`, both PEM.
    ///
    /// # Errors
    /// Files that cannot be read, or not used.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        // The stamp first: what changes while we read is read again.
        let stamp = files.stamp();
        let pair = files.read(&aws_lc_rs::default_provider())?;
        Self::new(pair, Some(files), stamp)
    }

    /// The same from texts, which do not change.
    ///
    /// # Errors
    /// Texts that cannot be used.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, TlsError> {
        let files = Files { certificate: "memory".into(), key: "memory".into() };
        let pair =
            files.parse(certificate.as_bytes(), key.as_bytes(), &aws_lc_rs::default_provider())?;
        Self::new(pair, None, Stamp::default())
    }

    fn new(pair: CertifiedKey, files: Option<Files>, stamp: Stamp) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let state = Mutex::new(CertificateState { current: Arc::new(pair), stamp, looked: None });
        let certificate = Arc::new(Reloading { files, provider: Arc::clone(&provider), state });
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Reloading>::clone(&certificate);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        // A returning client resumes by a ticket, so that nothing is kept for it here
        // (RFC 8446 §2.2).
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// The SHA-256 of the certificate in use, as tools print it: capital hexadecimal digits, in
    /// pairs.
    pub fn fingerprint(&self) -> String {
        let current = self.certificate.current();
        let Some(certificate) = current.cert.first() else { return String::new() };
        let mut text = String::new();
        for (index, byte) in Sha256::digest(certificate).iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{colon}{byte:02X}");
        }
        text
    }

    /// Does the handshake.
    pub(super) async fn accept(&self, io: Io) -> io::Result<TlsStream<Io>> {
        self.acceptor.accept(io).await
    }
}

/// Whether ALPN has chosen HTTP/2.
pub(super) fn speaks_http2(stream: &TlsStream<Io>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// Records the handshake on the timeline.
pub(super) fn record(stream: &TlsStream<Io>, start: std::time::Instant, timeline: &Timeline) {
    let tls = stream.get_ref().1;
    let version = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "",
    };
    let alpn = tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    timeline.set_tls_handshake(
        start,
        version,
        alpn,
        tls.handshake_kind() == Some(HandshakeKind::Resumed),
    );
}

/// Where the certificate and its key are.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Modification times and lengths, which differ between versions of a file.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Files {
    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
        };
        self.parse(&read(&self.certificate)?, &read(&self.key)?, provider)
    }

    fn parse(
        &self,
        chain: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let missing =
            |what, path: &Path, source| TlsError::Missing { what, path: path.to_owned(), source };
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .and_then(
                |chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) },
            )
            .map_err(|source| missing("certificate", &self.certificate, source))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|source| missing("private key", &self.key, source))?;
        CertifiedKey::from_der(chain, key, provider)
            .map_err(|source| TlsError::Unusable { path: self.certificate.clone(), source })
    }

    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }
}

/// A certificate that is reloaded when its files change. One that cannot be used leaves the last
/// one in force.
#[derive(Debug)]
struct Reloading {
    /// `None`: it never changes.
    files: Option<Files>,
    provider: Arc<CryptoProvider>,
    state: Mutex<CertificateState>,
}

#[derive(Debug)]
struct CertificateState {
    current: Arc<CertifiedKey>,
    stamp: Stamp,
    looked: Option<Instant>,
}

impl Reloading {
    /// The certificate in force. Looking at two small files takes less time than the handshake's
    /// arithmetic.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &self.files
            && state.looked.is_none_or(|looked| looked.elapsed() >= LOOK)
        {
            state.looked = Some(Instant::now());
            self.follow(files, &mut state);
        }
        Arc::clone(&state.current)
    }

    fn follow(&self, files: &Files, state: &mut CertificateState) {
        let stamp = files.stamp();
        if stamp == state.stamp {
            return;
        }
        state.stamp = stamp;
        match files.read(&self.provider) {
            Ok(current) => {
                state.current = Arc::new(current);
                tracing::info!(certificate = %files.certificate.display(), "reloaded the certificate");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot use the new certificate; keeping the old one");
            }
        }
    }
}

impl ResolvesServerCert for Reloading {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}
