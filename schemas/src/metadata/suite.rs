//! What every metadata store must do: each scenario starts from a new, empty store.
//!
//! [`suite!`] makes one test of each scenario for one kind of store.

use super::*;
use crate::time::{Clock, MICROS_PER_SECOND};
use crate::{Epoch, EventTime, TableName, Tier};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub(super) struct ManualClock(AtomicI64);

impl ManualClock {
    pub(super) fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * MICROS_PER_SECOND, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> EventTime {
        self.0.load(Ordering::Relaxed)
    }
}

/// A store and its clock.
pub(super) struct Bench {
    pub(super) meta: Arc<dyn Meta>,
    pub(super) clock: Arc<ManualClock>,
}

/// Makes one test of each scenario: `suite!(open)`, where `open(clock)` gives a new store, and something to keep alive.
macro_rules! suite {
    ($open:path) => {
        $crate::metadata::suite::suite! { $open:
            a_newer_run_fences_the_older
            manifests_come_in_order_and_add_up
            progress_never_moves_back
            a_table_has_one_open_intent
            a_flip_moves_parts_into_a_version_at_one_cut
            a_flip_may_be_repeated
            a_planned_intent_is_dropped_a_staged_one_is_not
            an_intent_that_was_given_up_keeps_its_parts
            a_pin_holds_what_its_cut_shows
            an_expired_pin_is_lost_once_it_was_cleaned_up
            history_holds_what_was_visible_in_it
            tables_gain_nullable_columns_only
            a_branch_remembers_where_it_started
            a_reset_is_listed_and_fences
            a_reset_to_another_topic_forgets_the_old_one
            of_several_resets_all_are_done_or_none
            pauses_last_until_they_are_lifted
            gaps_that_touch_become_one
        }
    };
    ($open:path: $($scenario:ident)*) => {$(
        #[tokio::test]
        async fn $scenario() {
            let clock = std::sync::Arc::new($crate::metadata::suite::ManualClock::default());
            let (meta, _alive) = $open(clock.clone()).await;
            $crate::metadata::suite::$scenario($crate::metadata::suite::Bench { meta, clock }).await;
        }
    )*};
}
pub(super) use suite;

fn chat() -> TableName {
    TableName::new("chat").unwrap()
}

fn hot() -> TableId {
    TableId::new(chat(), Tier::Hot)
}

pub(super) fn schema(columns: &[&str]) -> TableSchema {
    let columns = columns.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    TableSchema::new(chat(), columns)
}

pub(super) fn run() -> RunInfo {
    RunInfo { host: "here".into(), pid: 1, started_at: 0 }
}

/// An epoch of `rows` records of partition 0, one part each for the hot and the warm table.
pub(super) fn manifest(epoch: u64, branch: BranchId) -> Manifest {
    let part = |tier, bytes| NewPart {
        table: TableId::new(chat(), tier),
        bytes,
        rows: 5,
        event_time: (epoch as i64 * 10, epoch as i64 * 10 + 9),
    };
    let counts = Counts { read: 12, rows: 10, filtered: 2, ..Counts::default() };
    Manifest {
        epoch: Epoch(epoch),
        opened_at: 0,
        segments: vec![NewSegment {
            path: format!("staged/1/{epoch}-0"),
            bytes: 300,
            parts: vec![part(Tier::Hot, 0..100), part(Tier::Warm, 100..200)],
        }],
        progress: vec![progress(epoch as i64 * 12 + 12)],
        gaps: vec![],
        conservation: vec![Conservation { branch, topic: "talk".into(), partition: 0, counts }],
        dropped_fields: vec![("talk".into(), 3)],
        pauses: vec![],
    }
}

fn progress(next_offset: i64) -> Progress {
    Progress {
        source: "talk".into(),
        cluster_id: "cluster".into(),
        topic: "talk".into(),
        topic_id: Uuid::from_u128(7),
        partition: 0,
        first_offset: 0,
        next_offset,
        watermark: Some(next_offset),
        idle: false,
    }
}

