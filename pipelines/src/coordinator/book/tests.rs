use super::*;
use crate::raw::Topic;
use thermocline_schemas::metadata::Counts;

fn book(workers: usize) -> Book {
    let source = SourceInfo {
        name: "s".into(),
        max_disorder: 10,
        idle_after: Duration::from_secs(30),
        branches: vec![BranchId(1)],
    };
    Book::new(vec![source], workers, &[])
}

fn closing(epoch: u64, next_offset: i64, at_end_since: Option<Instant>, closed_at: Instant) -> Closing {
    let topic = Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::from_u128(1) });
    let state = PartitionState { topic, first_offset: 0, next_offset, at_end_since, paused: false };
    let partitions = [(TopicPartition::new("t", 0), state)].into();
    let source = ClosedEpoch { partitions, records: 2, charged_bytes: 7, ..ClosedEpoch::default() };
    Closing { epoch: Epoch(epoch), opened_at: 1_000, closed_at, sources: vec![source], healthy: vec![true] }
}

fn written(epoch: u64, worker: usize, newest: Option<EventTime>) -> Written {
    let mut tally = Tally::default();
    tally.saw(0, &TopicPartition::new("t", 0), newest);
    *tally.branch(BranchId(1), &TopicPartition::new("t", 0)) = Counts { read: 1, rows: 1, ..Counts::default() };
    Written { epoch: Epoch(epoch), worker, segment: None, tally }
}

#[test]
fn an_epoch_is_ready_when_every_worker_has_reported_and_never_out_of_order() {
    let (mut book, now) = (book(2), Instant::now());
    book.close(closing(1, 2, None, now));
    book.close(closing(2, 4, None, now));
    book.written(written(2, 0, None));
    book.written(written(2, 1, None));
    book.written(written(1, 0, Some(500)));
    assert!(book.next_ready().is_none(), "worker 1 has not reported epoch 1");
    book.written(written(1, 1, Some(400)));
    let first = book.next_ready().unwrap();
    let manifest = first.manifest.unwrap();
    assert_eq!((first.epoch, first.charged_bytes, first.records), (Epoch(1), 7, 2));
    assert_eq!(manifest.conservation[0].counts, Counts { read: 2, rows: 2, ..Counts::default() });
    assert_eq!((manifest.progress[0].next_offset, manifest.progress[0].watermark), (2, Some(490)));
    let second = book.next_ready().unwrap().manifest.unwrap();
    assert_eq!(second.progress[0].watermark, Some(490), "the watermark stays where no row moved it");
}

#[test]
fn an_epoch_in_which_nothing_happened_has_no_manifest() {
    let (mut book, now) = (book(1), Instant::now());
    for epoch in [1, 2] {
        book.close(closing(epoch, 2, None, now));
        book.written(Written { epoch: Epoch(epoch), worker: 0, segment: None, tally: Tally::default() });
    }
    assert!(book.next_ready().unwrap().manifest.is_some(), "the partition is new");
    assert!(book.next_ready().unwrap().manifest.is_none());
}

#[test]
fn a_row_from_the_future_does_not_move_the_watermark_past_the_epoch() {
    let (mut book, now) = (book(1), Instant::now());
    book.close(closing(1, 2, None, now));
    book.written(written(1, 0, Some(i64::MAX)));
    assert_eq!(book.next_ready().unwrap().manifest.unwrap().progress[0].watermark, Some(990));
}

#[test]
fn a_partition_is_idle_only_at_its_end_for_long_and_while_the_broker_answers() {
    let (mut book, start) = (book(1), Instant::now());
    let late = start + Duration::from_secs(31);
    let mut idle = |epoch, since, healthy| {
        let mut closing = closing(epoch, 2, since, late);
        closing.healthy = vec![healthy];
        book.close(closing);
        book.written(written(epoch, 0, None));
        let ready = book.next_ready().unwrap().manifest.unwrap();
        ready.progress.first().map(|progress| progress.idle)
    };
    assert_eq!(idle(1, Some(late), true), Some(false), "it has only just reached its end");
    assert_eq!(idle(2, Some(start), true), Some(true));
    assert_eq!(idle(3, Some(start), false), Some(false), "silence of the broker is no silence of the partition");
    assert_eq!(idle(4, None, true), None, "no change, no progress");
}

/// The watermarks after an epoch in which each partition, from 0 on, has read `newest` and is at its end since then.
fn watermarks(
    book: &mut Book,
    epoch: u64,
    now: Instant,
    partitions: [(Option<EventTime>, Option<Instant>); 2],
) -> Vec<i64> {
    let mut tally = Tally::default();
    let mut closing = closing(epoch, 2, None, now);
    for (number, (newest, at_end_since)) in (0..).zip(partitions) {
        let key = TopicPartition::new("t", number);
        tally.saw(0, &key, newest);
        let state = closing.sources[0].partitions[&TopicPartition::new("t", 0)].clone();
        let next_offset = i64::try_from(epoch).unwrap();
        closing.sources[0].partitions.insert(key, PartitionState { at_end_since, next_offset, ..state });
    }
    book.close(closing);
    book.written(Written { epoch: Epoch(epoch), worker: 0, segment: None, tally });
    book.next_ready().unwrap();
    (0..2).map(|number| book.known[&(0, TopicPartition::new("t", number))].watermark.unwrap()).collect()
}

#[test]
fn a_source_whose_partitions_all_went_idle_goes_on_from_where_it_stood() {
    let (mut book, start) = (book(1), Instant::now());
    let later = start + Duration::from_secs(60);
    assert_eq!(watermarks(&mut book, 1, start, [(Some(110), None), (Some(60), None)]), [100, 50]);
    // The second goes idle: the source stands at 100.
    assert_eq!(watermarks(&mut book, 2, later, [(Some(110), None), (None, Some(start))]), [100, 50]);
    // The first too: whoever goes on must not bring the source back to 50.
    assert_eq!(watermarks(&mut book, 3, later, [(None, Some(start)), (None, Some(start))]), [100, 100]);
    assert_eq!(watermarks(&mut book, 4, later, [(None, Some(start)), (Some(70), None)]), [100, 100]);
}
