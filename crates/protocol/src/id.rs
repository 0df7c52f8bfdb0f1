//! Response and item ids, opaque to clients and unguessable when Weir makes them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text as an id, without checking that the object exists.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(text.as_ref().into())
            }

            /// The id on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

id! {
    /// The id of a response, `resp_…`.
    ResponseId
}
id! {
    /// The id of an item, `msg_…`, `fc_…`, `rs_…`, `cmp_…`.
    ItemId
}
id! {
    /// The caller that owns an object; `local` if no key is configured.
    Owner
}

impl Owner {
    /// The only caller of a server without keys.
    pub fn local() -> Self {
        Self::new("local")
    }
}
