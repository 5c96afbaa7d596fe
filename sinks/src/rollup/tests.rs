use super::*;
use crate::formats::tests::{chat, rows};
use crate::segment::{Durability, write_segment};
use arrow::array::RecordBatch;
use futures::TryStreamExt;
use std::path::Path;
use thermocline_schemas::columns::event_time;
use thermocline_schemas::metadata::{LiveSegment, NewPart};
use thermocline_schemas::{Epoch, Generation, TableName};

const SECOND: i64 = 1_000_000;

fn table(tier: Tier) -> TableId {
    TableId::new(TableName::new("chat").unwrap(), tier)
}

/// One part of `bytes` bytes a segment, a segment a second.
fn view(parts: &[(Tier, u64)]) -> CutView {
    let mut view = CutView::default();
    for (second, (tier, bytes)) in parts.iter().enumerate() {
        let segment = format!("staged/1/{second}-0");
        let part = NewPart { table: table(*tier), bytes: 0..*bytes, rows: 1, event_time: (0, 0) };
        view.segments.push(LiveSegment { path: segment.clone(), bytes: *bytes });
        view.parts.push(Part {
            id: PartId(second as i64),
            segment,
            part,
            epoch: Epoch(second as u64),
            added: Cut(second as u64 + 1),
            added_at: second as i64 * SECOND,
        });
    }
    view
}

#[test]
fn rows_wait_as_long_as_their_tier_says_or_until_there_are_enough() {
    let config = RollupConfig::default();
    let view = view(&[(Tier::Hot, 10), (Tier::Warm, 10), (Tier::Cold, 10)]);
    assert_eq!(due(&view, &config, 29 * SECOND), BTreeSet::new());
    assert_eq!(due(&view, &config, 30 * SECOND), BTreeSet::from([table(Tier::Hot)]));
    assert_eq!(due(&view, &config, 31 * SECOND), BTreeSet::from([table(Tier::Hot), table(Tier::Warm)]));
    assert_eq!(due(&view, &config, 602 * SECOND).len(), 3);
    let large = RollupConfig { cold_target_bytes: 10, ..config };
    assert_eq!(due(&view, &large, 3 * SECOND), BTreeSet::from([table(Tier::Cold)]));
}

#[test]
fn too_many_segments_empty_the_oldest_in_every_tier() {
    let config = RollupConfig { staged_max_files: 2, ..RollupConfig::default() };
    let many = view(&[(Tier::Cold, 10), (Tier::Hot, 10), (Tier::Warm, 10)]);
    assert_eq!(due(&many, &config, 0), BTreeSet::from([table(Tier::Cold)]));
    let config = RollupConfig { staged_max_bytes: 10, ..RollupConfig::default() };
    assert_eq!(due(&many, &config, 0), BTreeSet::from([table(Tier::Cold), table(Tier::Hot)]));
}

#[test]
fn a_rollup_is_bounded_and_takes_at_least_one_part() {
    let config = RollupConfig { hot_target_bytes: 10, ..RollupConfig::default() };
    let sizes = |parts: &[u64]| {
        let view = view(&parts.iter().map(|bytes| (Tier::Hot, *bytes)).collect::<Vec<_>>());
        taken(&view, &table(Tier::Hot), &config).len()
    };
    assert_eq!(sizes(&[20, 20, 20]), 2);
    assert_eq!(sizes(&[900]), 1);
    assert_eq!(sizes(&[1, 900]), 1);
    assert_eq!(sizes(&[]), 0);
}

