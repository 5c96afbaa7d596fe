//! Pipelines: SQL, planned by DataFusion and run for ever by timely dataflow.
//!
//! In reading order: [`plan`] turns a pipeline file into sources and branches, or refuses with line, column and reason;
//! [`source`] turns partitions into raw batches; [`dataflow`] is what happens to them; [`coordinator`] closes epochs and
//! commits them; [`run`] puts it together and starts again where the newest cut says.

pub mod coordinator;
pub mod dataflow;
mod error;
mod failures;
pub mod plan;
pub mod raw;
pub mod run;
pub mod source;

pub use error::PipelineError;
pub use failures::Failures;
