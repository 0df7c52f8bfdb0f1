//! Resolves host names, and measures how long that takes.

use std::io;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use tokio::time::Instant;
use tower::Service;

/// The system's resolver, for one connection.
#[derive(Clone)]
pub(super) struct TimedResolver {
    resolver: GaiResolver,
    took: Arc<OnceLock<Duration>>,
}

impl TimedResolver {
    /// `took` is set after the first lookup that succeeds.
    pub(super) fn new(took: Arc<OnceLock<Duration>>) -> Self {
        Self { resolver: GaiResolver::new(), took }
    }
}

impl Service<Name> for TimedResolver {
    type Response = GaiAddrs;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<GaiAddrs>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.resolver.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (started, took) = (Instant::now(), Arc::clone(&self.took));
        let resolved = self.resolver.call(name);
        async move {
            let addresses = resolved.await?;
            took.get_or_init(|| started.elapsed());
            Ok(addresses)
        }
        .boxed()
    }
}
