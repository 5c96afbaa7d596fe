//! What the metadata store knows, as tables: `system.conservation`, `system.offsets`, `system.parts`, `system.versions`,
//! `system.gaps`.

use crate::SqlError;
use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use std::sync::Arc;
use thermocline_schemas::metadata::{BranchId, CutView, Gap};

/// Where they are.
pub const SCHEMA: &str = "system";

/// A table with its name.
pub type Named = (&'static str, Arc<dyn TableProvider>);

/// All of them, by name.
///
/// # Errors
/// Never in practice: the columns are made here.
pub fn all(view: &CutView, gaps: &[Gap]) -> Result<Vec<Named>, SqlError> {
    Ok(vec![
        ("conservation", table(conservation(view)?)?),
        ("offsets", table(offsets(view)?)?),
        ("parts", table(parts(view)?)?),
        ("versions", table(versions(view)?)?),
        ("gaps", table(self::gaps(gaps)?)?),
    ])
}

fn table(batch: RecordBatch) -> Result<Arc<dyn TableProvider>, SqlError> {
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(SqlError::of)?;
    Ok(Arc::new(table))
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn count(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(|value| i64::try_from(value).unwrap_or(i64::MAX))))
}

fn time(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
}

/// A row a branch and partition: where every record went.
fn conservation(view: &CutView) -> Result<RecordBatch, SqlError> {
    let all = &view.conservation;
    let identity = |id: BranchId| view.branches.iter().find(|branch| branch.id == id).map(|branch| &branch.identity);
    Ok(RecordBatch::try_from_iter([
        ("branch", Arc::new(Int32Array::from_iter_values(all.iter().map(|it| it.branch.0))) as ArrayRef),
        ("source", text(all.iter().map(|it| identity(it.branch).map_or("", |branch| branch.source.as_str())))),
        ("target", text(all.iter().map(|it| identity(it.branch).map_or("", |branch| branch.target.as_str())))),
        ("topic", text(all.iter().map(|it| it.topic.as_str()))),
        ("partition", Arc::new(Int32Array::from_iter_values(all.iter().map(|it| it.partition)))),
        ("read", count(all.iter().map(|it| it.counts.read))),
        ("rows", count(all.iter().map(|it| it.counts.rows))),
        ("windowed", count(all.iter().map(|it| it.counts.windowed))),
        ("filtered", count(all.iter().map(|it| it.counts.filtered))),
        ("late", count(all.iter().map(|it| it.counts.late))),
        ("dead_letters", count(all.iter().map(|it| it.counts.dead_letters))),
        ("holds", Arc::new(BooleanArray::from_iter(all.iter().map(|it| Some(it.counts.holds()))))),
    ])?)
}

/// How far each source has come.
fn offsets(view: &CutView) -> Result<RecordBatch, SqlError> {
    let all = &view.progress;
    let ids: Vec<String> = all.iter().map(|it| it.topic_id.to_string()).collect();
    Ok(RecordBatch::try_from_iter([
        ("source", text(all.iter().map(|it| it.source.as_str()))),
        ("topic", text(all.iter().map(|it| it.topic.as_str()))),
        ("partition", Arc::new(Int32Array::from_iter_values(all.iter().map(|it| it.partition))) as ArrayRef),
        ("next_offset", Arc::new(Int64Array::from_iter_values(all.iter().map(|it| it.next_offset)))),
        ("watermark", time(all.iter().map(|it| it.watermark))),
        ("idle", Arc::new(BooleanArray::from_iter(all.iter().map(|it| Some(it.idle))))),
        ("topic_id", text(ids.iter().map(String::as_str))),
        ("cluster_id", text(all.iter().map(|it| it.cluster_id.as_str()))),
    ])?)
}

/// Rows that are durable and visible, and not rolled up yet.
fn parts(view: &CutView) -> Result<RecordBatch, SqlError> {
    let all = &view.parts;
    Ok(RecordBatch::try_from_iter([
        ("table", text(all.iter().map(|it| it.part.table.name.as_str()))),
        ("tier", text(all.iter().map(|it| it.part.table.tier.as_str()))),
        ("segment", text(all.iter().map(|it| it.segment.as_str()))),
        ("epoch", count(all.iter().map(|it| it.epoch.0))),
        ("rows", count(all.iter().map(|it| it.part.rows))),
        ("bytes", count(all.iter().map(|it| it.part.bytes.end - it.part.bytes.start))),
        ("least_event_time", time(all.iter().map(|it| Some(it.part.event_time.0)))),
        ("greatest_event_time", time(all.iter().map(|it| Some(it.part.event_time.1)))),
    ])?)
}

/// The exact version of every physical table.
fn versions(view: &CutView) -> Result<RecordBatch, SqlError> {
    let all = &view.versions;
    Ok(RecordBatch::try_from_iter([
        ("table", text(all.iter().map(|it| it.table.name.as_str()))),
        ("tier", text(all.iter().map(|it| it.table.tier.as_str()))),
        ("version", text(all.iter().map(|it| it.version.0.as_str()))),
        ("rows", count(all.iter().map(|it| it.rows))),
        ("least_event_time", time(all.iter().map(|it| it.event_time.map(|bounds| bounds.0)))),
        ("greatest_event_time", time(all.iter().map(|it| it.event_time.map(|bounds| bounds.1)))),
        ("cut", count(all.iter().map(|it| it.added.0))),
    ])?)
}

/// Offsets that were never delivered, or delivered again.
fn gaps(all: &[Gap]) -> Result<RecordBatch, SqlError> {
    Ok(RecordBatch::try_from_iter([
        ("source", text(all.iter().map(|it| it.source.as_str()))),
        ("topic", text(all.iter().map(|it| it.topic.as_str()))),
        ("partition", Arc::new(Int32Array::from_iter_values(all.iter().map(|it| it.partition))) as ArrayRef),
        ("first_offset", Arc::new(Int64Array::from_iter_values(all.iter().map(|it| it.offsets.start)))),
        ("end_offset", Arc::new(Int64Array::from_iter_values(all.iter().map(|it| it.offsets.end)))),
        ("kind", text(all.iter().map(|it| it.kind.as_str()))),
    ])?)
}
