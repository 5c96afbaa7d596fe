//! Where rows durably go, and how they are read back.
//!
//! Two faces. Writing: [`segment`], [`committer`], [`rollup`], [`recover`], [`maintain`], over the formats behind
//! [`tier`]. Reading: [`read`], the logical table as a DataFusion table provider at one cut.

pub mod cold;
pub mod committer;
pub mod crash;
pub mod disk;
mod error;
pub mod formats;
pub mod hot;
pub mod maintain;
pub mod read;
pub mod recover;
pub mod rollup;
pub mod segment;
#[cfg(test)]
mod simulation;
pub mod tier;
pub mod warm;

pub use error::{Cause, SinkError};

/// The metadata store in a data directory.
pub const METADATA_FILE: &str = "metadata.db";