pub(super) fn branch() -> NewBranch {
    NewBranch { source: "talk".into(), target: "domains".into(), statement: "INSERT".into(), filters: true }
}

/// A run with one table, one branch and `epochs` committed epochs.
async fn begun(meta: &Arc<dyn Meta>, epochs: u64) -> (Generation, BranchId) {
    let generation = meta.begin(&run()).await.unwrap();
    meta.register_table(generation, &schema(&["text"])).await.unwrap();
    let branch = meta.register_branch(generation, &branch()).await.unwrap();
    for epoch in 0..epochs {
        meta.commit_manifest(generation, &manifest(epoch, branch)).await.unwrap();
    }
    (generation, branch)
}

fn create() -> IntentPlan {
    IntentPlan { table: hot(), kind: IntentKind::Create, parts: vec![] }
}

fn flip_to(version: &str, generation: Generation) -> Flip {
    Flip { version: TableVersion(version.into()), marked_by: generation, took_parts: true }
}

async fn created(meta: &Arc<dyn Meta>, generation: Generation) -> Intent {
    let intent = meta.plan_intent(generation, &create()).await.unwrap();
    meta.stage_intent(generation, &intent.id, b"create").await.unwrap();
    meta.flip(generation, &intent.id, &flip_to("1", generation)).await.unwrap();
    intent
}

async fn rollup(meta: &Arc<dyn Meta>, generation: Generation) -> Intent {
    let view = meta.newest().await.unwrap();
    let parts = view.parts.iter().filter(|part| part.part.table == hot()).map(|part| part.id).collect();
    let plan = IntentPlan { table: hot(), kind: IntentKind::Rollup, parts };
    meta.plan_intent(generation, &plan).await.unwrap()
}

fn hot_parts(view: &CutView) -> usize {
    view.parts.iter().filter(|part| part.part.table == hot()).count()
}

pub(super) async fn a_newer_run_fences_the_older(Bench { meta, .. }: Bench) {
    let (old, branch) = begun(&meta, 1).await;
    let before = meta.newest().await.unwrap();
    let new = meta.begin(&RunInfo { host: "there".into(), pid: 42, started_at: 5 }).await.unwrap();
    assert!(new > old);
    let refused = [
        meta.check(old).await.unwrap_err(),
        meta.commit_manifest(old, &manifest(1, branch)).await.unwrap_err(),
        meta.plan_intent(old, &create()).await.unwrap_err(),
        meta.take_victims(old, Duration::ZERO).await.unwrap_err(),
        meta.register_table(old, &schema(&["text", "more"])).await.unwrap_err(),
    ];
    for error in refused {
        assert!(error.is_fenced() && error.advice() == Advice::Stop, "{error}");
        assert!(error.to_string().contains("there (process 42)"), "{error}");
    }
    assert_eq!(meta.newest().await.unwrap(), before, "a fenced run changes nothing");
    meta.check(new).await.unwrap();
    meta.commit_manifest(new, &manifest(1, branch)).await.unwrap();
}

pub(super) async fn manifests_come_in_order_and_add_up(Bench { meta, .. }: Bench) {
    let (generation, branch) = begun(&meta, 3).await;
    let error = meta.commit_manifest(generation, &manifest(2, branch)).await.unwrap_err();
    assert!(matches!(error, MetaError::OutOfOrder { newest: Epoch(2), .. }), "{error}");
    let mut lossy = manifest(7, branch);
    lossy.conservation[0].counts.rows = 9;
    let error = meta.commit_manifest(generation, &lossy).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "epoch 7 does not add up: branch 1 of talk/0 read 12 records, but has 9 in rows, 0 in windows, 2 filtered, 0 \
         late and 0 dead letters"
    );
    meta.commit_manifest(generation, &manifest(7, branch)).await.unwrap();
    let view = meta.newest().await.unwrap();
    assert_eq!(view.epoch, Some(Epoch(7)));
    assert_eq!(view.parts.len(), 8);
    assert_eq!(view.segments.len(), 4);
    assert_eq!(view.conservation[0].counts, Counts { read: 48, rows: 40, filtered: 8, ..Counts::default() });
    assert_eq!(view.dropped_fields, [("talk".to_owned(), 12)]);
    assert_eq!(view.least_watermark(), Some(96));
    assert_eq!(view.progress, [progress(96)]);
}

