//! The bytes of a connection, with TLS or without.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::client::plan::Tls;

pub(crate) struct Transport {
    pub socket: mio::net::TcpStream,
    session: Option<Box<ClientConnection>>,
}

/// What connections through TLS have in common: the certificate that they trust.
pub(crate) fn configuration(tls: &Tls, protocol: &str) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(&tls.certificate);
    roots.add(certificate.context("the certificate")?)?;
    let mut configuration =
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    configuration.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(Arc::new(configuration))
}

/// A socket that is connected and waits for its peer, as it is before the first event.
pub(crate) struct Opening {
    socket: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Opening {
    /// Shakes hands if there is TLS.
    pub(crate) fn new(
        mut socket: TcpStream,
        tls: Option<&Arc<ClientConfig>>,
    ) -> anyhow::Result<Self> {
        let mut session = None;
        if let Some(configuration) = tls {
            let name = ServerName::try_from("localhost")?;
            let mut new = Box::new(ClientConnection::new(Arc::clone(configuration), name)?);
            while new.is_handshaking() {
                new.complete_io(&mut socket)?;
            }
            session = Some(new);
        }
        Ok(Self { socket, session })
    }

    /// From now on nothing waits.
    pub(crate) fn finish(self) -> Result<Transport> {
        self.socket.set_nonblocking(true)?;
        Ok(Transport { socket: mio::net::TcpStream::from_std(self.socket), session: self.session })
    }
}

impl Read for Opening {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match &mut self.session {
            Some(session) => rustls::Stream::new(session.as_mut(), &mut self.socket).read(buffer),
            None => self.socket.read(buffer),
        }
    }
}

impl Write for Opening {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match &mut self.session {
            Some(session) => rustls::Stream::new(session.as_mut(), &mut self.socket).write(bytes),
            None => self.socket.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match &mut self.session {
            Some(session) => rustls::Stream::new(session.as_mut(), &mut self.socket).flush(),
            None => self.socket.flush(),
        }
    }
}

impl Transport {
    /// Whether a read that does not fill its buffer has read all there was.
    pub(crate) fn ends_short(&self) -> bool {
        self.session.is_none()
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let Some(session) = &mut self.session else { return self.socket.read(buffer) };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            if session.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            session.process_new_packets().map_err(std::io::Error::other)?;
        }
    }

    /// Sends all of it. What the bench sends fits into any socket's buffer that is empty.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(session) = &mut self.session else { return self.socket.write_all(bytes) };
        session.writer().write_all(bytes)?;
        while session.wants_write() {
            session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}
