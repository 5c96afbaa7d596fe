//! Measuring. A figure counts only beside another that was measured in the same run.

mod ceiling;
mod child;
pub(crate) mod classify;
mod records;
pub(crate) mod stream;
