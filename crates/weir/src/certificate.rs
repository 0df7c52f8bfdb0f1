//! The certificate for HTTPS: read from files, or self-signed and kept in the data directory.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::Context;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::config::TlsConfig;
use crate::config::settings::DataLocation;

/// The file names of the self-signed certificate in the data directory.
const CERTIFICATE: &str = "self-signed.pem";
const KEY: &str = "self-signed.key";

/// The certificate that the settings describe.
pub(crate) fn tls(
    tls: &TlsConfig,
    data: &DataLocation,
    server: &server::Config,
) -> anyhow::Result<Option<server::TlsServer>> {
    match tls {
        TlsConfig::Off => Ok(None),
        TlsConfig::Files { certificate, key } => {
            Ok(Some(server::TlsServer::from_files(certificate, key)?))
        }
        TlsConfig::SelfSigned => self_signed(data.directory(), &names(server)).map(Some),
    }
}

/// A self-signed certificate that is kept in memory only.
pub(crate) fn for_names(names: &[String]) -> anyhow::Result<server::TlsServer> {
    self_signed(None, names)
}

fn self_signed(directory: Option<&Path>, names: &[String]) -> anyhow::Result<server::TlsServer> {
    let Some(directory) = directory else {
        let Made { certificate, key } = make(names)?;
        return Ok(server::TlsServer::from_pem(&certificate, &key)?);
    };
    let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
    // Text before the first line of PEM is a comment (RFC 7468 §2): it shows whether the names
    // still match.
    let comment = comment(names);
    let is_ours = fs::read_to_string(&certificate).is_ok_and(|text| text.starts_with(&comment));
    if is_ours && let Ok(tls) = server::TlsServer::from_files(&certificate, &key) {
        return Ok(tls);
    }
    store::directory::prepare(directory)?;
    let made = make(names)?;
    write(&key, &made.key).with_context(|| format!("cannot write {}", key.display()))?;
    write(&certificate, &(comment + &made.certificate))
        .with_context(|| format!("cannot write {}", certificate.display()))?;
    Ok(server::TlsServer::from_files(&certificate, &key)?)
}

/// Both in PEM.
struct Made {
    certificate: String,
    key: String,
}

fn make(names: &[String]) -> anyhow::Result<Made> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Weir, self-signed");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn comment(names: &[String]) -> String {
    format!("Made by weir --tls self-signed for {}\n", names.join(" "))
}

/// The names of the server: those of this machine, the listening address, and `server.hosts`.
fn names(server: &server::Config) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let address = server.listen.ip();
    if !address.is_unspecified() {
        names.push(address.to_string());
    }
    let without_port = |host: &String| {
        Some(host.parse::<http::uri::Authority>().ok()?.host().trim_matches(['[', ']']).to_owned())
    };
    names.extend(server.hosts.iter().filter_map(without_port));
    let mut known: Vec<String> = Vec::new();
    names.retain(|name| !known.contains(name) && (known.push(name.clone()), true).1);
    names
}

/// A new file that only this user can read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_again_for_other_names() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let directory = root.path().join("data");
        let names = |hosts: &[&str]| {
            names(&server::Config {
                hosts: hosts.iter().map(|&host| host.into()).collect(),
                ..Default::default()
            })
        };
        let fingerprint = |hosts: &[&str]| {
            Ok::<_, anyhow::Error>(self_signed(Some(&directory), &names(hosts))?.fingerprint())
        };
        let first = fingerprint(&[])?;
        assert_eq!(first.len(), 32 * 3 - 1);
        assert_eq!(fingerprint(&[])?, first);
        let second = fingerprint(&["chat.example:8443", "[2001:db8::1]"])?;
        assert_ne!(second, first);
        assert_eq!(
            names(&["chat.example:8443", "localhost"]),
            ["localhost", "127.0.0.1", "::1", "chat.example"]
        );
        // A crash between the two writes leaves only one of the files: both are made again.
        fs::remove_file(directory.join(KEY))?;
        assert_ne!(fingerprint(&["chat.example:8443", "[2001:db8::1]"])?, second);
        #[cfg(unix)]
        for file in [CERTIFICATE, KEY] {
            use std::os::unix::fs::PermissionsExt;

            assert_eq!(fs::metadata(directory.join(file))?.permissions().mode() & 0o777, 0o600);
        }
        Ok(())
    }

    #[test]
    fn without_a_data_directory_the_certificate_stays_in_memory() -> anyhow::Result<()> {
        assert_ne!(
            self_signed(None, &["localhost".into()])?.fingerprint(),
            self_signed(None, &["localhost".into()])?.fingerprint()
        );
        Ok(())
    }
}
