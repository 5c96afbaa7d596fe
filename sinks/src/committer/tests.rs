use super::*;
use crate::disk::Durability as TableDurability;
use crate::formats::Formats;
use crate::simulation::{branch, manifest};
use std::time::Instant;
use thermocline_schemas::Epoch;
use thermocline_schemas::metadata::SqliteMeta;
use thermocline_schemas::time::SystemClock;

async fn begin(folder: &Path, pid: u32) -> Committer {
    let meta = SqliteMeta::open(&folder.join("metadata.db"), Arc::new(SystemClock)).await.unwrap();
    let tables = Formats::open(folder, meta.store(), TableDurability::Process).unwrap();
    let stores = Stores {
        meta: Arc::new(meta),
        tables: Arc::new(tables),
        clock: Arc::new(SystemClock),
        embedder: None,
        data_dir: folder.to_owned(),
        durability: Durability::Disk,
    };
    let run = RunInfo { host: "here".into(), pid, started_at: SystemClock.now() };
    Committer::begin(stores, RollupConfig::default(), &run).await.unwrap()
}

#[tokio::test]
async fn the_older_of_two_processes_is_fenced_within_two_seconds_while_idle() {
    let folder = tempfile::tempdir().unwrap();
    let older = begin(folder.path(), 1).await;
    older.recover().await.unwrap();
    let watching = tokio::spawn(async move { older.fence().await });
    tokio::task::yield_now().await;
    let newer = begin(folder.path(), 2).await;
    let begun = Instant::now();
    let error = tokio::time::timeout(Duration::from_secs(2), watching).await.expect("fenced in time").unwrap();
    assert!(matches!(&error, SinkError::Meta(error) if error.is_fenced()), "{error}");
    assert!(error.to_string().contains("generation 2 has begun on here (process 2); this run ends"), "{error}");
    println!("fenced after {:?}", begun.elapsed());
    newer.check().await.unwrap();
}

#[tokio::test]
async fn epochs_are_committed_in_order_and_orphans_swept() {
    let folder = tempfile::tempdir().unwrap();
    let first = begin(folder.path(), 1).await;
    let branch = first.meta().register_branch(first.generation(), &branch()).await.unwrap();
    first.commit_manifest(&manifest(Epoch(0), vec![], branch, 2, 2)).await.unwrap();
    let error = first.commit_manifest(&manifest(Epoch(0), vec![], branch, 2, 4)).await.unwrap_err();
    assert!(matches!(error, SinkError::Meta(MetaError::OutOfOrder { .. })), "{error}");
    let orphan = folder.path().join("staged/1/7-0");
    std::fs::write(&orphan, "of an epoch that never came").unwrap();
    assert_eq!(first.recover().await.unwrap().orphans, 0, "a run leaves its own alone");
    assert_eq!(begin(folder.path(), 2).await.recover().await.unwrap().orphans, 1);
    assert!(!orphan.parent().unwrap().exists());
}
