//! Which server certificates a client accepts: those that the system trusts, or one with a known
//! fingerprint.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rustls_platform_verifier::Verifier;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, KeyLog, NoKeyLog, SignatureScheme,
};

/// Which certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system trusts, for the requested name.
    System,
    /// The one with this SHA-256, in hexadecimal digits with or without colons, for any name.
    Fingerprint(String),
}

/// The TLS settings of a client.
#[derive(Clone)]
pub struct Encryption {
    connector: TlsConnector,
    seen: Arc<Mutex<Option<String>>>,
}

impl Encryption {
    /// For HTTP/1.1 with servers that `trust` accepts.
    ///
    /// # Errors
    /// The system has no trusted certificates.
    pub fn new(trust: &Trust) -> Result<Self> {
        Self::with_protocols(trust, &["http/1.1"], Arc::new(NoKeyLog))
    }

    /// For other protocols (ALPN, RFC 7301). The secrets of each connection go to `key_log`.
    ///
    /// # Errors
    /// The system has no trusted certificates.
    pub fn with_protocols(
        trust: &Trust,
        protocols: &[&str],
        key_log: Arc<dyn KeyLog>,
    ) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let accepted = match trust {
            Trust::System => Accepted::System(
                Verifier::new(Arc::clone(&provider))
                    .context("the certificates that this system trusts")?,
            ),
            Trust::Fingerprint(text) => Accepted::Fingerprint(digits(text)),
        };
        let seen = Arc::default();
        let verifier =
            Verify { accepted, provider: Arc::clone(&provider), seen: Arc::clone(&seen) };
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.key_log = key_log;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), seen })
    }

    /// Performs the handshakes.
    pub fn connector(&self) -> &TlsConnector {
        &self.connector
    }

    /// The SHA-256 of the last certificate that a server presented, accepted or not, as `weir --tls
    /// self-signed` prints it.
    pub fn seen(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The secrets of TLS connections in the format of `SSLKEYLOGFILE`, which Wireshark reads.
#[derive(Default)]
pub struct KeyLines(Mutex<String>);

impl KeyLines {
    /// The lines since the last call.
    pub fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Does not print the secrets.
impl fmt::Debug for KeyLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyLines(…)")
    }
}

impl KeyLog for KeyLines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
        };
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
    }
}

#[derive(Debug)]
enum Accepted {
    System(Verifier),
    Fingerprint(String),
}

#[derive(Debug)]
struct Verify {
    accepted: Accepted,
    provider: Arc<CryptoProvider>,
    seen: Arc<Mutex<Option<String>>>,
}

impl ServerCertVerifier for Verify {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = fingerprint(certificate);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        match &self.accepted {
            Accepted::System(verifier) => {
                verifier.verify_server_cert(certificate, intermediates, name, ocsp, now)
            }
            Accepted::Fingerprint(expected) if *expected == digits(&found) => {
                Ok(ServerCertVerified::assertion())
            }
            Accepted::Fingerprint(_) => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_uppercase()).collect()
}

fn fingerprint(certificate: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in Sha256::digest(certificate).iter().enumerate() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{}{byte:02X}", if index == 0 { "" } else { ":" });
    }
    text
}
