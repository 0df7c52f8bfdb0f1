//! A reader that is supplied later: its stream opens before the request arrives.

use engine::feed::Feed;
use futures_util::future::BoxFuture;

/// A reader of a response that is delivered once this resolves.
pub(crate) type DelayedFeed = BoxFuture<'static, Feed>;
