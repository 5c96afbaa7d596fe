//! The topics: which exist, with which identity, where their partitions lie.
//!
//! `topics/<name>/topic.json` names id, partitions and settings; `topics/<name>/<partition>/` holds the log. A topic is
//! put together in `staging/` and renamed into place, and renamed back to be deleted, so a crash leaves no half topic.

mod name;
mod settings;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use uuid::Uuid;

pub(crate) use name::check_name;
pub(crate) use settings::TopicSettings;

use crate::clock::now_ms;
use crate::config::BrokerConfig;
use crate::durable;
use crate::error::BrokerError;
use crate::log::LogOptions;
use crate::partition::Partition;

/// The most partitions of one topic: each keeps a file open.
pub(crate) const MAX_PARTITIONS: i32 = 10_000;

/// One topic. Its partitions may grow in number, never shrink.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) settings: TopicSettings,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    /// The partition with this number.
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.partitions.read().get(usize::try_from(index).ok()?).cloned()
    }

    /// All partitions, in order.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().clone()
    }
}

/// Why a topic was not created, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("topic {0} exists already")]
    Exists(String),
    #[error("topic {0} does not exist")]
    Unknown(String),
    #[error("{0}")]
    Name(String),
    #[error("{0}")]
    Partitions(String),
    #[error("{0}")]
    Setting(String),
    #[error("the topic's files could not be written: {0}")]
    Io(#[from] io::Error),
}

/// `topic.json`.
#[derive(Debug, Serialize, Deserialize)]
struct TopicFile {
    version: u32,
    id: Uuid,
    partitions: i32,
    #[serde(default)]
    settings: BTreeMap<String, String>,
}

/// All topics of the broker.
#[derive(Debug)]
pub(crate) struct Topics {
    root: PathBuf,
    staging: PathBuf,
    config: Arc<BrokerConfig>,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held while files of topics are created, changed or deleted.
    changing: Mutex<()>,
}

impl Topics {
    /// Opens every topic of the data directory and recovers its logs.
    pub(crate) fn open(config: Arc<BrokerConfig>) -> Result<Topics, BrokerError> {
        let (root, staging) = (config.data_dir.join("topics"), config.data_dir.join("staging"));
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(BrokerError::io("empty", &staging))?;
        }
        fs::create_dir_all(&root).map_err(BrokerError::io("create", &root))?;
        fs::create_dir_all(&staging).map_err(BrokerError::io("create", &staging))?;
        let topics = Topics { root, staging, config, by_name: RwLock::new(BTreeMap::new()), changing: Mutex::new(()) };
        let entries = fs::read_dir(&topics.root).map_err(BrokerError::io("list", &topics.root))?;
        for entry in entries {
            let entry = entry.map_err(BrokerError::io("list", &topics.root))?;
            if !entry.path().is_dir() {
                warn!(path = %entry.path().display(), "not a topic, left alone");
            } else if let Some(name) = entry.file_name().to_str() {
                let topic = topics.open_topic(name, &entry.path())?;
                topics.by_name.write().insert(name.to_string(), Arc::new(topic));
            }
        }
        Ok(topics)
    }

    fn open_topic(&self, name: &str, folder: &Path) -> Result<Topic, BrokerError> {
        let path = folder.join("topic.json");
        let bytes = fs::read(&path).map_err(BrokerError::io("read", &path))?;
        let damaged = |detail: String| BrokerError::Damaged { path: path.clone(), detail };
        let file: TopicFile = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if file.version != 1 {
            return Err(damaged(format!("version {} was written by a newer broker", file.version)));
        }
        let settings = TopicSettings::parse(file.settings).map_err(damaged)?;
        let topic = Topic { name: name.to_string(), id: file.id, settings, partitions: RwLock::default() };
        self.open_partitions(&topic, folder, file.partitions).map_err(BrokerError::io("open the log in", folder))?;
        Ok(topic)
    }

    fn open_partitions(&self, topic: &Topic, folder: &Path, count: i32) -> io::Result<()> {
        let mut partitions = topic.partitions.write();
        for index in partitions.len() as i32..count {
            let options = LogOptions {
                segment_bytes: topic.settings.segment_bytes.unwrap_or(self.config.segment_bytes),
                retention: topic.settings.retention(self.config.retention),
            };
            let folder = folder.join(index.to_string());
            let opened = Partition::open(&topic.name, index, &folder, options, self.config.fsync, now_ms())?;
            partitions.push(Arc::new(opened));
        }
        Ok(())
    }

    /// The topic with this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.read().get(name).cloned()
    }

    /// The topic with this id.
    pub(crate) fn get_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.by_name.read().values().find(|topic| topic.id == id).cloned()
    }

    /// One partition of one topic.
    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        self.by_name.read().get(topic)?.partition(index)
    }

    /// All topics, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.by_name.read().values().cloned().collect()
    }

    /// All partitions of all topics.
    pub(crate) fn all_partitions(&self) -> Vec<Arc<Partition>> {
        self.all().iter().flat_map(|topic| topic.partitions()).collect()
    }

    /// Says what [`Topics::create`] would object to.
    pub(crate) fn check_new(
        &self,
        name: &str,
        partitions: i32,
        settings: BTreeMap<String, String>,
    ) -> Result<TopicSettings, TopicError> {
        check_name(name).map_err(TopicError::Name)?;
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            let text = format!("a topic has 1 to {MAX_PARTITIONS} partitions, {partitions} were asked for");
            return Err(TopicError::Partitions(text));
        }
        if self.get(name).is_some() {
            return Err(TopicError::Exists(name.to_string()));
        }
        TopicSettings::parse(settings).map_err(TopicError::Setting)
    }

    /// Creates a topic. Blocks on files.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        settings: BTreeMap<String, String>,
    ) -> Result<Arc<Topic>, TopicError> {
        let _one_at_a_time = self.changing.lock();
        let settings = self.check_new(name, partitions, settings)?;
        let id = Uuid::new_v4();
        let staged = self.staging.join(id.to_string());
        fs::create_dir_all(&staged)?;
        for index in 0..partitions {
            fs::create_dir(staged.join(index.to_string()))?;
        }
        write_topic_file(&staged, id, partitions, &settings)?;
        let folder = self.root.join(name);
        fs::rename(&staged, &folder)?;
        durable::sync_folder(&self.root)?;
        let topic = Topic { name: name.to_string(), id, settings, partitions: RwLock::default() };
        if let Err(error) = self.open_partitions(&topic, &folder, partitions) {
            // Too many open files, for one. Nobody has seen the topic yet.
            fs::rename(&folder, &staged)?;
            return Err(error.into());
        }
        let topic = Arc::new(topic);
        self.by_name.write().insert(name.to_string(), Arc::clone(&topic));
        info!(topic = name, %id, partitions, "topic created");
        Ok(topic)
    }

    /// Adds partitions until there are `count`. Blocks on files.
    pub(crate) fn grow(&self, name: &str, count: i32, only_check: bool) -> Result<(), TopicError> {
        let _one_at_a_time = self.changing.lock();
        let topic = self.get(name).ok_or_else(|| TopicError::Unknown(name.to_string()))?;
        let now = topic.partitions.read().len() as i32;
        if count <= now || count > MAX_PARTITIONS {
            let text =
                format!("topic {name} has {now} partitions; it can grow to at most {MAX_PARTITIONS}, not to {count}");
            return Err(TopicError::Partitions(text));
        }
        if !only_check {
            let folder = self.root.join(name);
            write_topic_file(&folder, topic.id, count, &topic.settings)?;
            self.open_partitions(&topic, &folder, count)?;
            info!(topic = name, partitions = count, "partitions added");
        }
        Ok(())
    }

    /// Deletes a topic and its records. Blocks on files.
    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let _one_at_a_time = self.changing.lock();
        let topic = self.get(name).ok_or_else(|| TopicError::Unknown(name.to_string()))?;
        let gone = self.staging.join(topic.id.to_string());
        fs::rename(self.root.join(name), &gone)?;
        self.by_name.write().remove(name);
        for partition in topic.partitions() {
            partition.mark_deleted();
        }
        durable::sync_folder(&self.root)?;
        fs::remove_dir_all(&gone)?;
        info!(topic = name, id = %topic.id, "topic deleted");
        Ok(())
    }
}