pub(super) async fn progress_never_moves_back(Bench { meta, .. }: Bench) {
    let (generation, branch) = begun(&meta, 1).await;
    let mut back = manifest(1, branch);
    back.progress[0].next_offset = 3;
    assert_eq!(meta.commit_manifest(generation, &back).await.unwrap_err().advice(), Advice::Stop);
    let mut other_topic = manifest(1, branch);
    other_topic.progress[0].topic_id = Uuid::from_u128(8);
    let error = meta.commit_manifest(generation, &other_topic).await.unwrap_err();
    assert!(matches!(error, MetaError::Recreated { .. }) && error.advice() == Advice::FixConfig, "{error}");
    let mut no_watermark = manifest(1, branch);
    no_watermark.progress[0].watermark = None;
    meta.commit_manifest(generation, &no_watermark).await.unwrap();
    let view = meta.newest().await.unwrap();
    assert_eq!((view.progress[0].next_offset, view.progress[0].watermark), (24, Some(12)));
}

pub(super) async fn a_table_has_one_open_intent(Bench { meta, .. }: Bench) {
    let (generation, _) = begun(&meta, 1).await;
    let first = meta.plan_intent(generation, &create()).await.unwrap();
    let error = meta.plan_intent(generation, &create()).await.unwrap_err();
    assert!(matches!(error, MetaError::IntentOpen { open } if open == first.id));
    let warm = IntentPlan { table: TableId::new(chat(), Tier::Warm), ..create() };
    let other = meta.plan_intent(generation, &warm).await.unwrap();
    assert_eq!(meta.open_intents().await.unwrap(), [first.clone(), other]);
    let unknown = IntentPlan { table: TableId::new(TableName::new("nowhere").unwrap(), Tier::Hot), ..create() };
    assert_eq!(meta.plan_intent(generation, &unknown).await.unwrap_err().advice(), Advice::Stop);
    assert_eq!(first.id.number, 1);
}

pub(super) async fn a_flip_moves_parts_into_a_version_at_one_cut(Bench { meta, .. }: Bench) {
    let (generation, branch) = begun(&meta, 2).await;
    assert_eq!(meta.last_flip(&hot()).await.unwrap(), None);
    created(&meta, generation).await;
    let intent = rollup(&meta, generation).await;
    assert_eq!((intent.id.number, intent.parts.len()), (2, 2));
    meta.commit_manifest(generation, &manifest(2, branch)).await.unwrap();
    let early = meta.flip(generation, &intent.id, &flip_to("2", generation)).await.unwrap_err();
    assert_eq!(early.advice(), Advice::Stop, "not staged: no commit can exist");
    meta.stage_intent(generation, &intent.id, b"files").await.unwrap();
    meta.stage_intent(generation, &intent.id, b"files").await.unwrap();
    assert!(meta.stage_intent(generation, &intent.id, b"others").await.is_err());
    assert_eq!(meta.open_intents().await.unwrap()[0].payload.as_deref(), Some(&b"files"[..]));
    let payloads = meta.references().await.unwrap().payloads;
    assert_eq!(payloads, [(intent.id.clone(), b"files".to_vec())]);
    let cut = meta.flip(generation, &intent.id, &flip_to("2", generation)).await.unwrap();
    let view = meta.newest().await.unwrap();
    assert_eq!((view.cut, hot_parts(&view)), (cut, 1), "the part of the epoch that came meanwhile stays");
    let live = view.version(&hot()).unwrap();
    assert_eq!((live.version.0.as_str(), live.rows, live.event_time), ("2", 10, Some((0, 19))));
    let last = meta.last_flip(&hot()).await.unwrap().unwrap();
    assert_eq!((last.intent, last.version.0.as_str(), last.generation), (2, "2", generation));
    assert_eq!(meta.open_intents().await.unwrap(), []);
}

