//! All groups of the broker: finds the right one, gives out member ids, lets time pass.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::messages::{Join, Joined, Sync, Synced};
use super::offsets::{Committed, Offsets, TopicPartition};
use super::state::Group;
use crate::config::BrokerConfig;
use crate::error::BrokerError;

/// The consumer groups and their committed offsets.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: Mutex<BTreeMap<String, Group>>,
    offsets: Mutex<Offsets>,
    first_wait: Duration,
}

impl Groups {
    /// Opens the committed offsets of a data directory.
    pub(crate) fn open(config: &BrokerConfig) -> Result<Groups, BrokerError> {
        let offsets = Mutex::new(Offsets::open(&config.data_dir, config.fsync)?);
        Ok(Groups { groups: Mutex::default(), offsets, first_wait: config.group_first_wait })
    }

    /// Takes a member into a group; the answer may take as long as a rebalance.
    pub(crate) fn join(&self, group: &str, join: Join) -> oneshot::Receiver<Joined> {
        let (answer, answered) = oneshot::channel();
        let named = if join.client_id.is_empty() { "member" } else { join.client_id.as_str() };
        let fresh_id = format!("{named}-{}", Uuid::new_v4());
        let now = Instant::now();
        let mut groups = self.groups.lock();
        groups
            .entry(group.to_string())
            .or_insert_with(|| Group::new(self.first_wait, now))
            .join(join, fresh_id, answer, now);
        answered
    }

    /// Gets a member its assignment; the answer comes when the leader has brought it.
    pub(crate) fn sync(&self, group: &str, sync: Sync) -> oneshot::Receiver<Synced> {
        let (answer, answered) = oneshot::channel();
        match self.groups.lock().get_mut(group) {
            Some(group) => group.sync(sync, answer, Instant::now()),
            None => drop(answer.send(Synced { error: Some(ResponseError::UnknownMemberId), ..Synced::default() })),
        }
        answered
    }

    /// Runs `request` on a group that exists, at the present time.
    pub(crate) fn with_group<T>(
        &self,
        group: &str,
        request: impl FnOnce(&mut Group, Instant) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        let mut groups = self.groups.lock();
        request(groups.get_mut(group).ok_or(ResponseError::UnknownMemberId)?, Instant::now())
    }

    /// Whether these offsets may be committed.
    pub(crate) fn check_commit(
        &self,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        match self.groups.lock().get_mut(group) {
            Some(group) => group.check_commit(member_id, instance_id, generation, Instant::now()),
            None if generation < 0 => Ok(()),
            None => Err(ResponseError::UnknownMemberId),
        }
    }

    /// Stores offsets. Blocks on a file.
    pub(crate) fn commit(&self, group: &str, offsets: Vec<(String, i32, Committed)>) -> io::Result<()> {
        self.offsets.lock().commit(group, offsets)
    }

    /// What a group committed, by topic and partition.
    pub(crate) fn committed(&self, group: &str) -> BTreeMap<TopicPartition, Committed> {
        self.offsets.lock().of_group(group).cloned().unwrap_or_default()
    }

    /// Forgets what was committed for a deleted topic. Blocks on a file.
    pub(crate) fn forget_topic(&self, topic: &str) -> io::Result<()> {
        self.offsets.lock().forget_topic(topic)
    }

    /// Forgets a group without members. Blocks on a file.
    pub(crate) fn delete(&self, group: &str) -> Result<(), ResponseError> {
        let mut groups = self.groups.lock();
        if groups.get(group).is_some_and(|group| !group.is_unused()) {
            return Err(ResponseError::NonEmptyGroup);
        }
        let mut offsets = self.offsets.lock();
        let was_there = groups.remove(group).is_some() | offsets.of_group(group).is_some();
        if !was_there {
            return Err(ResponseError::GroupIdNotFound);
        }
        offsets.forget_group(group).map_err(|_| ResponseError::KafkaStorageError)
    }

    /// Every group's name, type of protocol and state: those with members, and those that once committed something.
    pub(crate) fn list(&self) -> Vec<(String, String, &'static str)> {
        let mut found: BTreeMap<String, (String, &'static str)> = BTreeMap::new();
        for name in self.offsets.lock().groups() {
            found.insert(name.clone(), ("consumer".to_string(), "Empty"));
        }
        for (name, group) in self.groups.lock().iter().filter(|(_, group)| !group.is_unused()) {
            found.insert(name.clone(), (group.protocol_type().unwrap_or("").to_string(), group.phase_name()));
        }
        found.into_iter().map(|(name, (kind, state))| (name, kind, state)).collect()
    }

    /// Lets time pass in every group, and drops groups that nobody is in.
    pub(crate) fn tick(&self, now: Instant) {
        self.groups.lock().retain(|_, group| {
            group.tick(now);
            !group.is_unused()
        });
    }

    /// Brings the committed offsets to the disk.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.offsets.lock().sync()
    }
}
