//! One consumer group as a state machine: requests and the clock go in, answers go to whoever waits for them.
//!
//! A group is *empty*, *preparing* (collecting the members of the next generation), *completing* (waiting for the
//! leader's assignment) or *stable*. Joining and syncing are answered when all members got there, so their answers go
//! through a channel; everything else is answered at once.
//!
//! Simpler than Kafka in one way: a static member (`group.instance.id`) that comes back causes a rebalance.
//!
//! Source: the classic protocol of Kafka's group coordinator; KIP-345 and KIP-394.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::messages::{Join, Joined, Sync, Synced};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    Preparing,
    Completing,
    Stable,
}

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    expires: Instant,
    joining: Option<oneshot::Sender<Joined>>,
    syncing: Option<oneshot::Sender<Synced>>,
}

impl Member {
    fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    fn seen(&mut self, now: Instant) {
        self.expires = now + self.session_timeout;
    }
}

/// One consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    phase: Phase,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Ids that were given out and have not joined yet, with the time at which they are forgotten.
    invited: BTreeMap<String, Instant>,
    /// While preparing or completing: when the group stops waiting for those who are missing.
    patience_ends: Instant,
    /// How long the first member of an empty group waits for others.
    first_wait: Duration,
    /// While preparing: not complete before this, even if all are there.
    not_before: Instant,
}

impl Group {
    /// A group without members. The first one waits `first_wait` for others: members that start together would
    /// otherwise need a second rebalance, for which they come only with their next heartbeat.
    pub(crate) fn new(first_wait: Duration, now: Instant) -> Group {
        Group {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            members: BTreeMap::new(),
            invited: BTreeMap::new(),
            patience_ends: now,
            first_wait,
            not_before: now,
        }
    }

