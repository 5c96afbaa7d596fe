//! What happens to a batch between the decoder and the segment. No I/O here: what an operator needs is handed in.
//!
//! In reading order: [`embed`] turns text into vectors; [`classify`] decides a record's domain from its shape and text;
//! [`event_time`] finds when it happened; [`map`] puts its fields into the domain's columns; [`rules`] are what a
//! person settled; [`route`] is the one entry that the dataflow calls for a batch; [`functions`] are the same for SQL;
//! [`hot`] says which text of a row is embedded; [`bench`] measures.

pub mod bench;
pub mod classify;
pub mod embed;
mod error;
pub mod event_time;
mod functions;
pub mod hot;
pub mod map;
pub mod route;
pub mod rules;

pub use error::OperatorError;
pub use functions::functions_over;
pub use route::{DecidedField, Decision, Routed, Router};
pub use rules::{MappingOverrides, TopicRules};