pub(super) async fn a_flip_may_be_repeated(Bench { meta, .. }: Bench) {
    let (generation, _) = begun(&meta, 1).await;
    created(&meta, generation).await;
    let intent = rollup(&meta, generation).await;
    meta.stage_intent(generation, &intent.id, b"files").await.unwrap();
    let cut = meta.flip(generation, &intent.id, &flip_to("2", generation)).await.unwrap();
    let before = meta.newest().await.unwrap();
    assert_eq!(meta.flip(generation, &intent.id, &flip_to("2", generation)).await.unwrap(), cut);
    assert_eq!(meta.newest().await.unwrap(), before);
    let stranger = IntentId { table: hot(), number: 9 };
    let error = meta.flip(generation, &stranger, &flip_to("9", generation)).await.unwrap_err();
    assert!(matches!(error, MetaError::NoIntent { .. }), "{error}");
}

pub(super) async fn a_planned_intent_is_dropped_a_staged_one_is_not(Bench { meta, .. }: Bench) {
    let (generation, _) = begun(&meta, 1).await;
    created(&meta, generation).await;
    let planned = rollup(&meta, generation).await;
    meta.drop_planned(generation, &planned.id).await.unwrap();
    meta.drop_planned(generation, &planned.id).await.unwrap();
    let next = rollup(&meta, generation).await;
    assert_eq!(next.id.number, planned.id.number + 1, "a number is used once");
    meta.stage_intent(generation, &next.id, b"files").await.unwrap();
    assert_eq!(meta.drop_planned(generation, &next.id).await.unwrap_err().advice(), Advice::Stop);
    assert_eq!(meta.open_intents().await.unwrap()[0].id, next.id);
}

pub(super) async fn an_intent_that_was_given_up_keeps_its_parts(Bench { meta, .. }: Bench) {
    let (old, _) = begun(&meta, 1).await;
    created(&meta, old).await;
    let intent = rollup(&meta, old).await;
    assert!(meta.give_up(old, &intent.id).await.is_err(), "nothing is staged yet");
    meta.stage_intent(old, &intent.id, b"files").await.unwrap();
    let new = meta.begin(&run()).await.unwrap();
    meta.give_up(new, &intent.id).await.unwrap();
    assert_eq!(meta.open_intents().await.unwrap()[0].given_up, Some(new));
    let newest = meta.begin(&run()).await.unwrap();
    meta.give_up(newest, &intent.id).await.unwrap();
    assert_eq!(meta.open_intents().await.unwrap()[0].given_up, Some(new), "the first decision stands");
    let flip = Flip { took_parts: false, ..flip_to("2", new) };
    meta.flip(newest, &intent.id, &flip).await.unwrap();
    let view = meta.newest().await.unwrap();
    assert_eq!((hot_parts(&view), view.version(&hot()).unwrap().rows), (1, 0));
}

