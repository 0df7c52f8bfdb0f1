//! The TLS configuration towards an upstream: the system's trust store, and the certificates in
//! the settings.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use super::http2::Http2Mode;

/// The certificates of a PEM bundle; `None` if there are none or one is malformed.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    Some(certificates).filter(|certificates| !certificates.is_empty())
}

/// The configuration that trusts what the system trusts, and `certificates`.
///
/// # Errors
/// The system's trust store or a certificate cannot be read.
pub(super) fn config(
    certificates: Vec<CertificateDer<'static>>,
    http2: Http2Mode,
) -> Result<ClientConfig, rustls::Error> {
    let provider = CryptoProvider::get_default()
        .map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone);
    let verifier = if certificates.is_empty() {
        Verifier::new(Arc::clone(&provider))?
    } else {
        Verifier::new_with_extra_roots(certificates, Arc::clone(&provider))?
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous() // rustls' name for any verifier that is not its own; this one is stricter
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = match http2 {
        Http2Mode::Never => vec![b"http/1.1".to_vec()],
        Http2Mode::Offered => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Http2Mode::Known => vec![b"h2".to_vec()],
    };
    Ok(config)
}
