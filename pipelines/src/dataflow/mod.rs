//! What happens to raw batches: decode, evaluate each branch, classify and route, seal.
//!
//! ```text
//! source ─► decode ─┬─► branch ─┬─► seal ─► writer: one segment a worker and epoch
//!                   ├─► branch ─┤
//!                   └─ dead ────┘
//! ```
//! Every edge carries [`Rows`]; timely's timestamp is the epoch. Nothing here waits, reads a clock or touches a file:
//! batches come from the [ingress](crate::source::ingress), sealed epochs leave for the [`writer`].

mod branch;
mod contained;
mod dead;
mod decode;
pub mod graph;
mod record;
pub mod rows;
mod seal;
mod source;
pub mod tally;
pub mod writer;

pub use graph::{Dataflow, build};
pub use rows::Rows;
pub use seal::Sealed;
pub use source::LastEpoch;
pub use tally::Tally;
