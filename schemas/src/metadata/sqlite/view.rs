//! Everything as of the newest cut, copied out of one transaction.

use super::{count, from_json, parse_uuid, table_id};
use crate::metadata::{
    Branch, BranchId, Conservation, Counts, CutView, Gap, LiveSegment, LiveVersion, Mapping, MetaError, NewBranch,
    NewPart, Part, PartId, Progress, TableVersion, TopicId,
};
use crate::{Cut, Epoch, TableSchema};
use sqlx::SqliteConnection;

/// A part as [`PART`] selects it.
pub(super) type PartRow = (i64, String, String, String, i64, i64, i64, i64, i64, i64, i64, i64);

/// Selects [`PartRow`]s.
pub(super) const PART: &str = "SELECT parts.part, segments.path, parts.name, parts.tier, parts.first_byte, \
     parts.last_byte, parts.rows, parts.least, parts.greatest, parts.epoch, parts.added_cut, parts.added_at \
     FROM parts JOIN segments USING (segment)";

/// The value of a row of [`PART`].
pub(super) fn part(row: PartRow) -> Result<Part, MetaError> {
    let (id, segment, name, tier, first, last, rows, least, greatest, epoch, added, added_at) = row;
    let table = table_id(&name, &tier)?;
    let part = NewPart { table, bytes: count(first)?..count(last)?, rows: count(rows)?, event_time: (least, greatest) };
    Ok(Part { id: PartId(id), segment, part, epoch: Epoch(count(epoch)?), added: Cut(count(added)?), added_at })
}

/// The newest cut's view. What is at the newest cut has no `removed_cut`.
pub(super) async fn newest(connection: &mut SqliteConnection) -> Result<CutView, MetaError> {
    let (cut,): (Option<i64>,) = sqlx::query_as("SELECT max(cut) FROM cuts").fetch_one(&mut *connection).await?;
    let (epoch,): (Option<i64>,) = sqlx::query_as("SELECT epoch FROM store").fetch_one(&mut *connection).await?;
    let rows: Vec<PartRow> = sqlx::query_as(&format!("{PART} WHERE parts.removed_cut IS NULL ORDER BY parts.part"))
        .fetch_all(&mut *connection)
        .await?;
    let parts = rows.into_iter().map(part).collect::<Result<_, _>>()?;
    let segments: Vec<(String, i64)> = sqlx::query_as(
        "SELECT path, bytes FROM segments
         WHERE segment IN (SELECT segment FROM parts WHERE removed_cut IS NULL) ORDER BY segment",
    )
    .fetch_all(&mut *connection)
    .await?;
    let segments = segments.into_iter().map(|(path, bytes)| Ok(LiveSegment { path, bytes: count(bytes)? }));
    Ok(CutView {
        cut: Cut(count(cut.unwrap_or(0))?),
        epoch: epoch.map(count).transpose()?.map(Epoch),
        tables: tables(connection).await?,
        parts,
        segments: segments.collect::<Result<_, MetaError>>()?,
        versions: versions(connection).await?,
        lagging: lagging(connection).await?,
        progress: progress(connection).await?,
        topic_ids: topic_ids(connection).await?,
        branches: branches(connection).await?,
        conservation: conservation(connection).await?,
        dropped_fields: dropped_fields(connection).await?,
        pauses: super::branches::pauses(connection).await?,
    })
}

async fn tables(connection: &mut SqliteConnection) -> Result<Vec<TableSchema>, MetaError> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT schema FROM tables WHERE removed_cut IS NULL ORDER BY name")
        .fetch_all(connection)
        .await?;
    rows.iter().map(|(schema,)| from_json(schema)).collect()
}

type VersionRow = (String, String, String, i64, Option<i64>, Option<i64>, i64);

async fn versions(connection: &mut SqliteConnection) -> Result<Vec<LiveVersion>, MetaError> {
    let rows: Vec<VersionRow> = sqlx::query_as(
        "SELECT name, tier, version, rows, least, greatest, added_cut FROM versions
         WHERE removed_cut IS NULL ORDER BY name, tier",
    )
    .fetch_all(connection)
    .await?;
    let version = |(name, tier, version, rows, least, greatest, added): VersionRow| {
        Ok(LiveVersion {
            table: table_id(&name, &tier)?,
            version: TableVersion(version),
            rows: count(rows)?,
            event_time: least.zip(greatest),
            added: Cut(count(added)?),
        })
    };
    rows.into_iter().map(version).collect()
}

