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
        branches: vec![Branch {
            id: BranchId(1),
            identity,
            started_at: vec![],
            first_epoch: Epoch(0),
            closed_epoch: None,
        }],
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

fn judged(view: &CutView, gaps: &[Gap], scanned: Scanned) -> Verified {
    let verified = judge(&Expected { view, gaps }, scanned);
    assert_eq!(verified.ok, verified.problems.is_empty());
    verified
}

fn problems(view: &CutView, gaps: &[Gap], scanned: Scanned) -> Vec<String> {
    judged(view, gaps, scanned).problems
}

#[test]
fn everything_that_was_read_is_there() {
    assert_eq!(problems(&view(), &[], scanned(1, 10..15)), Vec::<String>::new());
}

#[test]
fn records_lost_before_they_were_counted_are_missing_where_reading_began() {
    let mut view = view();
    view.conservation[0].counts = Counts { read: 3, rows: 3, ..Counts::default() };
    let found = judged(&view, &[], scanned(1, 12..15));
    assert_eq!(found.problems, ["branch 1, t/0: t/0@10 is missing", "branch 1, t/0: t/0@11 is missing"]);
    assert_eq!((found.domains.read, found.domains.rows, found.domains.missing), (3, 3, 2));
    let gap = Gap { source: "s".into(), topic: "t".into(), partition: 0, offsets: 10..12, kind: "absent".into() };
    assert_eq!(problems(&view, &[gap], scanned(1, 12..15)), Vec::<String>::new(), "the log never had them");
    view.branches[0].started_at = vec![("t".into(), 0, 12)];
    assert_eq!(problems(&view, &[], scanned(1, 12..15)), Vec::<String>::new(), "the branch began later");
}

#[test]
fn all_that_is_missing_is_counted_and_some_of_it_listed() {
    let mut view = view();
    view.progress[0].next_offset = 10_000;
    let found = judged(&view, &[], scanned(1, 10..15));
    assert_eq!((found.domains.missing, found.problems.len()), (10_000 - 15, MOST_LISTED));
}

#[test]
fn what_is_there_twice_is_counted_unless_it_was_read_again() {
    let twice = |gaps: &[Gap], view: &CutView| {
        let mut scanned = scanned(1, 10..15);
        for offset in 12..14 {
            scanned.twice(&Expected { view, gaps }, BranchId(1), "t", 0, offset);
        }
        judged(view, gaps, scanned)
    };
    let found = twice(&[], &view());
    assert_eq!((found.domains.duplicates, found.domains.missing, found.problems.len()), (2, 0, 2));

    let mut again = view();
    again.conservation[0].counts = Counts { read: 7, rows: 7, ..Counts::default() };
    let gap = Gap { source: "s".into(), topic: "t".into(), partition: 0, offsets: 12..14, kind: "again".into() };
    let found = twice(&[gap], &again);
    assert_eq!(found.problems, Vec::<String>::new());
    let figures = found.domains;
    assert_eq!((figures.read, figures.rows, figures.again, figures.duplicates), (5, 5, 2, 0));
}

#[test]
fn what_is_a_row_and_a_dead_letter_is_there_twice() {
    let mut both = scanned(1, 10..15);
    both.dead.entry((BranchId(1), "t".into(), 0)).or_default().insert(11);
    let found = judged(&view(), &[], both);
    assert_eq!(found.domains.duplicates, 1, "{:?}", found.problems);
    assert!(!found.ok);
}

#[test]
fn a_partition_of_which_nothing_is_left_is_missing_whole() {
    let mut view = view();
    view.conservation.clear();
    let found = judged(&view, &[], Scanned::default());
    assert_eq!((found.problems.len(), found.domains.missing), (5, 5));
}

#[test]
fn rows_of_a_branch_that_nobody_knows_are_told() {
    let mut both = scanned(1, 10..15);
    both.rows.extend(scanned(7, 3..5).rows);
    assert_eq!(problems(&view(), &[], both), ["2 records are of branch 7, which is not known"]);
}

/// Dead letters of offset 12 that name no branch, one for each of these epochs.
fn undecoded(epochs: &[i64]) -> RecordBatch {
    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
    use std::sync::Arc;
    let (rows, offset) = (epochs.len(), 12);
    let columns: [(&str, ArrayRef); 6] = [
        ("_branch", Arc::new(Int32Array::new_null(rows))),
        ("_topic", Arc::new(StringArray::from(vec!["t"; rows]))),
        ("_partition", Arc::new(Int32Array::from(vec![0; rows]))),
        ("_offset", Arc::new(Int64Array::from(vec![offset; rows]))),
        ("source", Arc::new(StringArray::from(vec!["s"; rows]))),
        ("_epoch", Arc::new(Int64Array::from(epochs.to_vec()))),
    ];
    RecordBatch::try_from_iter(columns).expect("the columns are of one length")
}

#[test]
fn what_could_not_be_decoded_counts_in_the_branches_of_its_time() {
    let mut view = view();
    view.conservation[0].counts = Counts { read: 5, rows: 4, dead_letters: 1, ..Counts::default() };
    view.branches[0].closed_epoch = Some(Epoch(4));
    // The statement that came in its place has read nothing yet.
    let next = Branch { id: BranchId(2), first_epoch: Epoch(4), closed_epoch: None, ..view.branches[0].clone() };
    view.branches.push(Branch { started_at: vec![("t".into(), 0, 15)], ..next });
    let found = |epochs: &[i64]| {
        let mut scanned = scanned(1, 10..12);
        for offsets in scanned.rows.values_mut() {
            offsets.insert_range(13..15);
        }
        scanned.dead_letters(&Expected { view: &view, gaps: &[] }, &undecoded(epochs)).expect("the columns are there");
        judged(&view, &[], scanned)
    };
    let verified = found(&[3]);
    assert_eq!(verified.problems, Vec::<String>::new());
    assert_eq!(verified.branches.iter().map(|it| it.figures.dead_letters).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(found(&[3, 3]).domains.duplicates, 1);
}

#[test]
fn dead_letters_of_a_source_that_nobody_knows_are_told() {
    let mut view = view();
    view.branches[0].first_epoch = Epoch(4);
    let mut scanned = scanned(1, 10..15);
    scanned.dead_letters(&Expected { view: &view, gaps: &[] }, &undecoded(&[3])).expect("the columns are there");
    assert_eq!(problems(&view, &[], scanned), ["1 records are of source s, which is not known"]);
}
