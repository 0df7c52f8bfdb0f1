//! The three settings of HTTPS, turned into what they mean together.

use std::path::PathBuf;

/// How connections are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsConfig {
    /// Not at all.
    Off,
    /// With this certificate.
    Files {
        /// The chain of certificates, in PEM.
        certificate: PathBuf,
        /// The private key, in PEM.
        key: PathBuf,
    },
    /// With a certificate that we make ourselves.
    SelfSigned,
}

/// What was said of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsDraft {
    pub(crate) word: TlsWord,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// `server.tls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsWord {
    /// As the files say.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// With a certificate that we make ourselves.
    SelfSigned,
}

impl TlsWord {
    /// How one types them.
    pub(crate) const WORDS: &[(&str, Self)] =
        &[("auto", Self::Auto), ("off", Self::Off), ("self-signed", Self::SelfSigned)];
}

impl TlsDraft {
    /// What it means; else the setting that is wrong, and why.
    pub(crate) fn settle(self) -> Result<TlsConfig, (&'static str, &'static str)> {
        match (self.word, self.certificate, self.key) {
            (TlsWord::Off, _, _) | (TlsWord::Auto, None, None) => Ok(TlsConfig::Off),
            (TlsWord::Auto, Some(certificate), Some(key)) => {
                Ok(TlsConfig::Files { certificate, key })
            }
            (TlsWord::Auto, Some(_), None) => {
                Err(("server.tls_cert", "the key is missing; say server.tls_key (--tls-key), too"))
            }
            (TlsWord::Auto, None, Some(_)) => Err((
                "server.tls_key",
                "the certificate is missing; say server.tls_cert (--tls-cert), too",
            )),
            (TlsWord::SelfSigned, None, None) => Ok(TlsConfig::SelfSigned),
            (TlsWord::SelfSigned, _, _) => Err((
                "server.tls",
                "self-signed makes its own certificate; leave out server.tls_cert and server.tls_key",
            )),
        }
    }
}
