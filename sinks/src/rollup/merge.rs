//! The rows of many parts as one stream, sorted by event time.
//!
//! Each part is sorted, so this is a k-way merge (DataFusion's, over a loser tree): in memory are a block or two of each
//! part, however large the parts are. A rollup takes no more parts than [`super::MERGE_BYTES`] allow.

use crate::SinkError;
use crate::committer::Embedder;
use crate::hot::hot_schema;
use crate::segment::stream_part;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use std::path::Path;
use std::sync::Arc;
use thermocline_schemas::TableSchema;
use thermocline_schemas::metadata::Part;
use thermocline_schemas::table::system;

/// Rows of one batch that goes into the data files.
const BATCH_ROWS: usize = 8_192;

/// All rows of `parts` in the table's stored columns, sorted by event time; with `_embedding` when there is an embedder.
pub(super) async fn rows(
    data_dir: &Path,
    schema: &TableSchema,
    parts: &[Part],
    embedder: Option<&Embedder>,
) -> Result<SendableRecordBatchStream, SinkError> {
    let stored = schema.stored();
    let mut streams = Vec::with_capacity(parts.len());
    for part in parts {
        streams.push(conformed(stream_part(data_dir, part).await?, Arc::clone(&stored)));
    }
    let merged = match streams.len() {
        1 => streams.pop().expect("there is one"),
        _ => merge(streams, &stored).map_err(|error| SinkError::store(format!("merging {}", schema.name), error))?,
    };
    Ok(match embedder {
        Some(embedder) => embedded(merged, schema, Arc::clone(embedder)),
        None => merged,
    })
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

/// The stream with the columns of `schema`: older parts lack columns that were added since.
fn conformed(stream: SendableRecordBatchStream, schema: SchemaRef) -> SendableRecordBatchStream {
    let wanted = Arc::clone(&schema);
    let rows = stream.map(move |batch| Ok(conform(&batch?, &wanted)?));
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef, ArrowError> {
        match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The stream with `_embedding`, computed on the blocking pool.
fn embedded(stream: SendableRecordBatchStream, schema: &TableSchema, embedder: Embedder) -> SendableRecordBatchStream {
    let columns = hot_schema(schema);
    let schema = Arc::new(schema.clone());
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
