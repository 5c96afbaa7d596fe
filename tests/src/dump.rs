//! What all tables hold, to compare two runs in the sense that counts: every row once, whatever epoch wrote it.

use crate::site::Site;
use serde_json::Value;
use std::collections::BTreeMap;

/// The sorted rows of every table, without the columns that may differ between runs.
pub type Dump = BTreeMap<String, Vec<String>>;

/// Reads every table of `site`, dead letters too. `_epoch` and `_tier` are left out.
///
/// # Panics
/// When a table cannot be read.
#[track_caller]
pub fn dump(site: &Site) -> Dump {
    let status = site.status();
    let tables = status["rows"].as_object().expect("status lists rows by table");
    tables.keys().map(|table| (table.clone(), rows(site, table))).collect()
}

#[track_caller]
fn rows(site: &Site, table: &str) -> Vec<String> {
    let quoted = table.split('.').map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".");
    let row = |mut row: Value| {
        let columns = row.as_object_mut().expect("a row is an object");
        assert!(columns.remove("_epoch").is_some() && columns.remove("_tier").is_some(), "{table} has system columns");
        row.to_string()
    };
    let mut rows: Vec<String> = site.sql(&format!("SELECT * FROM {quoted}")).into_iter().map(row).collect();
    rows.sort_unstable();
    rows
}
