use super::*;
use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;
use std::sync::Arc;
use thermocline_schemas::metadata::{Part, PartId};
use thermocline_schemas::table::timestamp_type;
use thermocline_schemas::{Cut, TableName, Tier};

fn batch(times: impl IntoIterator<Item = i64>) -> RecordBatch {
    let times: Vec<i64> = times.into_iter().collect();
    let text = StringArray::from_iter(times.iter().map(|time| (time % 3 != 0).then(|| format!("row {time}"))));
    let numbers = Int64Array::from(times.clone());
    let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let schema = Schema::new(vec![
        Field::new("event_time", timestamp_type(), false),
        Field::new("text", DataType::Utf8, true),
        Field::new("number", DataType::Int64, false),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times), Arc::new(text), Arc::new(numbers)]).unwrap()
}

fn table(name: &str, tier: Tier) -> TableId {
    TableId::new(TableName::new(name).unwrap(), tier)
}

fn staged(segment: &NewSegment, part: usize) -> Part {
    let (segment, part) = (segment.path.clone(), segment.parts[part].clone());
    Part { id: PartId(1), segment, part, epoch: Epoch(5), added: Cut(1), added_at: 0 }
}

fn write(folder: &Path, parts: Vec<(TableId, Vec<RecordBatch>)>) -> NewSegment {
    write_segment(folder, Generation(3), Epoch(5), 1, parts, Durability::Disk).unwrap()
}

#[tokio::test]
async fn every_part_is_read_back_alone_whole_and_projected() {
    let folder = tempfile::tempdir().unwrap();
    create_staging(folder.path(), Generation(3), Durability::Disk).unwrap();
    let parts = vec![
        (table("chat", Tier::Hot), vec![batch(0..20_000), batch(20_000..20_010)]),
        (table("logs", Tier::Warm), vec![batch([])]),
        (table("metrics.clicks", Tier::Cold), vec![batch([-5, -5, 7])]),
    ];
    let segment = write(folder.path(), parts.clone());
    assert_eq!(segment.path, "staged/3/5-1");
    assert_eq!(segment.bytes, fs::metadata(folder.path().join(&segment.path)).unwrap().len());
    let described: Vec<_> =
        segment.parts.iter().map(|part| (part.table.to_string(), part.rows, part.event_time)).collect();
    assert_eq!(
        described,
        [("hot.chat".to_owned(), 20_010, (0, 20_009)), ("cold.metrics.clicks".to_owned(), 3, (-5, 7))]
    );

    let chat = staged(&segment, 0);
    let read = read_part(folder.path(), &chat).unwrap();
    let all = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
    assert_eq!(all, batch(0..20_010));
    let streamed: Vec<RecordBatch> = stream_part(folder.path(), &chat, read[0].schema()).try_collect().await.unwrap();
    assert_eq!(streamed, read);
    let length = chat.part.bytes.end - chat.part.bytes.start;
    for chunk in [1, 100, 4_096, length - 9, length - 8, length - 1, length] {
        let pieces: Result<Vec<_>, _> = PartReader::new(folder.path(), &chat, None, chunk).collect();
        assert_eq!(pieces.unwrap(), read, "chunks of {chunk} bytes");
    }
    // Some of the columns, in another order, one that came later, and one of a wider type.
    let wanted = Arc::new(Schema::new(vec![
        Field::new("number", DataType::Decimal128(20, 0), false),
        Field::new("added", DataType::Utf8, true),
        Field::new("event_time", timestamp_type(), false),
    ]));
    let projected: Vec<_> = stream_part(folder.path(), &chat, Arc::clone(&wanted)).try_collect().await.unwrap();
    assert_eq!(projected.len(), read.len());
    for (projected, read) in projected.iter().zip(&read) {
        assert_eq!((projected.schema(), projected.num_rows()), (Arc::clone(&wanted), read.num_rows()));
        assert_eq!(
            arrow::compute::cast(projected.column(0), &DataType::Int64).unwrap().as_ref(),
            read.column(2).as_ref()
        );
        assert_eq!(projected.column(1).null_count(), read.num_rows());
        assert_eq!(projected.column(2), read.column(0));
    }
    // A count wants no column at all.
    let counted: Vec<_> = stream_part(folder.path(), &chat, Arc::new(Schema::empty())).try_collect().await.unwrap();
    assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_010);
    assert_eq!(read_part(folder.path(), &staged(&segment, 1)).unwrap(), [batch([-5, -5, 7])]);

    let index = read_index(&folder.path().join(&segment.path)).unwrap();
    assert_eq!((index.generation, index.epoch, index.worker), (Generation(3), Epoch(5), 1));
    assert_eq!(index.parts.into_iter().map(|indexed| indexed.part).collect::<Vec<_>>(), segment.parts);
    assert_eq!(fs::read_dir(folder.path().join("staged/3")).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn unsorted_rows_are_sorted_and_keep_their_order_within_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let segment = write(folder.path(), vec![(table("chat", Tier::Hot), vec![batch([3, 9]), batch([4, 3, 1])])]);
    assert_eq!(segment.parts[0].event_time, (1, 9));
    assert_eq!(read_part(folder.path(), &staged(&segment, 0)).unwrap(), [batch([1, 3, 3, 4, 9])]);
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let segment = write(folder.path(), vec![(table("chat", Tier::Hot), vec![batch(0..1_000)])]);
    let path = folder.path().join(&segment.path);
    let part = staged(&segment, 0);
    let whole = fs::read(&path).unwrap();
    let range = part.part.bytes.start as usize..part.part.bytes.end as usize;
    for at in range.step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(&path, damaged).unwrap();
        let error = read_part(folder.path(), &part).expect_err("a flipped bit is found");
        assert!(error.to_string().starts_with("segment staged/3/5-1 is damaged: "), "{error}");
        let streamed = stream_part(folder.path(), &part, batch([]).schema()).try_collect::<Vec<_>>().await;
        assert!(streamed.is_err());
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(read_part(folder.path(), &part).is_err());
    assert!(matches!(read_index(&path).unwrap_err(), SinkError::Damaged { .. }));
    fs::remove_file(&path).unwrap();
    let SinkError::Store { source, .. } = read_part(folder.path(), &part).unwrap_err() else { panic!() };
    assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::NotFound);
}

#[test]
fn an_epoch_without_rows_is_a_segment_without_parts() {
    let folder = tempfile::tempdir().unwrap();
    let segment = write(folder.path(), vec![]);
    assert_eq!(segment.parts, []);
    assert_eq!(read_index(&folder.path().join(&segment.path)).unwrap().parts, []);
}
