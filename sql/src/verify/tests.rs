use super::*;
use thermocline_schemas::metadata::{Conservation, NewBranch, Progress};

/// A branch that has read offsets 10 to 14 of one partition, by its own counts as rows.
fn view() -> CutView {
    let identity =
        NewBranch { source: "s".into(), target: "domains".into(), statement: "SELECT *".into(), filters: false };
    let counts = Counts { read: 5, rows: 5, ..Counts::default() };
    let progress = Progress {
        source: "s".into(),
        cluster_id: "c".into(),
        topic: "t".into(),
        topic_id: uuid::Uuid::nil(),
        partition: 0,
        first_offset: 10,
        next_offset: 15,
        watermark: None,
        idle: false,
    };
    CutView {
        branches: vec![Branch { id: BranchId(1), identity, started_at: vec![], live: true }],
        conservation: vec![Conservation { branch: BranchId(1), topic: "t".into(), partition: 0, counts }],
        progress: vec![progress],
        ..CutView::default()
    }
}

fn scanned(branch: i32, offsets: std::ops::Range<u64>) -> Scanned {
    let mut scanned = Scanned::default();
    scanned.rows.entry(((BranchId(branch), 0), "t".into(), 0)).or_default().insert_range(offsets);
    scanned
}

fn problems(view: &CutView, gaps: &[Gap], scanned: Scanned) -> Vec<String> {
    let verified = judge(&Expected { view, gaps }, scanned);
    assert_eq!(verified.ok, verified.problems.is_empty());
    verified.problems
}

#[test]
fn everything_that_was_read_is_there() {
    assert_eq!(problems(&view(), &[], scanned(1, 10..15)), Vec::<String>::new());
}

#[test]
fn records_lost_before_they_were_counted_are_missing_where_reading_began() {
    let mut view = view();
    view.conservation[0].counts = Counts { read: 3, rows: 3, ..Counts::default() };
    let found = problems(&view, &[], scanned(1, 12..15));
    assert_eq!(found, ["branch 1, t/0: t/0@10 is missing", "branch 1, t/0: t/0@11 is missing"]);
    let gap = Gap { source: "s".into(), topic: "t".into(), partition: 0, offsets: 10..12, kind: "absent".into() };
    assert_eq!(problems(&view, &[gap], scanned(1, 12..15)), Vec::<String>::new(), "the log never had them");
    view.branches[0].started_at = vec![("t".into(), 0, 12)];
    assert_eq!(problems(&view, &[], scanned(1, 12..15)), Vec::<String>::new(), "the branch began later");
}

#[test]
fn a_partition_of_which_nothing_is_left_is_missing_whole() {
    let mut view = view();
    view.conservation.clear();
    assert_eq!(problems(&view, &[], Scanned::default()).len(), 5);
}

#[test]
fn rows_of_a_branch_that_nobody_knows_are_told() {
    let mut both = scanned(1, 10..15);
    both.rows.extend(scanned(7, 3..5).rows);
    assert_eq!(problems(&view(), &[], both), ["2 records are of branch 7, which is not known"]);
}
