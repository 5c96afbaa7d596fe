//! Staged parts as a scan: byte ranges of segments, several at a time.

use crate::segment::PartReader;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};
use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use thermocline_schemas::Tier;
use thermocline_schemas::metadata::Part;

/// Bytes of a segment that a scan reads at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// Reads parts of one table in one tier. Parts are dealt out over partitions by their rows.
#[derive(Debug)]
pub struct StagedExec {
    data_dir: PathBuf,
    tier: Tier,
    groups: Vec<Arc<[Part]>>,
    schema: SchemaRef,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl StagedExec {
    /// Scans `parts` as `schema`, see [`PartReader::new`]. Stops in each partition after `limit` rows.
    pub fn new(
        data_dir: PathBuf,
        tier: Tier,
        parts: Vec<Part>,
        schema: SchemaRef,
        partitions: usize,
        limit: Option<usize>,
    ) -> Self {
        let groups = deal(parts, partitions.max(1));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(groups.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { data_dir, tier, groups, schema, limit, properties: Arc::new(properties) }
    }
}

/// The largest part first, each to whoever has fewest rows so far.
fn deal(mut parts: Vec<Part>, partitions: usize) -> Vec<Arc<[Part]>> {
    let mut groups: Vec<(u64, Vec<Part>)> = vec![(0, vec![]); partitions.min(parts.len()).max(1)];
    parts.sort_by_key(|part| (std::cmp::Reverse(part.part.rows), part.id));
    for part in parts {
        let least = groups.iter_mut().min_by_key(|group| group.0).expect("there is at least one group");
        least.0 += part.part.rows;
        least.1.push(part);
    }
    groups.into_iter().map(|(_, parts)| parts.into()).collect()
}

impl DisplayAs for StagedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: usize = self.groups.iter().map(|group| group.len()).sum();
        let rows: u64 = self.groups.iter().flat_map(|group| group.iter()).map(|part| part.part.rows).sum();
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "StagedExec: tier={}, parts={parts}, rows={rows}, columns=[{}]", self.tier, columns.join(", "))?;
        self.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl ExecutionPlan for StagedExec {
    fn name(&self) -> &'static str {
        "StagedExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let parts = Arc::clone(&self.groups[partition]);
        let (data_dir, schema) = (self.data_dir.clone(), Arc::clone(&self.schema));
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&schema), 2);
        let sender = builder.tx();
        builder.spawn_blocking(move || {
            for part in parts.iter() {
                for batch in PartReader::new(&data_dir, part, Some(Arc::clone(&schema)), CHUNK_BYTES) {
                    if left == 0 {
                        return Ok(());
                    }
                    let batch = batch.map_err(|error| DataFusionError::External(Box::new(error)))?;
                    let batch = batch.slice(0, batch.num_rows().min(left));
                    left -= batch.num_rows();
                    // Nobody listens any more: the query has all it wanted.
                    if sender.blocking_send(Ok(batch)).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Statistics> {
        let groups = partition.map_or(&self.groups[..], |at| &self.groups[at..=at]);
        let rows: u64 = groups.iter().flat_map(|group| group.iter()).map(|part| part.part.rows).sum();
        let mut statistics = Statistics::new_unknown(&self.schema);
        if self.limit.is_none() {
            statistics.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
        }
        Ok(statistics)
    }
}
