//! The three counters of the protocol: epochs, cuts and generations. Newtypes, because mixing them up loses data.

use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// One consistent cut through all partitions, operators and tables; timely's timestamp. Goes on over restarts.
    Epoch
}
counter! {
    /// The number that one transaction of the metadata store adds. Readers take one cut.
    Cut
}
counter! {
    /// One run's right to write: the higher number wins, the lower is fenced.
    Generation
}
