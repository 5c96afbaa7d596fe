//! Sources: partitions to raw batches, pausing when downstream is full.

pub mod budget;
pub mod error;
pub mod ingress;
pub mod kafka;
pub mod produce;
pub mod topics;

pub use error::SourceError;
