//! Reads ahead before the protocol of a connection is known: the PROXY protocol's header, and the
//! first bytes.

use std::io;
use std::net::SocketAddr;

use tokio::io::Interest;

use super::Io;
use crate::config::Config;
use crate::listen::connections::Full;
use crate::listen::opening::{self, DetectedProtocol};
use crate::listen::proxy_protocol::{ProxyHeader, ProxyHeaderError, ProxyHeaderParser};

impl Io {
    /// Waits for the first bytes, up to as many as identify the protocol. The codec reads them
    /// again.
    pub(crate) async fn opening(&self) -> io::Result<DetectedProtocol> {
        loop {
            let known = {
                let ahead = self.shared.ahead();
                opening::recognise(&ahead.bytes, ahead.fin)
            };
            match known {
                Some(opening) => return Ok(opening),
                None => self.read_ahead().await?,
            }
        }
    }

    /// Takes a proxy's header, and nothing after it. `None`: the proxy closed before its first
    /// byte.
    pub(crate) async fn proxy_header(
        &self,
    ) -> io::Result<Option<Result<ProxyHeader, ProxyHeaderError>>> {
        let mut parser = ProxyHeaderParser::default();
        let mut is_silent = true;
        loop {
            {
                let mut ahead = self.shared.ahead();
                is_silent &= ahead.bytes.is_empty();
                match parser.push(&ahead.bytes) {
                    Ok((count, origin)) => {
                        drop(ahead.bytes.split_to(count));
                        if let Some(origin) = origin {
                            return Ok(Some(Ok(origin)));
                        }
                    }
                    Err(malformed) => return Ok(Some(Err(malformed))),
                }
                if ahead.fin {
                    return Ok((!is_silent).then_some(Err(ProxyHeaderError::Missing)));
                }
            }
            self.read_ahead().await?;
        }
    }

    /// Sets the client's address, under which the connection counts from here on.
    pub(crate) fn belongs_to(&mut self, client: SocketAddr, config: &Config) -> Result<(), Full> {
        self.open.belongs_to(client.ip(), config)?;
        self.shared.client.get_or_init(|| client);
        Ok(())
    }

    /// Waits for more bytes, or the end of them.
    async fn read_ahead(&self) -> io::Result<()> {
        let shared = &self.shared;
        loop {
            shared.stream.ready(Interest::READABLE).await?;
            let mut ahead = shared.ahead();
            ahead.bytes.reserve(opening::LENGTH);
            match shared.stream.try_read_buf(&mut ahead.bytes) {
                Ok(0) => ahead.fin = true,
                Ok(count) => shared.count_received(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}
