//! Committed offsets, in memory and in one append-only file.
//!
//! `groups.log` is a row of entries, each with its length, its CRC-32C and a JSON text. A torn end is cut at the start.
//! When most of the file is outdated it is written anew.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Buf;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::Fsync;
use crate::durable;
use crate::error::BrokerError;

/// The file is not rewritten below this size.
const REWRITE_FROM_BYTES: u64 = 4 << 20;

/// A partition by topic name.
pub(crate) type TopicPartition = (String, i32);

/// How far a group came in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

#[derive(Debug, Serialize, Deserialize)]
enum Entry {
    Commit { group: String, offsets: Vec<(String, i32, Committed)> },
    ForgetGroup { group: String },
    ForgetTopic { topic: String },
}

/// The committed offsets of all groups.
#[derive(Debug)]
pub(crate) struct Offsets {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Size of the file when it was last written anew.
    fresh_bytes: u64,
    fsync: Fsync,
    by_group: BTreeMap<String, BTreeMap<TopicPartition, Committed>>,
}

impl Offsets {
    /// Reads `groups.log` of the data directory.
    pub(crate) fn open(data_dir: &Path, fsync: Fsync) -> Result<Offsets, BrokerError> {
        let path = data_dir.join("groups.log");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .map_err(BrokerError::io("open", &path))?;
        let content = fs::read(&path).map_err(BrokerError::io("read", &path))?;
        let mut offsets = Offsets { path, file, bytes: 0, fresh_bytes: 0, fsync, by_group: BTreeMap::new() };
        let mut rest = content.as_slice();
        while let Some(entry) = next_entry(&mut rest) {
            offsets.apply(&entry);
        }
        offsets.bytes = (content.len() - rest.len()) as u64;
        offsets.fresh_bytes = offsets.bytes;
        if !rest.is_empty() {
            warn!(path = %offsets.path.display(), lost_bytes = rest.len(), "torn end of committed offsets cut off");
            offsets.file.set_len(offsets.bytes).map_err(BrokerError::io("cut", &offsets.path))?;
        }
        Ok(offsets)
    }

    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Commit { group, offsets } => {
                let known = self.by_group.entry(group.clone()).or_default();
                for (topic, partition, committed) in offsets {
                    known.insert((topic.clone(), *partition), committed.clone());
                }
            }
            Entry::ForgetGroup { group } => drop(self.by_group.remove(group)),
            Entry::ForgetTopic { topic } => {
                for known in self.by_group.values_mut() {
                    known.retain(|(name, _), _| name != topic);
                }
                self.by_group.retain(|_, known| !known.is_empty());
            }
        }
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let bytes = encode_entry(entry)?;
        let written = self.file.write_all(&bytes).and_then(|()| match self.fsync {
            Fsync::EveryBatch => self.file.sync_data(),
            Fsync::Never => Ok(()),
        });
        if let Err(error) = written {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        self.apply(entry);
        if self.bytes > REWRITE_FROM_BYTES.max(4 * self.fresh_bytes) {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Writes the file anew, with nothing outdated in it.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (group, known) in &self.by_group {
            let row = |((topic, partition), committed): (&TopicPartition, &Committed)| {
                (topic.clone(), *partition, committed.clone())
            };
            let offsets = known.iter().map(row).collect();
            bytes.extend(encode_entry(&Entry::Commit { group: group.clone(), offsets })?);
        }
        durable::replace(&self.path, &bytes)?;
        self.file = OpenOptions::new().append(true).read(true).open(&self.path)?;
        self.bytes = bytes.len() as u64;
        self.fresh_bytes = self.bytes;
        Ok(())
    }

    /// Remembers offsets of a group; they are in the file when this returns. Blocks on it.
    pub(crate) fn commit(&mut self, group: &str, offsets: Vec<(String, i32, Committed)>) -> io::Result<()> {
        self.write(&Entry::Commit { group: group.to_string(), offsets })
    }

    /// What a group committed, by topic and partition.
    pub(crate) fn of_group(&self, group: &str) -> Option<&BTreeMap<TopicPartition, Committed>> {
        self.by_group.get(group)
    }

    /// The groups that committed something.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &String> {
        self.by_group.keys()
    }

    /// Forgets a group. Blocks on the file.
    pub(crate) fn forget_group(&mut self, group: &str) -> io::Result<()> {
        self.write(&Entry::ForgetGroup { group: group.to_string() })
    }

    /// Forgets a deleted topic, so that one of the same name starts anew. Blocks on the file.
    pub(crate) fn forget_topic(&mut self, topic: &str) -> io::Result<()> {
        let known = self.by_group.values().any(|known| known.keys().any(|(name, _)| name == topic));
        if known { self.write(&Entry::ForgetTopic { topic: topic.to_string() }) } else { Ok(()) }
    }

    /// Brings everything to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn encode_entry(entry: &Entry) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(entry)?;
    let mut bytes = Vec::with_capacity(text.len() + 8);
    bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&text).to_be_bytes());
    bytes.extend_from_slice(&text);
    Ok(bytes)
}

/// Takes the next whole and sound entry off `bytes`.
fn next_entry(bytes: &mut &[u8]) -> Option<Entry> {
    let mut rest = *bytes;
    let length = rest.try_get_u32().ok()? as usize;
    let crc = rest.try_get_u32().ok()?;
    let text = rest.get(..length)?;
    if crc32c::crc32c(text) != crc {
        return None;
    }
    let entry = serde_json::from_slice(text).ok()?;
    *bytes = &rest[length..];
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn at(offset: i64) -> Committed {
        Committed { offset, leader_epoch: 0, metadata: "m".to_string() }
    }

    fn open(folder: &TempDir) -> Offsets {
        Offsets::open(folder.path(), Fsync::Never).expect("opens")
    }

    #[test]
    fn commits_outlive_a_restart_and_a_torn_end() {
        let folder = TempDir::new().expect("folder");
        let mut offsets = open(&folder);
        offsets.commit("g", vec![("t".to_string(), 0, at(5)), ("t".to_string(), 1, at(6))]).expect("committed");
        offsets.commit("g", vec![("t".to_string(), 0, at(7))]).expect("committed");
        offsets.commit("other", vec![("u".to_string(), 0, at(1))]).expect("committed");
        offsets.forget_topic("u").expect("forgotten");
        let mut file = OpenOptions::new().append(true).open(&offsets.path).expect("file");
        file.write_all(&[0, 0, 0, 90, 1, 2]).expect("torn");
        for _ in 0..2 {
            let offsets = open(&folder);
            let known = offsets.of_group("g").expect("known");
            assert_eq!(known.get(&("t".to_string(), 0)), Some(&at(7)));
            assert_eq!((known.len(), offsets.groups().count()), (2, 1));
        }
    }

    #[test]
    fn rewriting_keeps_what_counts() {
        let folder = TempDir::new().expect("folder");
        let mut offsets = open(&folder);
        for offset in 0..100 {
            offsets.commit("g", vec![("t".to_string(), 0, at(offset))]).expect("committed");
        }
        let before = offsets.bytes;
        offsets.rewrite().expect("rewritten");
        assert!(offsets.bytes < before / 50);
        offsets.commit("h", vec![("t".to_string(), 0, at(3))]).expect("committed");
        assert_eq!(open(&folder).by_group, offsets.by_group);
        offsets.forget_group("g").expect("forgotten");
        assert!(open(&folder).of_group("g").is_none());
    }
}
