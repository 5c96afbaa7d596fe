//! Asking: a session over all logical tables at one cut.
//!
//! [`engine`] opens a data directory beside a run or alone; [`session`] pins a cut and shows its tables; `statement`
//! parses what is asked, [`guard`] lets only through what reads, `mistakes` says what is wrong with it;
//! [`system_tables`] shows what the metadata store knows; [`verify`] recounts everything.

pub mod engine;
mod error;
mod functions;
pub mod guard;
mod mistakes;
pub mod session;
mod statement;
pub mod system_tables;
pub mod verify;

pub use engine::Engine;
pub use error::SqlError;
pub use session::{Answer, Rows, Session};
