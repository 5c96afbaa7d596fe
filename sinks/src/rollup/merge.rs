//! The rows of many parts as one stream, round by round, each round sorted by event time.
//!
//! Each part is sorted, so a round is a k-way merge (DataFusion's, over a loser tree): in memory are a block or two of each
//! of its parts, however large the parts are.

use crate::committer::Embedder;
use crate::hot::hot_schema;
use crate::segment::stream_part;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};
use std::path::Path;
use std::sync::Arc;
use thermocline_schemas::TableSchema;
use thermocline_schemas::metadata::Part;
use thermocline_schemas::table::system;

/// Rows of one batch that goes into the data files.
const BATCH_ROWS: usize = 4_096;

/// Where the parts of a rollup lie, and what their rows become.
#[derive(Clone)]
pub(super) struct Source {
    data_dir: Arc<Path>,
    schema: Arc<TableSchema>,
    embedder: Option<Embedder>,
}

impl Source {
    /// Parts under `data_dir`, of a table with the columns `schema`.
    pub(super) fn new(data_dir: &Path, schema: &TableSchema, embedder: Option<&Embedder>) -> Self {
        Self { data_dir: data_dir.into(), schema: Arc::new(schema.clone()), embedder: embedder.cloned() }
    }

    /// All rows of `rounds` in the table's stored columns, each round sorted by event time; with `_embedding` when there is
    /// an embedder. The parts of a round are opened when its turn has come.
    pub(super) fn rows(&self, rounds: Vec<Vec<Part>>) -> SendableRecordBatchStream {
        let source = self.clone();
        let merged = stream::iter(rounds).map(move |round| source.round(&round));
        let merged = Box::pin(RecordBatchStreamAdapter::new(self.schema.stored(), merged.try_flatten()));
        match &self.embedder {
            Some(embedder) => embedded(merged, Arc::clone(&self.schema), Arc::clone(embedder)),
            None => merged,
        }
    }

    fn round(&self, parts: &[Part]) -> Result<SendableRecordBatchStream, DataFusionError> {
        let stored = self.schema.stored();
        let part = |part: &Part| stream_part(&self.data_dir, part, Arc::clone(&stored));
        match parts {
            [only] => Ok(part(only)),
            parts => merge(parts.iter().map(part).collect(), &stored),
        }
    }
}

fn merge(
    streams: Vec<SendableRecordBatchStream>,
    schema: &SchemaRef,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let options = SortOptions { descending: false, nulls_first: true };
    let by_time = PhysicalSortExpr { expr: col(system::EVENT_TIME, schema)?, options };
    let ordering = LexOrdering::new([by_time]).expect("one expression is an ordering");
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    StreamingMergeBuilder::new()
        .with_streams(streams)
        .with_schema(Arc::clone(schema))
        .with_expressions(&ordering)
        .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
        .with_batch_size(BATCH_ROWS)
        .with_reservation(MemoryConsumer::new("rollup").register(&pool))
        .build()
}

/// The stream with `_embedding`, computed on the blocking pool.
fn embedded(
    stream: SendableRecordBatchStream,
    schema: Arc<TableSchema>,
    embedder: Embedder,
) -> SendableRecordBatchStream {
    let columns = hot_schema(&schema);
    let rows = stream.then(move |batch| {
        let (schema, embedder) = (Arc::clone(&schema), Arc::clone(&embedder));
        async move {
            let batch = batch?;
            tokio::task::spawn_blocking(move || embedder(&schema, batch))
                .await
                .map_err(|error| DataFusionError::External(error.into()))?
                .map_err(DataFusionError::External)
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(columns, rows))
}
