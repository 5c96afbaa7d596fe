use std::fs;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::batch::testing::{Wanted, batch};
use super::super::segment::checkpoint_path;
use super::*;

fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, retention: Retention::default() }
}

fn open(folder: &TempDir, segment_bytes: u64) -> PartitionLog {
    PartitionLog::open(folder.path(), options(segment_bytes), 0).expect("log opens")
}

fn append(log: &mut PartitionLog, wanted: Wanted) -> Result<Appended, LogError> {
    let bytes = batch(wanted);
    let header = BatchHeader::accept(&bytes).expect("sound");
    log.append(&bytes, &header, 0)
}

fn read(log: &mut PartitionLog, offset: i64, max_bytes: usize) -> Bytes {
    let visible_end = log.end_offset();
    match log.span_of(offset).expect("in range") {
        Some(span) => span.read(offset, visible_end, max_bytes, true).expect("readable"),
        None => Bytes::new(),
    }
}

/// Base offsets of all batches, read one after the other with every checksum checked.
fn all_offsets(log: &mut PartitionLog) -> Vec<i64> {
    let (mut offset, mut found) = (log.start_offset(), Vec::new());
    while offset < log.end_offset() {
        let mut bytes = read(log, offset, 1000);
        while !bytes.is_empty() {
            let header = BatchHeader::parse(&bytes).expect("whole batches");
            header.verify(&bytes.split_to(header.bytes)).expect("sound");
            found.push(header.base_offset);
            offset = header.next_offset();
        }
    }
    found
}

fn seal_all(log: &mut PartitionLog) {
    for seal in log.take_seals() {
        seal.run().expect("sealed");
    }
}

#[test]
fn what_was_appended_is_read_back_across_segments_and_restarts() {
    let folder = TempDir::new().expect("folder");
    let mut log = open(&folder, 500);
    let offsets: Vec<i64> = (0..20)
        .map(|turn| {
            append(&mut log, Wanted { records: turn % 3 + 1, ..Wanted::default() }).expect("appended").base_offset
        })
        .collect();
    assert!(log.segments.len() > 3);
    assert_eq!(all_offsets(&mut log), offsets);
    seal_all(&mut log);
    let end = log.end_offset();
    drop(log);
    let mut log = open(&folder, 500);
    assert_eq!((all_offsets(&mut log), log.end_offset()), (offsets, end));
}

#[test]
fn a_read_starts_with_the_batch_that_holds_the_offset() {
    let folder = TempDir::new().expect("folder");
    let mut log = open(&folder, 1 << 20);
    for _ in 0..3 {
        append(&mut log, Wanted { records: 10, ..Wanted::default() }).expect("appended");
    }
    let header = BatchHeader::parse(&read(&mut log, 14, 1)).expect("one batch though it is larger than asked");
    assert_eq!(header.base_offset, 10);
    assert!(matches!(log.span_of(31), Err(LogError::OutOfRange { offset: 31, start: 0, end: 30 })));
    assert!(log.span_of(30).expect("the end is in range").is_none());
    let span = log.span_of(0).expect("in range").expect("not the end");
    assert_eq!(span.read(0, 10, 1 << 20, true).expect("read").len(), header.bytes, "nothing behind the visible end");
    assert!(span.read(0, 30, 1, false).expect("read").is_empty());
}

#[test]
fn a_torn_tail_is_cut_and_writing_goes_on() {
    let folder = TempDir::new().expect("folder");
    let mut log = open(&folder, 1 << 20);
    for _ in 0..4 {
        append(&mut log, Wanted { records: 2, ..Wanted::default() }).expect("appended");
    }
    let (path, bytes) = (log.last().path.clone(), log.last().bytes);
    drop(log);
    let whole = fs::read(&path).expect("segment");
    for kept in (bytes - bytes / 4 + 1)..bytes {
        fs::write(&path, &whole[..kept as usize]).expect("torn");
        let mut log = open(&folder, 1 << 20);
        assert_eq!(log.end_offset(), 6, "cut at {kept}");
        append(&mut log, Wanted::default()).expect("appended");
        assert_eq!(all_offsets(&mut log), vec![0, 2, 4, 6]);
    }
}

#[test]
fn a_checkpoint_spares_reading_what_it_vouches_for() {
    let folder = TempDir::new().expect("folder");
    let mut log = open(&folder, 1 << 20);
    append(&mut log, Wanted { producer: (4, 0, 0), ..Wanted::default() }).expect("appended");
    log.seal_active().run().expect("sealed");
    append(&mut log, Wanted { producer: (4, 0, 1), ..Wanted::default() }).expect("appended");
    let path = log.last().path.clone();
    drop(log);
    // Damage inside of the trusted bytes goes unnoticed here, which shows that they were not read.
    let mut bytes = fs::read(&path).expect("segment");
    bytes[70] ^= 1;
    fs::write(&path, &bytes).expect("damaged");
    let mut log = open(&folder, 1 << 20);
    assert_eq!(log.end_offset(), 2);
    let again = append(&mut log, Wanted { producer: (4, 0, 0), ..Wanted::default() }).expect("known");
    assert_eq!(again, Appended { base_offset: 0, duplicate: true });
    drop(log);
    fs::remove_file(checkpoint_path(&path)).expect("checkpoint");
    assert_eq!(open(&folder, 1 << 20).end_offset(), 0, "without the checkpoint the damage is found");
}