    /// The name of the state as Kafka's tools show it.
    pub(crate) fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    /// Nobody is in the group or about to be.
    pub(crate) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.invited.is_empty()
    }

    /// `consumer` for groups of consumers; absent until somebody joined.
    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The assignment strategy that was agreed on.
    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The members with their ids and their metadata for the agreed strategy.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&String, &Member, Bytes)> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        self.members.iter().map(move |(id, member)| (id, member, member.metadata(protocol)))
    }

    /// Takes a member in; `fresh_id` is the id for one that has none.
    pub(crate) fn join(&mut self, join: Join, fresh_id: String, answer: oneshot::Sender<Joined>, now: Instant) {
        let refuse = |answer: oneshot::Sender<Joined>, error, member_id: String| {
            let _ = answer.send(Joined { error: Some(error), generation: -1, member_id, ..Joined::default() });
        };
        if !self.speaks(&join) {
            return refuse(answer, ResponseError::InconsistentGroupProtocol, join.member_id);
        }
        let mut id = join.member_id.clone();
        if id.is_empty() {
            id = fresh_id;
            if join.takes_id_first && join.instance_id.is_none() {
                self.invited.insert(id.clone(), now + join.session_timeout);
                return refuse(answer, ResponseError::MemberIdRequired, id);
            }
            self.replace_static_member(join.instance_id.as_deref());
        } else if let Some(error) = self.fenced(&id, join.instance_id.as_deref()) {
            return refuse(answer, error, id);
        } else if self.invited.remove(&id).is_none() && !self.members.contains_key(&id) {
            return refuse(answer, ResponseError::UnknownMemberId, id);
        }
        self.protocol_type = Some(join.protocol_type.clone());
        let known = self.members.get(&id).is_some_and(|member| member.protocols == join.protocols);
        let settled = match self.phase {
            Phase::Stable => known && id != self.leader,
            Phase::Completing => known,
            Phase::Empty | Phase::Preparing => false,
        };
        let member = self.members.entry(id.clone()).or_insert_with(|| Member {
            instance_id: None,
            client_id: String::new(),
            client_host: String::new(),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            expires: now,
            joining: None,
            syncing: None,
        });
        member.instance_id = join.instance_id;
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.protocols = join.protocols;
        member.seen(now);
        if settled {
            // A repeated request of a member that is where it should be.
            let _ = answer.send(self.joined(&id));
            return;
        }
        member.joining = Some(answer);
        self.prepare(now);
        self.complete_if_all_joined(now);
    }

    /// Whether the member shares a strategy with all others.
    fn speaks(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return false;
        }
        let others: Vec<&Member> =
            self.members.iter().filter(|(id, _)| **id != join.member_id).map(|(_, member)| member).collect();
        let same_type = self.protocol_type.as_deref().is_none_or(|ours| ours == join.protocol_type);
        let in_all =
            |name: &String| others.iter().all(|other| other.protocols.iter().any(|(theirs, _)| theirs == name));
        others.is_empty() || (same_type && join.protocols.iter().any(|(name, _)| in_all(name)))
    }

    fn replace_static_member(&mut self, instance_id: Option<&str>) {
        let Some(instance_id) = instance_id else { return };
        let old = self.members.iter().find(|(_, member)| member.instance_id.as_deref() == Some(instance_id));
        if let Some(old) = old.map(|(id, _)| id.clone()) {
            self.remove(&old, ResponseError::FencedInstanceId);
        }
    }

    /// Whether another member took over the instance id that this one names.
    fn fenced(&self, member_id: &str, instance_id: Option<&str>) -> Option<ResponseError> {
        let instance_id = instance_id?;
        let holder = self.members.iter().find(|(_, member)| member.instance_id.as_deref() == Some(instance_id))?.0;
        (holder != member_id).then_some(ResponseError::FencedInstanceId)
    }

    fn remove(&mut self, member_id: &str, error: ResponseError) -> bool {
        let Some(member) = self.members.remove(member_id) else { return false };
        if let Some(answer) = member.joining {
            let _ = answer.send(Joined { error: Some(error), generation: -1, ..Joined::default() });
        }
        if let Some(answer) = member.syncing {
            let _ = answer.send(Synced { error: Some(error), ..Synced::default() });
        }
        true
    }

    /// Starts to collect the members of the next generation, unless that is under way.
    fn prepare(&mut self, now: Instant) {
        if self.phase == Phase::Preparing {
            return;
        }
        for member in self.members.values_mut() {
            if let Some(answer) = member.syncing.take() {
                let _ = answer.send(Synced { error: Some(ResponseError::RebalanceInProgress), ..Synced::default() });
            }
        }
        if self.phase == Phase::Empty {
            self.not_before = now + self.first_wait;
        }
        self.phase = Phase::Preparing;
        self.patience_ends = now + self.longest_rebalance();
    }

    fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn complete_if_all_joined(&mut self, now: Instant) {
        let all = self.members.values().all(|member| member.joining.is_some()) && self.invited.is_empty();
        if self.phase == Phase::Preparing && all && now >= self.not_before {
            self.complete(now);
        }
    }

    /// Begins the next generation with the members that are there.
    fn complete(&mut self, now: Instant) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.protocol = None;
            self.leader.clear();
            return;
        }
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        self.protocol = self.favourite_protocol();
        self.phase = Phase::Completing;
        self.patience_ends = now + self.longest_rebalance();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.seen(now);
                member.assignment = Bytes::new();
                if let Some(answer) = member.joining.take() {
                    let _ = answer.send(joined);
                }
            }
        }
    }

    /// The strategy that all members know and most of them like best.
    fn favourite_protocol(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let in_all =
            |name: &str| self.members.values().all(|member| member.protocols.iter().any(|(theirs, _)| theirs == name));
        let common: Vec<&String> = first.protocols.iter().map(|(name, _)| name).filter(|name| in_all(name)).collect();
        let votes = |name: &String| {
            let favourite = |member: &&Member| {
                let best = member.protocols.iter().map(|(theirs, _)| theirs).find(|theirs| common.contains(theirs));
                best == Some(name)
            };
            self.members.values().filter(favourite).count()
        };
        common.iter().rev().max_by_key(|name| votes(name)).map(|name| (*name).clone())
    }

    fn joined(&self, member_id: &str) -> Joined {
        let leads = member_id == self.leader;
        let everybody = self.members().map(|(id, member, metadata)| (id.clone(), member.instance_id.clone(), metadata));
        Joined {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: member_id.to_string(),
            members: if leads { everybody.collect() } else { Vec::new() },
        }
    }

    /// Hands out assignments, as soon as the leader has brought them.
    pub(crate) fn sync(&mut self, sync: Sync, answer: oneshot::Sender<Synced>, now: Instant) {
        let refuse = |answer: oneshot::Sender<Synced>, error| {
            let _ = answer.send(Synced { error: Some(error), ..Synced::default() });
        };
        if let Err(error) = self.check_member(&sync.member_id, sync.instance_id.as_deref(), sync.generation) {
            return refuse(answer, error);
        }
        let differs = |ours: &Option<String>, theirs: &Option<String>| theirs.is_some() && ours != theirs;
        if differs(&self.protocol_type, &sync.protocol_type) || differs(&self.protocol, &sync.protocol) {
            return refuse(answer, ResponseError::InconsistentGroupProtocol);
        }
        let Some(member) = self.members.get_mut(&sync.member_id) else {
            return refuse(answer, ResponseError::UnknownMemberId);
        };
        member.seen(now);
        match self.phase {
            Phase::Empty => return refuse(answer, ResponseError::UnknownMemberId),
            Phase::Preparing => return refuse(answer, ResponseError::RebalanceInProgress),
            Phase::Completing => member.syncing = Some(answer),
            Phase::Stable => {
                let _ = answer.send(self.synced(&sync.member_id));
                return;
            }
        }
        if sync.member_id == self.leader {
            self.settle(sync.assignments, now);
        }
    }

    /// The leader's assignment is there: everybody gets their part.
    fn settle(&mut self, assignments: Vec<(String, Bytes)>, now: Instant) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.phase = Phase::Stable;
        let waiting: Vec<String> =
            self.members.iter().filter(|(_, member)| member.syncing.is_some()).map(|(id, _)| id.clone()).collect();
        for id in waiting {
            let synced = self.synced(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.seen(now);
                if let Some(answer) = member.syncing.take() {
                    let _ = answer.send(synced);
                }
            }
        }
    }

    fn synced(&self, member_id: &str) -> Synced {
        Synced {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(member_id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    fn check_member(&self, id: &str, instance_id: Option<&str>, generation: i32) -> Result<(), ResponseError> {
        if let Some(error) = self.fenced(id, instance_id) {
            return Err(error);
        }
        if !self.members.contains_key(id) {
            return Err(ResponseError::UnknownMemberId);
        }
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(())
    }

    /// A member is alive; tells it whether it must join again.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check_member(member_id, instance_id, generation)?;
        if let Some(member) = self.members.get_mut(member_id) {
            member.seen(now);
        }
        if self.phase == Phase::Preparing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// A member goes; it may be named by its instance id alone.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let mut id = member_id.to_string();
        if let Some(instance_id) = instance_id {
            let holder = self.members.iter().find(|(_, member)| member.instance_id.as_deref() == Some(instance_id));
            let holder = holder.ok_or(ResponseError::UnknownMemberId)?.0;
            if !id.is_empty() && holder != &id {
                return Err(ResponseError::FencedInstanceId);
            }
            id = holder.clone();
        }
        let was_invited = self.invited.remove(&id).is_some();
        let was_member = self.remove(&id, ResponseError::UnknownMemberId);
        if was_member {
            self.prepare(now);
        }
        self.complete_if_all_joined(now);
        if was_member || was_invited { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Whether these offsets may be committed; generation -1 without a member id is somebody from outside.
    pub(crate) fn check_commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        self.check_member(member_id, instance_id, generation)?;
        if let Some(member) = self.members.get_mut(member_id) {
            member.seen(now);
        }
        if self.phase == Phase::Completing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Lets time pass: members that were not heard of go, and nobody is waited for for ever.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.invited.retain(|_, expires| *expires > now);
        let patience_is_over = now >= self.patience_ends;
        let gone = |member: &Member| match self.phase {
            Phase::Preparing if member.joining.is_some() => false,
            Phase::Completing if member.syncing.is_some() => false,
            Phase::Preparing | Phase::Completing => patience_is_over || member.expires <= now,
            Phase::Empty | Phase::Stable => member.expires <= now,
        };
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| gone(member)).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.remove(id, ResponseError::UnknownMemberId);
        }
        if !gone.is_empty() {
            self.prepare(now);
        }
        if self.phase == Phase::Preparing && patience_is_over {
            self.invited.clear();
        }
        self.complete_if_all_joined(now);
    }
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