pub(super) async fn a_pin_holds_what_its_cut_shows(Bench { meta, clock }: Bench) {
    let (generation, _) = begun(&meta, 1).await;
    created(&meta, generation).await;
    let (pin, seen) = meta.pin("a query", Duration::from_secs(60)).await.unwrap();
    assert_eq!(seen, meta.newest().await.unwrap());
    assert_eq!(pin.cut, seen.cut);
    let intent = rollup(&meta, generation).await;
    meta.stage_intent(generation, &intent.id, b"files").await.unwrap();
    meta.flip(generation, &intent.id, &flip_to("2", generation)).await.unwrap();
    let warm = TableId::new(chat(), Tier::Warm);
    let plan = meta.plan_intent(generation, &IntentPlan { table: warm.clone(), ..create() }).await.unwrap();
    meta.stage_intent(generation, &plan.id, b"create").await.unwrap();
    meta.flip(generation, &plan.id, &flip_to("0", generation)).await.unwrap();
    let parts = meta.newest().await.unwrap().parts.iter().map(|part| part.id).collect();
    let plan = IntentPlan { table: warm, kind: IntentKind::Rollup, parts };
    let plan = meta.plan_intent(generation, &plan).await.unwrap();
    meta.stage_intent(generation, &plan.id, b"files").await.unwrap();
    meta.flip(generation, &plan.id, &flip_to("1", generation)).await.unwrap();

    clock.pass(50);
    let victims = meta.take_victims(generation, Duration::ZERO).await.unwrap();
    assert_eq!(victims.segments, Vec::<String>::new());
    assert!(victims.keep_from.contains(&(hot(), TableVersion("1".into()))), "{victims:?}");
    meta.renew(&pin, Duration::from_secs(60)).await.unwrap();
    clock.pass(50);
    assert_eq!(meta.take_victims(generation, Duration::ZERO).await.unwrap().segments, Vec::<String>::new());

    meta.unpin(&pin).await.unwrap();
    let before = meta.newest().await.unwrap();
    let victims = meta.take_victims(generation, Duration::ZERO).await.unwrap();
    assert_eq!(victims.segments, ["staged/1/0-0"]);
    assert!(victims.keep_from.contains(&(hot(), TableVersion("2".into()))), "{victims:?}");
    assert_eq!(meta.references().await.unwrap().segments, Vec::<String>::new());
    assert_eq!(meta.take_victims(generation, Duration::ZERO).await.unwrap().segments, Vec::<String>::new());
    assert_eq!(meta.newest().await.unwrap(), before, "folding changes no view");
}

pub(super) async fn an_expired_pin_is_lost_once_it_was_cleaned_up(Bench { meta, clock }: Bench) {
    let (generation, _) = begun(&meta, 1).await;
    let (pin, _) = meta.pin("a query", Duration::from_secs(60)).await.unwrap();
    clock.pass(61);
    meta.renew(&pin, Duration::from_secs(60)).await.expect("nobody has cleaned up yet");
    clock.pass(61);
    meta.take_victims(generation, Duration::from_secs(900)).await.unwrap();
    let error = meta.renew(&pin, Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, MetaError::PinLost { cut } if cut == pin.cut));
    meta.unpin(&pin).await.unwrap();
}

pub(super) async fn history_holds_what_was_visible_in_it(Bench { meta, clock }: Bench) {
    let (generation, _) = begun(&meta, 1).await;
    created(&meta, generation).await;
    clock.pass(1_000);
    let intent = rollup(&meta, generation).await;
    meta.stage_intent(generation, &intent.id, b"files").await.unwrap();
    meta.flip(generation, &intent.id, &flip_to("2", generation)).await.unwrap();
    let history = Duration::from_secs(900);
    clock.pass(899);
    let keep = meta.take_victims(generation, history).await.unwrap().keep_from;
    assert_eq!(keep, [(hot(), TableVersion("1".into()))], "version 1 was still the newest 900 s ago");
    clock.pass(2);
    let keep = meta.take_victims(generation, history).await.unwrap().keep_from;
    assert_eq!(keep, [(hot(), TableVersion("2".into()))]);
}

pub(super) async fn tables_gain_nullable_columns_only(Bench { meta, .. }: Bench) {
    let (generation, _) = begun(&meta, 1).await;
    created(&meta, generation).await;
    let before = meta.newest().await.unwrap();
    meta.register_table(generation, &schema(&["text"])).await.unwrap();
    assert_eq!(meta.newest().await.unwrap(), before, "the same again changes nothing");
    meta.register_table(generation, &schema(&["text", "author"])).await.unwrap();
    let view = meta.newest().await.unwrap();
    assert!(view.cut > before.cut);
    assert_eq!(view.lagging, [hot()]);
    assert_eq!(view.table(&chat()).unwrap().columns.len(), 2);
    let evolve = IntentPlan { table: hot(), kind: IntentKind::Evolve, parts: vec![] };
    let evolve = meta.plan_intent(generation, &evolve).await.unwrap();
    meta.stage_intent(generation, &evolve.id, b"columns").await.unwrap();
    meta.flip(generation, &evolve.id, &flip_to("2", generation)).await.unwrap();
    assert_eq!(meta.newest().await.unwrap().lagging, []);

    let mut retyped = schema(&["text", "author"]);
    retyped.columns[0] = Field::new("text", DataType::Int64, true);
    let mut strict = schema(&["text", "author"]);
    strict.columns.push(Field::new("strict", DataType::Int64, false));
    for (wrong, says) in
        [(retyped, "column text is Utf8"), (strict, "must be nullable"), (schema(&["text"]), "author is gone")]
    {
        let error = meta.register_table(generation, &wrong).await.unwrap_err();
        assert!(error.to_string().contains(says) && error.advice() == Advice::FixConfig, "{error}");
    }
}

