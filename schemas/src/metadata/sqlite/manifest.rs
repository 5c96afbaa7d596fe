//! The manifest's transaction: what one epoch adds at its cut.

use super::{add_cut, branches, int, parse_uuid};
use crate::metadata::{Conservation, Gap, Manifest, MetaError, NewPart, NewSegment, OffsetReset, Progress};
use crate::{Cut, EventTime, Generation};
use sqlx::SqliteConnection;

/// What can be seen to be wrong without the store: the law of conservation.
pub(super) fn check(manifest: &Manifest) -> Result<(), MetaError> {
    match manifest.conservation.iter().find(|line| !line.counts.holds()) {
        None => Ok(()),
        Some(line) => Err(MetaError::NotConserved {
            epoch: manifest.epoch,
            branch: line.branch,
            topic: line.topic.clone(),
            partition: line.partition,
            counts: Box::new(line.counts),
        }),
    }
}

/// Adds the epoch at the next cut.
pub(super) async fn commit(
    connection: &mut SqliteConnection,
    generation: Generation,
    manifest: &Manifest,
    now: EventTime,
) -> Result<Cut, MetaError> {
    let (newest,): (Option<i64>,) = sqlx::query_as("SELECT epoch FROM store").fetch_one(&mut *connection).await?;
    let epoch = int(manifest.epoch.0)?;
    if let Some(newest) = newest.filter(|newest| *newest >= epoch) {
        let newest = crate::Epoch(super::count(newest)?);
        return Err(MetaError::OutOfOrder { epoch: manifest.epoch, newest });
    }
    sqlx::query("UPDATE store SET epoch = ?").bind(epoch).execute(&mut *connection).await?;
    let cut = add_cut(connection, "epoch", generation, now).await?;
    sqlx::query("UPDATE cuts SET epoch = ?, opened_at = ? WHERE cut = ?")
        .bind(epoch)
        .bind(manifest.opened_at)
        .bind(int(cut.0)?)
        .execute(&mut *connection)
        .await?;
    for segment in &manifest.segments {
        add_segment(connection, segment, epoch, int(cut.0)?, now).await?;
    }
    for progress in &manifest.progress {
        advance(connection, progress).await?;
        sqlx::query("INSERT INTO topic_ids (topic, topic_id, since_epoch) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(&progress.topic)
            .bind(progress.topic_id.to_string())
            .bind(epoch)
            .execute(&mut *connection)
            .await?;
    }
    for gap in &manifest.gaps {
        add_gap(connection, gap).await?;
    }
    for line in &manifest.conservation {
        add_counts(connection, line).await?;
    }
    for (source, fields) in &manifest.dropped_fields {
        sqlx::query(
            "INSERT INTO dropped_fields (source, fields) VALUES (?, ?)
             ON CONFLICT DO UPDATE SET fields = fields + excluded.fields",
        )
        .bind(source)
        .bind(int(*fields)?)
        .execute(&mut *connection)
        .await?;
    }
    for pause in &manifest.pauses {
        branches::pause(connection, &pause.source, &pause.topic, Some(&pause.reason)).await?;
    }
    Ok(cut)
}

async fn add_segment(
    connection: &mut SqliteConnection,
    segment: &NewSegment,
    epoch: i64,
    cut: i64,
    now: EventTime,
) -> Result<(), MetaError> {
    let (id,): (i64,) = sqlx::query_as("INSERT INTO segments (path, bytes) VALUES (?, ?) RETURNING segment")
        .bind(&segment.path)
        .bind(int(segment.bytes)?)
        .fetch_one(&mut *connection)
        .await?;
    for NewPart { table, bytes, rows, event_time } in &segment.parts {
        sqlx::query(
            "INSERT INTO parts (segment, name, tier, first_byte, last_byte, rows, least, greatest, epoch, added_at,
                                added_cut)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(table.name.as_str())
        .bind(table.tier.as_str())
        .bind(int(bytes.start)?)
        .bind(int(bytes.end)?)
        .bind(int(*rows)?)
        .bind(event_time.0)
        .bind(event_time.1)
        .bind(epoch)
        .bind(now)
        .bind(cut)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Moves a partition on: its offset and watermark never move back, and its topic stays the same one.
async fn advance(connection: &mut SqliteConnection, progress: &Progress) -> Result<(), MetaError> {
    let kept: Option<(String, i64)> =
        sqlx::query_as("SELECT topic_id, next_offset FROM progress WHERE source = ? AND topic = ? AND partition = ?")
            .bind(&progress.source)
            .bind(&progress.topic)
            .bind(progress.partition)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some((topic_id, next_offset)) = kept {
        let kept = parse_uuid(&topic_id)?;
        let Progress { topic, partition, .. } = progress;
        if kept != progress.topic_id {
            return Err(MetaError::Recreated { topic: topic.clone(), kept, found: progress.topic_id });
        }
        if next_offset > progress.next_offset {
            let found = progress.next_offset;
            let what = format!("{topic}/{partition} is read up to {next_offset}, the manifest says {found}");
            return Err(MetaError::refused(what));
        }
    }
    sqlx::query(
        "INSERT INTO progress (source, topic, partition, cluster_id, topic_id, first_offset, next_offset, watermark, idle)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET
             cluster_id = excluded.cluster_id, next_offset = excluded.next_offset, idle = excluded.idle,
             watermark = max(coalesce(watermark, excluded.watermark), coalesce(excluded.watermark, watermark))",
    )
    .bind(&progress.source)
    .bind(&progress.topic)
    .bind(progress.partition)
    .bind(&progress.cluster_id)
    .bind(progress.topic_id.to_string())
    .bind(progress.first_offset)
    .bind(progress.next_offset)
    .bind(progress.watermark)
    .bind(progress.idle)
    .execute(connection)
    .await?;
    Ok(())
}

/// Lists a gap; one that goes on where the last ended becomes one with it.
async fn add_gap(connection: &mut SqliteConnection, gap: &Gap) -> Result<(), MetaError> {
    let joined = sqlx::query(
        "UPDATE gaps SET last_offset = ?
         WHERE source = ? AND topic = ? AND partition = ? AND kind = ? AND last_offset = ?",
    )
    .bind(gap.offsets.end)
    .bind(&gap.source)
    .bind(&gap.topic)
    .bind(gap.partition)
    .bind(&gap.kind)
    .bind(gap.offsets.start)
    .execute(&mut *connection)
    .await?;
    if joined.rows_affected() == 0 {
        sqlx::query(
            "INSERT INTO gaps (source, topic, partition, kind, first_offset, last_offset) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&gap.source)
        .bind(&gap.topic)
        .bind(gap.partition)
        .bind(&gap.kind)
        .bind(gap.offsets.start)
        .bind(gap.offsets.end)
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn add_counts(connection: &mut SqliteConnection, line: &Conservation) -> Result<(), MetaError> {
    let counts = &line.counts;
    // `open` is a level, not a flow: the newest epoch says how many records are in open windows.
    sqlx::query(
        "INSERT INTO conservation (branch, topic, partition, read, rows, windowed, filtered, late, dead_letters, open)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET
             read = read + excluded.read, rows = rows + excluded.rows, windowed = windowed + excluded.windowed,
             filtered = filtered + excluded.filtered, late = late + excluded.late,
             dead_letters = dead_letters + excluded.dead_letters, open = excluded.open",
    )
    .bind(line.branch.0)
    .bind(&line.topic)
    .bind(line.partition)
    .bind(int(counts.read)?)
    .bind(int(counts.rows)?)
    .bind(int(counts.windowed)?)
    .bind(int(counts.filtered)?)
    .bind(int(counts.late)?)
    .bind(int(counts.dead_letters)?)
    .bind(int(counts.open)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves a partition's resume offset, and lists what this skips or reads again. The watermark of another topic under the
/// same name says nothing of this one. Partitions that the topic has no more are forgotten: their old topic id would stop
/// every run.
pub(super) async fn reset_offset(connection: &mut SqliteConnection, reset: &OffsetReset) -> Result<(), MetaError> {
    if !(0..reset.partitions).contains(&reset.partition) || reset.next_offset < 0 {
        let OffsetReset { topic, partition, partitions, next_offset, .. } = reset;
        let what = format!("{topic}/{partition}@{next_offset} cannot be read next: there are {partitions} partitions");
        return Err(MetaError::refused(what));
    }
    let kept: Option<(i64,)> =
        sqlx::query_as("SELECT next_offset FROM progress WHERE source = ? AND topic = ? AND partition = ?")
            .bind(&reset.source)
            .bind(&reset.topic)
            .bind(reset.partition)
            .fetch_optional(&mut *connection)
            .await?;
    let old = kept.map_or(0, |(offset,)| offset);
    let new = reset.next_offset;
    if old != new {
        let (offsets, kind) = if old < new { (old..new, "reset") } else { (new..old, "again") };
        let OffsetReset { source, topic, partition, .. } = reset.clone();
        add_gap(connection, &Gap { source, topic, partition, offsets, kind: kind.into() }).await?;
    }
    sqlx::query(
        "INSERT INTO progress (source, topic, partition, cluster_id, topic_id, next_offset, watermark, idle)
         VALUES (?, ?, ?, ?, ?, ?, NULL, FALSE)
         ON CONFLICT DO UPDATE SET
             cluster_id = excluded.cluster_id, topic_id = excluded.topic_id, next_offset = excluded.next_offset,
             watermark = CASE WHEN topic_id = excluded.topic_id THEN watermark END,
             idle = topic_id = excluded.topic_id AND idle",
    )
    .bind(&reset.source)
    .bind(&reset.topic)
    .bind(reset.partition)
    .bind(&reset.cluster_id)
    .bind(reset.topic_id.to_string())
    .bind(new)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM progress WHERE source = ? AND topic = ? AND partition >= ?")
        .bind(&reset.source)
        .bind(&reset.topic)
        .bind(reset.partitions)
        .execute(connection)
        .await?;
    Ok(())
}