async fn lagging(connection: &mut SqliteConnection) -> Result<Vec<crate::TableId>, MetaError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT versions.name, versions.tier FROM versions JOIN tables USING (name)
         WHERE versions.removed_cut IS NULL AND tables.removed_cut IS NULL AND versions.columns < tables.revision
         ORDER BY versions.name, versions.tier",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|(name, tier)| table_id(name, tier)).collect()
}

type ProgressRow = (String, String, String, String, i32, i64, i64, Option<i64>, bool);

async fn progress(connection: &mut SqliteConnection) -> Result<Vec<Progress>, MetaError> {
    let rows: Vec<ProgressRow> = sqlx::query_as(
        "SELECT source, cluster_id, topic, topic_id, partition, first_offset, next_offset, watermark, idle FROM progress
         ORDER BY source, topic, partition",
    )
    .fetch_all(connection)
    .await?;
    let progress = |row: ProgressRow| {
        let (source, cluster_id, topic, topic_id, partition, first_offset, next_offset, watermark, idle) = row;
        let topic_id = parse_uuid(&topic_id)?;
        Ok(Progress { source, cluster_id, topic, topic_id, partition, first_offset, next_offset, watermark, idle })
    };
    rows.into_iter().map(progress).collect()
}

async fn topic_ids(connection: &mut SqliteConnection) -> Result<Vec<TopicId>, MetaError> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT topic, topic_id, since_epoch FROM topic_ids ORDER BY topic, since_epoch")
            .fetch_all(connection)
            .await?;
    let topic_id = |(topic, id, since): (String, String, i64)| {
        Ok(TopicId { topic, id: parse_uuid(&id)?, since: Epoch(count(since)?) })
    };
    rows.into_iter().map(topic_id).collect()
}

/// Every gap, by place.
pub(super) async fn gaps(connection: &mut SqliteConnection) -> Result<Vec<Gap>, MetaError> {
    let rows: Vec<(String, String, i32, String, i64, i64)> = sqlx::query_as(
        "SELECT source, topic, partition, kind, first_offset, last_offset FROM gaps
         ORDER BY source, topic, partition, first_offset",
    )
    .fetch_all(connection)
    .await?;
    let gap =
        |(source, topic, partition, kind, first, last)| Gap { source, topic, partition, offsets: first..last, kind };
    Ok(rows.into_iter().map(gap).collect())
}

type BranchRow = (i32, String, String, String, bool, String, i64, Option<i64>);

async fn branches(connection: &mut SqliteConnection) -> Result<Vec<Branch>, MetaError> {
    let rows: Vec<BranchRow> = sqlx::query_as(
        "SELECT branch, source, target, statement, filters, started_at, first_epoch, closed_epoch FROM branches
         ORDER BY branch",
    )
    .fetch_all(connection)
    .await?;
    let branch = |(id, source, target, statement, filters, started_at, first, closed): BranchRow| {
        let identity = NewBranch { source, target, statement, filters };
        let closed_epoch = closed.map(count).transpose()?.map(Epoch);
        let (id, first_epoch, started_at) = (BranchId(id), Epoch(count(first)?), from_json(&started_at)?);
        Ok(Branch { id, identity, started_at, first_epoch, closed_epoch })
    };
    rows.into_iter().map(branch).collect()
}

type CountsRow = (i32, String, i32, i64, i64, i64, i64, i64, i64, i64);

async fn conservation(connection: &mut SqliteConnection) -> Result<Vec<Conservation>, MetaError> {
    let rows: Vec<CountsRow> = sqlx::query_as(
        "SELECT branch, topic, partition, read, rows, windowed, filtered, late, dead_letters, open FROM conservation
         ORDER BY branch, topic, partition",
    )
    .fetch_all(connection)
    .await?;
    let line = |(branch, topic, partition, read, rows, windowed, filtered, late, dead_letters, open): CountsRow| {
        let counts = Counts {
            read: count(read)?,
            rows: count(rows)?,
            windowed: count(windowed)?,
            filtered: count(filtered)?,
            late: count(late)?,
            dead_letters: count(dead_letters)?,
            open: count(open)?,
        };
        Ok(Conservation { branch: BranchId(branch), topic, partition, counts })
    };
    rows.into_iter().map(line).collect()
}

async fn dropped_fields(connection: &mut SqliteConnection) -> Result<Vec<(String, u64)>, MetaError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT source, fields FROM dropped_fields ORDER BY source").fetch_all(connection).await?;
    rows.into_iter().map(|(source, fields)| Ok((source, count(fields)?))).collect()
}

/// The mapper's decisions that are kept, by key.
pub(super) async fn mappings(connection: &mut SqliteConnection) -> Result<Vec<Mapping>, MetaError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT key, json FROM mappings ORDER BY key").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(key, json)| Mapping { key, json }).collect())
}