pub(super) async fn a_branch_remembers_where_it_started(Bench { meta, .. }: Bench) {
    let (generation, first) = begun(&meta, 2).await;
    assert_eq!(meta.register_branch(generation, &branch()).await.unwrap(), first);
    let other = NewBranch { target: "logs".into(), ..branch() };
    let second = meta.register_branch(generation, &other).await.unwrap();
    assert_ne!(first, second);
    meta.close_branches(generation, &[second]).await.unwrap();
    let view = meta.newest().await.unwrap();
    assert_eq!(view.branches.iter().map(Branch::is_live).collect::<Vec<_>>(), [false, true]);
    let read_in = |branch: &Branch| (0..4).filter(|epoch| branch.read_in(Epoch(*epoch))).collect::<Vec<_>>();
    assert_eq!(view.branches.iter().map(read_in).collect::<Vec<_>>(), [[0, 1], [2, 3]]);
    assert_eq!(view.branches[0].started_at, []);
    assert_eq!(view.branches[1].started_at, [("talk".to_owned(), 0, 24)]);
    let back = meta.register_branch(generation, &branch()).await.unwrap();
    assert!(back > second, "one that comes back has not seen what was read meanwhile");
}

/// A reset of a partition of the topic whose id is `topic_id` and that has so many `partitions`.
fn reset(topic_id: u128, partition: i32, partitions: i32, next_offset: i64) -> OffsetReset {
    OffsetReset {
        source: "talk".into(),
        cluster_id: "cluster".into(),
        topic: "talk".into(),
        topic_id: Uuid::from_u128(topic_id),
        partition,
        partitions,
        next_offset,
    }
}

pub(super) async fn a_reset_is_listed_and_fences(Bench { meta, .. }: Bench) {
    let (old, branch) = begun(&meta, 1).await;
    meta.reset_offsets(&[reset(9, 0, 1, 100)]).await.unwrap();
    meta.reset_offsets(&[reset(9, 0, 1, 40)]).await.unwrap();
    assert!(meta.commit_manifest(old, &manifest(1, branch)).await.unwrap_err().is_fenced());
    let view = meta.newest().await.unwrap();
    let gaps = meta.gaps().await.unwrap();
    let gaps: Vec<_> = gaps.iter().map(|gap| (gap.kind.as_str(), gap.offsets.clone())).collect();
    assert_eq!(gaps, [("reset", 12..100), ("again", 40..100)]);
    assert_eq!((view.progress[0].next_offset, view.progress[0].topic_id), (40, Uuid::from_u128(9)));
}

pub(super) async fn a_reset_to_another_topic_forgets_the_old_one(Bench { meta, .. }: Bench) {
    let (generation, branch) = begun(&meta, 0).await;
    let four = (0..4).map(|partition| Progress { partition, idle: true, ..progress(12) }).collect();
    let elsewhere = Progress { topic: "other".into(), partition: 3, ..progress(12) };
    let manifest = Manifest { progress: [four, vec![elsewhere]].concat(), ..manifest(0, branch) };
    meta.commit_manifest(generation, &manifest).await.unwrap();
    let kept = async || {
        let progress = meta.newest().await.unwrap().progress.into_iter().filter(|it| it.topic == "talk");
        progress.map(|it| (it.partition, it.topic_id.as_u128(), it.watermark, it.idle)).collect::<Vec<_>>()
    };
    meta.reset_offsets(&[reset(7, 1, 4, 0)]).await.unwrap();
    let same: Vec<_> = (0..4).map(|partition| (partition, 7, Some(12), true)).collect();
    assert_eq!(kept().await, same, "the watermark of the same topic never moves back");
    meta.reset_offsets(&[reset(9, 0, 2, 0), reset(9, 1, 2, 0)]).await.unwrap();
    assert_eq!(kept().await, [(0, 9, None, false), (1, 9, None, false)], "a topic made anew, with two partitions");
    assert!(meta.newest().await.unwrap().progress.iter().any(|it| it.topic == "other" && it.partition == 3));
}

