//! The hand-written ceiling: librdkafka in arrays, arrow-json, Parquet with zstd 1. No table, no offsets, no recovery.

use crate::bench::records::COLUMNS;
use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Int32Builder, Int64Builder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::reader::{Decoder, ReaderBuilder};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rdkafka_sys as sys;
use std::ffi::CString;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const BATCH_ROWS: usize = 16_384;
const ARRAY_MESSAGES: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads all of `topic` with `threads` threads, a client each, and writes one Parquet file a thread into `out`. Returns
/// the rows.
pub(crate) fn run(bootstrap: &str, topic: &str, threads: usize, out: &Path) -> Result<u64> {
    std::fs::create_dir_all(out)?;
    let consumer: BaseConsumer = client(bootstrap).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let mut shares: Vec<Vec<(i32, i64)>> = vec![vec![]; threads];
    let partitions = metadata.topics().first().context("the topic is there")?.partitions();
    for (at, partition) in partitions.iter().enumerate() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?;
        shares[at % threads].push((partition.id(), high - low));
    }
    let work = |(number, share): (usize, Vec<(i32, i64)>)| {
        let (bootstrap, topic, file) =
            (bootstrap.to_owned(), topic.to_owned(), out.join(format!("part-{number}.parquet")));
        std::thread::spawn(move || read(&bootstrap, &topic, &share, &file))
    };
    let readers: Vec<_> = shares.into_iter().enumerate().map(work).collect();
    let mut rows = 0;
    for reader in readers {
        rows += reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
    }
    Ok(rows)
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "ceiling")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.message.max.bytes", "1048576")
        .set("queued.max.messages.kbytes", "65536")
        .set("fetch.queue.backoff.ms", "10");
    config
}

/// The rows of one thread on their way to its file.
struct Sink {
    schema: SchemaRef,
    decoder: Decoder,
    partitions: Int32Builder,
    offsets: Int64Builder,
    writer: ArrowWriter<File>,
    pending: usize,
    rows: u64,
}

impl Sink {
    fn new(file: &Path) -> Result<Self> {
        let decoded = Arc::new(Schema::new(columns()));
        let mut all = columns();
        all.push(Field::new("kafka_partition", DataType::Int32, false));
        all.push(Field::new("kafka_offset", DataType::Int64, false));
        let schema = Arc::new(Schema::new(all));
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();
        Ok(Self {
            decoder: ReaderBuilder::new(decoded).with_batch_size(BATCH_ROWS).build_decoder()?,
            writer: ArrowWriter::try_new(File::create(file)?, schema.clone(), Some(properties))?,
            schema,
            partitions: Int32Builder::new(),
            offsets: Int64Builder::new(),
            pending: 0,
            rows: 0,
        })
    }

    fn push(&mut self, payload: &[u8], partition: i32, offset: i64) -> Result<()> {
        self.decoder.decode(payload)?;
        self.partitions.append_value(partition);
        self.offsets.append_value(offset);
        self.pending += 1;
        self.rows += 1;
        if self.pending == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(batch) = self.decoder.flush()? {
            let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
            columns.push(Arc::new(self.partitions.finish()));
            columns.push(Arc::new(self.offsets.finish()));
            self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        }
        self.pending = 0;
        Ok(())
    }
}

/// The declared columns, as Arrow has them.
fn columns() -> Vec<Field> {
    let field = |column: &str| {
        let (name, sql) = column.trim().split_once(' ').expect("a column has a name and a type");
        let data_type = match sql {
            "BIGINT" => DataType::Int64,
            "DOUBLE" => DataType::Float64,
            "BOOLEAN" => DataType::Boolean,
            _ => DataType::Utf8,
        };
        Field::new(name, data_type, true)
    };
    COLUMNS.split(',').map(field).collect()
}

fn read(bootstrap: &str, topic: &str, share: &[(i32, i64)], file: &Path) -> Result<u64> {
    let want: i64 = share.iter().map(|(_, records)| records).sum();
    let consumer: BaseConsumer = client(bootstrap).create()?;
    let mut sink = Sink::new(file)?;
    let name = CString::new(topic)?;
    // SAFETY: the queue is made of, and destroyed before, the client that lives to the end of this function; a partition's
    // queue is ours until it is forwarded.
    let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
    let mut assignment = TopicPartitionList::new();
    for (partition, _) in share {
        // SAFETY: as above.
        unsafe {
            let own = sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), name.as_ptr(), *partition);
            sys::rd_kafka_queue_forward(own, queue);
            sys::rd_kafka_queue_destroy(own);
        }
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut messages = vec![std::ptr::null_mut(); ARRAY_MESSAGES];
    while (sink.rows as i64) < want {
        // SAFETY: the array has as many places as it says; each message is read before it is destroyed, once.
        unsafe {
            let found = sys::rd_kafka_consume_batch_queue(queue, 100, messages.as_mut_ptr(), messages.len());
            ensure!(found >= 0, "librdkafka gives no messages");
            for message in &messages[..found as usize] {
                let read = &**message;
                if read.err as i32 == 0 {
                    let payload = std::slice::from_raw_parts(read.payload.cast::<u8>(), read.len);
                    sink.push(payload, read.partition, read.offset)?;
                }
                sys::rd_kafka_message_destroy(*message);
            }
        }
    }
    sink.flush()?;
    // SAFETY: made above, not used again.
    unsafe { sys::rd_kafka_queue_destroy(queue) };
    let rows = sink.rows;
    sink.writer.close()?;
    Ok(rows)
}
