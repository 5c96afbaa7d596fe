//! Where rows durably go, and how they are read back.
//!
//! Two faces. Writing: [`segment`], [`committer`], [`rollup`], [`recover`], [`maintain`], over the formats behind
//! [`tier`]. Reading: [`read`], the logical table as a DataFusion table provider at one cut.

pub mod crash;
pub mod segment;
pub mod tier;
pub mod disk;
pub mod hot;
pub mod warm;
pub mod cold;
pub mod formats;
pub mod committer;
pub mod rollup;
pub mod recover;
pub mod maintain;
pub mod read;
mod error;
#[cfg(test)]
mod simulation;

pub use error::{Cause, SinkError};

/// The metadata store in a data directory.
pub const METADATA_FILE: &str = "metadata.db";