fn write_topic_file(folder: &Path, id: Uuid, partitions: i32, settings: &TopicSettings) -> io::Result<()> {
    let file = TopicFile { version: 1, id, partitions, settings: settings.given().clone() };
    durable::replace(&folder.join("topic.json"), &serde_json::to_vec_pretty(&file)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn topics(folder: &TempDir) -> Topics {
        let config = BrokerConfig { data_dir: folder.path().to_path_buf(), ..BrokerConfig::default() };
        Topics::open(Arc::new(config)).expect("opens")
    }

    #[test]
    fn topics_keep_identity_partitions_and_settings_over_a_restart() {
        let folder = TempDir::new().expect("folder");
        let settings = BTreeMap::from([("retention.ms".to_string(), "5000".to_string())]);
        let id = topics(&folder).create("a.b-C_1", 3, settings.clone()).expect("created").id;
        topics(&folder).grow("a.b-C_1", 5, false).expect("grown");
        let again = topics(&folder);
        let topic = again.get("a.b-C_1").expect("still there");
        assert_eq!((topic.id, topic.partitions().len(), topic.settings.given()), (id, 5, &settings));
        assert_eq!(again.get_by_id(id).map(|topic| topic.name.clone()), Some("a.b-C_1".to_string()));
    }

    #[test]
    fn a_topic_created_again_is_another_one() {
        let folder = TempDir::new().expect("folder");
        let topics = topics(&folder);
        let first = topics.create("t", 1, BTreeMap::new()).expect("created");
        assert!(matches!(topics.create("t", 1, BTreeMap::new()), Err(TopicError::Exists(_))));
        topics.delete("t").expect("deleted");
        assert!(topics.get("t").is_none() && first.partition(0).expect("handle").read(0, 10, true).is_err());
        assert_ne!(topics.create("t", 1, BTreeMap::new()).expect("created").id, first.id);
    }

    #[test]
    fn nonsense_is_refused() {
        let folder = TempDir::new().expect("folder");
        let topics = topics(&folder);
        for name in ["", ".", "..", "a/b", "ä", &"x".repeat(250)] {
            assert!(matches!(topics.create(name, 1, BTreeMap::new()), Err(TopicError::Name(_))), "{name}");
        }
        assert!(matches!(topics.create("t", 0, BTreeMap::new()), Err(TopicError::Partitions(_))));
        let compact = BTreeMap::from([("cleanup.policy".to_string(), "compact".to_string())]);
        assert!(matches!(topics.create("t", 1, compact), Err(TopicError::Setting(_))));
        assert!(matches!(topics.grow("t", 2, false), Err(TopicError::Unknown(_))));
    }
}