#[test]
fn producers_are_known_after_a_restart() {
    let folder = TempDir::new().expect("folder");
    let mut log = open(&folder, 300);
    for sequence in 0..9 {
        append(&mut log, Wanted { producer: (4, 0, sequence), ..Wanted::default() }).expect("appended");
    }
    seal_all(&mut log);
    drop(log);
    let mut log = open(&folder, 300);
    let again = append(&mut log, Wanted { producer: (4, 0, 7), ..Wanted::default() }).expect("known");
    assert_eq!(again, Appended { base_offset: 7, duplicate: true });
    assert!(append(&mut log, Wanted { producer: (4, 0, 12), ..Wanted::default() }).is_err());
    assert_eq!(append(&mut log, Wanted { producer: (4, 0, 9), ..Wanted::default() }).expect("next").base_offset, 9);
}

#[test]
fn segments_behind_damage_are_set_aside() {
    let folder = TempDir::new().expect("folder");
    let mut log = open(&folder, 200);
    for _ in 0..6 {
        append(&mut log, Wanted::default()).expect("appended");
    }
    let (damaged, segments) = (log.segments[1].path.clone(), log.segments.len());
    drop(log);
    let mut bytes = fs::read(&damaged).expect("segment");
    bytes[65] ^= 1;
    fs::write(&damaged, &bytes).expect("damaged");
    let log = open(&folder, 200);
    assert_eq!((log.segments.len(), log.end_offset()), (2, log.segments[1].base_offset));
    let aside = fs::read_dir(folder.path()).expect("folder").flatten();
    assert_eq!(
        aside.filter(|file| file.path().extension().is_some_and(|name| name == "discarded")).count(),
        segments - 2
    );
}

#[test]
fn retention_deletes_whole_segments_and_offsets_go_on() {
    let folder = TempDir::new().expect("folder");
    let mut log = open(&folder, 200);
    for turn in 0..10 {
        append(&mut log, Wanted { timestamp: turn * 100, ..Wanted::default() }).expect("appended");
    }
    log.options.retention.bytes = Some(400);
    assert!(log.retain(1_000).expect("retained") > 0);
    assert!(log.bytes() < 400 + 200 && log.start_offset() > 0);
    log.options.retention = Retention { age: Some(Duration::from_millis(50)), bytes: None };
    log.retain(10_000).expect("retained");
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (10, 10, 0));
    drop(log);
    let mut log = open(&folder, 200);
    assert_eq!(append(&mut log, Wanted::default()).expect("appended").base_offset, 10);
}

#[test]
fn records_are_found_by_time() {
    let folder = TempDir::new().expect("folder");
    let mut log = open(&folder, 300);
    for turn in 0..8 {
        append(&mut log, Wanted { records: 5, timestamp: turn * 100, ..Wanted::default() }).expect("appended");
    }
    let mut at = |timestamp: i64| {
        let span = log.span_of_time(timestamp).expect("searched")?;
        span.record_at_time(timestamp).expect("searched")
    };
    assert_eq!(at(0), Some((0, 0)));
    assert_eq!(at(302), Some((302, 17)));
    assert_eq!(at(350), Some((400, 20)));
    assert_eq!(at(705), None);
    let (newest, span) = log.span_of_newest().expect("searched").expect("not empty");
    assert_eq!(span.newest_record(newest).expect("searched"), Some((704, 39)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Against a list of batches: every offset reads the batch that holds it, after any number of restarts.
    #[test]
    fn every_offset_reads_its_batch(
        shapes in proptest::collection::vec((1i32..6, 1usize..300, any::<bool>()), 1..40),
        segment_bytes in 200u64..5_000,
    ) {
        let folder = TempDir::new().expect("folder");
        let mut log = open(&folder, segment_bytes);
        let mut model = Vec::new();
        for (records, value_bytes, restart) in shapes {
            let base = append(&mut log, Wanted { records, value_bytes, ..Wanted::default() }).expect("appended").base_offset;
            model.extend(std::iter::repeat_n(base, records as usize));
            if restart {
                seal_all(&mut log);
                drop(log);
                log = open(&folder, segment_bytes);
            }
        }
        prop_assert_eq!(log.end_offset(), model.len() as i64);
        for (offset, base) in model.iter().enumerate() {
            let header = BatchHeader::parse(&read(&mut log, offset as i64, 1)).expect("a batch");
            prop_assert_eq!(header.base_offset, *base);
        }
    }
}
