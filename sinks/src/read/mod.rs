//! The logical table: staged parts and three tiers, one answer, at one cut.
//!
//! In reading order: a pin keeps a cut readable ([`pinned`]); a [`LogicalTable`] at that cut leaves out what cannot
//! hold an asked row ([`prune`]) and unites the rest ([`logical`]): staged parts ([`staged`]) and tables at exact
//! versions, each under its logical names ([`canonical`]) and in one shape ([`conform`]). [`events`] unites all
//! domains.

pub mod canonical;
pub mod conform;
pub mod event_id;
pub mod events;
pub mod logical;
pub mod pinned;
pub mod prune;
pub mod staged;
#[cfg(test)]
mod tests;

pub use events::events;
pub use logical::LogicalTable;
pub use pinned::{PinHold, PinnedReader};
