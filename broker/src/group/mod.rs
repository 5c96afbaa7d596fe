//! Consumer groups: who is in one, who reads what, and how far they came.
//!
//! Members live in memory: after a restart of the broker they are unknown, join again and go on from the committed
//! offsets, which are on the disk.

mod coordinator;
mod messages;
mod offsets;
mod state;

pub(crate) use coordinator::Groups;
pub(crate) use messages::{Join, Joined, Sync, Synced};
pub(crate) use offsets::Committed;