pub(super) async fn of_several_resets_all_are_done_or_none(Bench { meta, .. }: Bench) {
    let (old, branch) = begun(&meta, 0).await;
    let two = (0..2).map(|partition| Progress { partition, ..progress(12) }).collect();
    meta.commit_manifest(old, &Manifest { progress: two, ..manifest(0, branch) }).await.unwrap();
    let next = async || {
        let progress = meta.newest().await.unwrap().progress;
        progress.into_iter().map(|it| (it.partition, it.next_offset)).collect::<Vec<_>>()
    };
    for wrong in [reset(7, 1, 2, -1), reset(7, 2, 2, 5), reset(7, -1, 2, 5)] {
        let error = meta.reset_offsets(&[reset(7, 0, 2, 5), wrong]).await.unwrap_err();
        assert!(matches!(error, MetaError::Refused { .. }), "{error}");
    }
    assert_eq!(next().await, [(0, 12), (1, 12)]);
    assert_eq!(meta.gaps().await.unwrap(), []);
    meta.check(old).await.expect("a reset that is refused fences nobody");
    meta.reset_offsets(&[reset(7, 0, 2, 5), reset(7, 1, 2, 6)]).await.unwrap();
    assert_eq!(next().await, [(0, 5), (1, 6)]);
    assert!(meta.check(old).await.unwrap_err().is_fenced());
    assert_eq!(meta.begin(&run()).await.unwrap(), Generation(old.0 + 2), "one generation for all of them");
}

pub(super) async fn pauses_last_until_they_are_lifted(Bench { meta, .. }: Bench) {
    let (generation, branch) = begun(&meta, 0).await;
    let pause = Pause { source: "talk".into(), topic: "talk".into(), reason: "dead letters".into() };
    let manifest = Manifest { pauses: vec![pause.clone()], ..manifest(0, branch) };
    meta.commit_manifest(generation, &manifest).await.unwrap();
    assert_eq!(meta.pauses().await.unwrap(), std::slice::from_ref(&pause));
    assert_eq!(meta.newest().await.unwrap().pauses, [pause]);
    meta.set_pause("talk", "talk", None).await.unwrap();
    assert_eq!(meta.pauses().await.unwrap(), []);
    let mapping = |json: &str| Mapping { key: "shape".into(), json: json.into() };
    meta.save_mappings(generation, &[mapping("1")]).await.unwrap();
    meta.save_mappings(generation, &[mapping("2")]).await.unwrap();
    assert_eq!(meta.mappings().await.unwrap(), [mapping("2")]);
}

pub(super) async fn gaps_that_touch_become_one(Bench { meta, .. }: Bench) {
    let (generation, branch) = begun(&meta, 0).await;
    let gap =
        |offsets| Gap { source: "talk".into(), topic: "talk".into(), partition: 0, offsets, kind: "absent".into() };
    for (epoch, offsets) in [1..2, 2..5, 9..10].into_iter().enumerate() {
        let manifest = Manifest { gaps: vec![gap(offsets)], ..manifest(epoch as u64, branch) };
        meta.commit_manifest(generation, &manifest).await.unwrap();
    }
    let kept: Vec<_> = meta.gaps().await.unwrap().into_iter().map(|gap| gap.offsets).collect();
    assert_eq!(kept, [1..5, 9..10]);
}
