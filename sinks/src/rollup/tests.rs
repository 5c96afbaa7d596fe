use super::*;
use thermocline_schemas::metadata::{LiveSegment, NewPart};
use thermocline_schemas::{Epoch, TableName};

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

    // Of many parts it takes as many as a merge holds, small ones for what they are.
    let staged = |bytes: u64| view(&vec![(Tier::Warm, bytes); 300]);
    let warm = |view: &CutView| taken(view, &table(Tier::Warm), &RollupConfig::default()).len();
    assert_eq!(warm(&staged(2 << 20)), 64);
    assert_eq!(warm(&staged(1_000)), 300);
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
