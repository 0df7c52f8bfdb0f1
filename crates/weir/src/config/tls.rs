//! The three settings of HTTPS, combined into one value.

use std::path::PathBuf;

/// The TLS configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsConfig {
    /// No TLS.
    Off,
    /// TLS with this certificate.
    Files {
        /// The file of the certificate chain, in PEM.
        certificate: PathBuf,
        /// The file of the private key, in PEM.
        key: PathBuf,
    },
    /// TLS with a self-signed certificate that Weir makes.
    SelfSigned,
}

/// The three settings before they are combined.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsDraft {
    pub(crate) word: TlsWord,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// `server.tls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsWord {
    /// TLS if the files are set.
    #[default]
    Auto,
    /// No TLS.
    Off,
    /// TLS with a self-signed certificate that Weir makes.
    SelfSigned,
}

impl TlsWord {
    /// The names of the modes.
    pub(crate) const WORDS: &[(&str, Self)] =
        &[("auto", Self::Auto), ("off", Self::Off), ("self-signed", Self::SelfSigned)];
}

impl TlsDraft {
    /// The combined value; otherwise the invalid setting, and why.
    pub(crate) fn settle(self) -> Result<TlsConfig, (&'static str, &'static str)> {
        match (self.word, self.certificate, self.key) {
            (TlsWord::Off, _, _) | (TlsWord::Auto, None, None) => Ok(TlsConfig::Off),
            (TlsWord::Auto, Some(certificate), Some(key)) => {
                Ok(TlsConfig::Files { certificate, key })
            }
            (TlsWord::Auto, Some(_), None) => Err((
                "server.tls_cert",
                "the key is missing; set server.tls_key (--tls-key) as well",
            )),
            (TlsWord::Auto, None, Some(_)) => Err((
                "server.tls_key",
                "the certificate is missing; set server.tls_cert (--tls-cert) as well",
            )),
            (TlsWord::SelfSigned, None, None) => Ok(TlsConfig::SelfSigned),
            (TlsWord::SelfSigned, _, _) => Err((
                "server.tls",
                "self-signed makes its own certificate; leave out server.tls_cert and server.tls_key",
            )),
        }
    }
}
