//! Pins, and what may be deleted because nobody can see it any more.

use super::{count, int, table_id};
use crate::metadata::{IntentId, MetaError, Pin, References, TableVersion, Victims};
use crate::{Cut, EventTime, TableId};
use sqlx::SqliteConnection;

/// Claims `cut`, inside the transaction that read it.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    cut: Cut,
    holder: &str,
    expires_at: EventTime,
) -> Result<i64, MetaError> {
    let (id,): (i64,) = sqlx::query_as("INSERT INTO pins (cut, holder, expires_at) VALUES (?, ?, ?) RETURNING pin")
        .bind(int(cut.0)?)
        .bind(holder)
        .bind(expires_at)
        .fetch_one(connection)
        .await?;
    Ok(id)
}

/// Moves a pin's expiry. A pin that has expired holds as long as nobody has cleaned it up.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    pin: &Pin,
    expires_at: EventTime,
) -> Result<(), MetaError> {
    let renewed = sqlx::query("UPDATE pins SET expires_at = ? WHERE pin = ?")
        .bind(expires_at)
        .bind(pin.id)
        .execute(connection)
        .await?;
    if renewed.rows_affected() == 0 {
        return Err(MetaError::PinLost { cut: pin.cut });
    }
    Ok(())
}

/// Removes a pin; one that is gone already is no error.
pub(super) async fn remove(connection: &mut SqliteConnection, pin: &Pin) -> Result<(), MetaError> {
    sqlx::query("DELETE FROM pins WHERE pin = ?").bind(pin.id).execute(connection).await?;
    Ok(())
}

/// Forgets what no cut within reach shows: neither a pinned one, nor one within `history` µs, nor the newest.
///
/// Cuts in reach are those from the least of these on: pins may hold any of them.
pub(super) async fn take_victims(
    connection: &mut SqliteConnection,
    now: EventTime,
    history: i64,
) -> Result<Victims, MetaError> {
    sqlx::query("DELETE FROM pins WHERE expires_at <= ?").bind(now).execute(&mut *connection).await?;
    // The cut that was newest when the history window began is the oldest that the window shows.
    let (floor,): (i64,) = sqlx::query_as(
        "SELECT min(coalesce((SELECT min(cut) FROM pins), (SELECT max(cut) FROM cuts), 0),
                    coalesce((SELECT max(cut) FROM cuts WHERE added_at <= ?), 0))",
    )
    .bind(now.saturating_sub(history))
    .fetch_one(&mut *connection)
    .await?;
    for forget in [
        "DELETE FROM parts WHERE removed_cut <= ?",
        "DELETE FROM versions WHERE removed_cut <= ?",
        "DELETE FROM tables WHERE removed_cut <= ?",
        "DELETE FROM cuts WHERE cut < ?",
    ] {
        sqlx::query(forget).bind(floor).execute(&mut *connection).await?;
    }
    let segments: Vec<(String,)> =
        sqlx::query_as("DELETE FROM segments WHERE segment NOT IN (SELECT segment FROM parts) RETURNING path")
            .fetch_all(&mut *connection)
            .await?;
    Ok(Victims {
        segments: segments.into_iter().map(|(path,)| path).collect(),
        keep_from: versions(connection, "WHERE id IN (SELECT min(id) FROM versions GROUP BY name, tier)").await?,
    })
}

async fn versions(connection: &mut SqliteConnection, which: &str) -> Result<Vec<(TableId, TableVersion)>, MetaError> {
    let rows: Vec<(String, String, String)> =
        sqlx::query_as(&format!("SELECT name, tier, version FROM versions {which} ORDER BY id"))
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(|(name, tier, version)| Ok((table_id(&name, &tier)?, TableVersion(version)))).collect()
}

/// Everything that is still referred to.
pub(super) async fn references(connection: &mut SqliteConnection) -> Result<References, MetaError> {
    let segments: Vec<(String,)> =
        sqlx::query_as("SELECT path FROM segments ORDER BY segment").fetch_all(&mut *connection).await?;
    let versions = versions(connection, "").await?;
    let payloads: Vec<(String, String, i64, Vec<u8>)> =
        sqlx::query_as("SELECT name, tier, number, payload FROM intents WHERE payload IS NOT NULL")
            .fetch_all(connection)
            .await?;
    let payload = |(name, tier, number, payload): (String, String, i64, Vec<u8>)| {
        Ok((IntentId { table: table_id(&name, &tier)?, number: count(number)? }, payload))
    };
    Ok(References {
        segments: segments.into_iter().map(|(path,)| path).collect(),
        versions,
        payloads: payloads.into_iter().map(payload).collect::<Result<_, MetaError>>()?,
    })
}
