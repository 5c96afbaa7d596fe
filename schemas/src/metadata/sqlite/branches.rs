//! Branches, and topics that are paused.

use super::to_json;
use crate::metadata::{BranchId, MetaError, NewBranch, Pause};
use sqlx::SqliteConnection;

/// Finds the live branch of this identity, or adds it, with its source's resume offsets of this moment.
pub(super) async fn register(connection: &mut SqliteConnection, branch: &NewBranch) -> Result<BranchId, MetaError> {
    let known: Option<(i32,)> = sqlx::query_as(
        "SELECT branch FROM branches WHERE closed_epoch IS NULL AND source = ? AND target = ? AND statement = ?",
    )
    .bind(&branch.source)
    .bind(&branch.target)
    .bind(&branch.statement)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((id,)) = known {
        return Ok(BranchId(id));
    }
    let started_at: Vec<(String, i32, i64)> =
        sqlx::query_as("SELECT topic, partition, next_offset FROM progress WHERE source = ? ORDER BY topic, partition")
            .bind(&branch.source)
            .fetch_all(&mut *connection)
            .await?;
    let (id,): (i32,) = sqlx::query_as(
        "INSERT INTO branches (source, target, statement, filters, started_at, first_epoch)
         VALUES (?, ?, ?, ?, ?, (SELECT ifnull(epoch + 1, 0) FROM store)) RETURNING branch",
    )
    .bind(&branch.source)
    .bind(&branch.target)
    .bind(&branch.statement)
    .bind(branch.filters)
    .bind(to_json(&started_at)?)
    .fetch_one(connection)
    .await?;
    Ok(BranchId(id))
}

/// Closes all branches but `live`. One that comes back later is a new one: it has not seen what was read meanwhile.
pub(super) async fn close(connection: &mut SqliteConnection, live: &[BranchId]) -> Result<(), MetaError> {
    let close = sqlx::query(
        "UPDATE branches SET closed_epoch = (SELECT ifnull(epoch + 1, 0) FROM store)
         WHERE closed_epoch IS NULL AND branch NOT IN (SELECT value FROM json_each(?))",
    );
    close.bind(to_json(&live)?).execute(connection).await?;
    Ok(())
}

/// Pauses a topic, or lets it go on.
pub(super) async fn pause(
    connection: &mut SqliteConnection,
    source: &str,
    topic: &str,
    reason: Option<&str>,
) -> Result<(), MetaError> {
    let query = match reason {
        Some(reason) => sqlx::query(
            "INSERT INTO pauses (source, topic, reason) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET reason = excluded.reason",
        )
        .bind(source)
        .bind(topic)
        .bind(reason),
        None => sqlx::query("DELETE FROM pauses WHERE source = ? AND topic = ?").bind(source).bind(topic),
    };
    query.execute(connection).await?;
    Ok(())
}

/// What is paused.
pub(super) async fn pauses(connection: &mut SqliteConnection) -> Result<Vec<Pause>, MetaError> {
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT source, topic, reason FROM pauses ORDER BY source, topic").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(source, topic, reason)| Pause { source, topic, reason }).collect())
}
