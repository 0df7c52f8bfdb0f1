//! A reader that comes later: the stream for it is open before the request.

use engine::feed::Feed;
use futures_util::future::BoxFuture;

/// A reader of a response that is delivered once this resolves.
pub(crate) type DelayedFeed = BoxFuture<'static, Feed>;
