//! Logical tables and their columns.

use super::{add_cut, from_json, int, to_json};
use crate::metadata::MetaError;
use crate::{EventTime, Generation, TableSchema};
use sqlx::SqliteConnection;

/// Makes a table known, or adds nullable columns to it.
pub(super) async fn register(
    connection: &mut SqliteConnection,
    generation: Generation,
    schema: &TableSchema,
    now: EventTime,
) -> Result<(), MetaError> {
    let kept: Option<(i64, String)> =
        sqlx::query_as("SELECT revision, schema FROM tables WHERE name = ? AND removed_cut IS NULL")
            .bind(schema.name.as_str())
            .fetch_optional(&mut *connection)
            .await?;
    let mut revision = 1;
    if let Some((old_revision, kept)) = kept {
        let kept: TableSchema = from_json(&kept)?;
        if kept == *schema {
            return Ok(());
        }
        let grows = grows(&kept, schema)?;
        if !grows {
            // What is embedded and what describes it may change; no column does, so no table has to follow.
            sqlx::query("UPDATE tables SET schema = ? WHERE name = ? AND revision = ?")
                .bind(to_json(schema)?)
                .bind(schema.name.as_str())
                .bind(old_revision)
                .execute(&mut *connection)
                .await?;
            return Ok(());
        }
        revision = old_revision + 1;
    }
    let cut = int(add_cut(connection, "tables", generation, now).await?.0)?;
    sqlx::query("UPDATE tables SET removed_cut = ? WHERE name = ? AND removed_cut IS NULL")
        .bind(cut)
        .bind(schema.name.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO tables (name, revision, schema, added_cut) VALUES (?, ?, ?, ?)")
        .bind(schema.name.as_str())
        .bind(revision)
        .bind(to_json(schema)?)
        .bind(cut)
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// True when `new` has columns that `kept` has not.
///
/// # Errors
/// [`MetaError::Columns`] when a column is gone, has another type, or is new and not nullable.
fn grows(kept: &TableSchema, new: &TableSchema) -> Result<bool, MetaError> {
    let refuse = |what: String| MetaError::Columns { table: new.name.clone(), what };
    for old in &kept.columns {
        match new.columns.iter().find(|column| column.name() == old.name()) {
            None => {
                return Err(refuse(format!("column {} is gone; go on declaring it in a pipeline file", old.name())));
            }
            Some(column) if column.data_type() != old.data_type() => {
                let (name, found, wanted) = (old.name(), column.data_type(), old.data_type());
                return Err(refuse(format!("column {name} is {wanted}, and cannot become {found}")));
            }
            Some(_) => {}
        }
    }
    let added = new.columns.iter().filter(|column| kept.columns.iter().all(|old| old.name() != column.name()));
    let mut grows = false;
    for column in added {
        if !column.is_nullable() {
            return Err(refuse(format!("the new column {} must be nullable", column.name())));
        }
        grows = true;
    }
    Ok(grows)
}