#[test]
fn parts_are_dealt_out_to_lanes_of_the_same_bytes_and_rounds_that_a_merge_holds() {
    let parts = |sizes: &[u64]| view(&sizes.iter().map(|bytes| (Tier::Warm, *bytes)).collect::<Vec<_>>()).parts;
    let sizes = |chunks: Vec<Vec<Part>>| chunks.iter().map(Vec::len).collect::<Vec<_>>();

    let (many, small, one) = (parts(&[2 << 20; 100]), parts(&[1_000; 300]), parts(&[900 << 20]));
    assert_eq!([&many, &small, &one].map(|parts| lanes::wanted(parts, lanes::LANE_BYTES)), [6, 1, 1]);
    assert_eq!(sizes(lanes::lanes(&many, 2)), [50, 50]);
    assert_eq!(sizes(lanes::lanes(&many, 3)), [34, 33, 33]);
    assert_eq!(sizes(lanes::lanes(&parts(&[9, 1, 1, 1]), 2)), [1, 3]);
    assert_eq!(sizes(lanes::lanes(&small, 1)), [300]);

    // Of large parts as many as a merge holds, small ones for what they are.
    assert_eq!(sizes(lanes::rounds(&many)), [16, 16, 16, 16, 16, 16, 4]);
    assert_eq!(sizes(lanes::rounds(&small)), [300]);
    assert_eq!(sizes(lanes::rounds(&one)), [1]);
}

fn written(folder: &Path, epoch: u64, rows: RecordBatch) -> Part {
    let parts = vec![(table(Tier::Warm), vec![rows])];
    let segment = write_segment(folder, Generation(1), Epoch(epoch), 0, parts, Durability::Process).unwrap();
    let part = segment.parts[0].clone();
    Part { id: PartId(epoch as i64), segment: segment.path, part, epoch: Epoch(epoch), added: Cut(1), added_at: 0 }
}

#[tokio::test]
async fn a_lane_holds_every_row_and_each_of_its_rounds_is_sorted() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), chat());
    let [first, second, third] =
        [(1, 0), (2, 5), (3, 2)].map(|(epoch, from)| written(folder.path(), epoch, rows(&schema, from, 10)));
    let lane = merge::Source::new(folder.path(), &schema, None).rows(vec![vec![first, second], vec![third]]);
    let batches: Vec<RecordBatch> = lane.try_collect().await.unwrap();
    let times = |batch: &RecordBatch| event_time(batch).unwrap().values().to_vec();
    let times: Vec<i64> = batches.iter().flat_map(times).collect();
    let seconds: Vec<i64> = times.iter().map(|time| time / SECOND).collect();
    let both = [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 11, 12, 13, 14];
    assert_eq!(seconds, [&both[..], &(2..12).collect::<Vec<_>>()].concat());
}

#[tokio::test]
async fn a_part_that_is_gone_fails_the_lane_by_name() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), chat());
    let [whole, gone] = [1, 2].map(|epoch| written(folder.path(), epoch, rows(&schema, 0, 10)));
    std::fs::remove_file(folder.path().join(&gone.segment)).unwrap();
    let segment = gone.segment.clone();
    let lane = merge::Source::new(folder.path(), &schema, None).rows(vec![vec![whole], vec![gone]]);
    let error = lane.try_collect::<Vec<_>>().await.unwrap_err().to_string();
    assert!(error.contains(&segment), "{error}");
}

#[test]
fn durations_are_text_and_unknown_settings_are_errors() {
    let config: RollupConfig = serde_json::from_str(r#"{"hot_after": "5s", "staged_max_files": 7}"#).unwrap();
    assert_eq!(
        config,
        RollupConfig { hot_after: Duration::from_secs(5), staged_max_files: 7, ..RollupConfig::default() }
    );
    let text = serde_json::to_string(&RollupConfig::default()).unwrap();
    assert!(text.contains(r#""cold_after":"10m""#), "{text}");
    assert_eq!(serde_json::from_str::<RollupConfig>(&text).unwrap(), RollupConfig::default());
    assert!(serde_json::from_str::<RollupConfig>(r#"{"hot_afer": "5s"}"#).is_err());
    assert!(serde_json::from_str::<RollupConfig>(r#"{"hot_after": "soon"}"#).is_err());
}
