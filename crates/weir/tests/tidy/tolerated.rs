//! Import circles and upward imports that are still there. These lists only shrink: an entry that
//! no longer applies has to be removed.

/// Files of a crate that still import each other in circles, by crate; their paths are those below
/// `src`.
pub(crate) const CIRCLES: &[(&str, &[&str])] = &[];

/// Modules of the server, from the lowest layer up. A module may import only what stands before it.
pub(crate) const LAYERS: &[&str] = &[
    "network",
    "paths",
    "query",
    "rates",
    "sources",
    "config",
    "credential",
    "delayed_feed",
    "drain",
    "listen",
    "capture",
    "tickets",
    "grants",
    "classic",
    "metrics",
    "app",
    "revocation",
    "error",
    "http",
    "transport",
    "api",
    "pages",
    "web",
    "router",
    "live",
];

/// Imports of a higher layer that are still there.
pub(crate) const UPWARD: &[(&str, &str)] = &[];
