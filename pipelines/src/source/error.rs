//! What can go wrong between us and a broker, and the way out.

use std::time::Duration;
use thermocline_schemas::TopicPartition;
use uuid::Uuid;

/// A source cannot start, or cannot go on; or `produce` cannot.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// A property that librdkafka refuses, or that Thermocline keeps to itself.
    #[error("broker property {property}: {reason}")]
    Property {
        /// The property's name; empty where librdkafka does not tell.
        property: String,
        /// Why it is refused.
        reason: String,
    },
    /// Nobody answers at the address. Nothing has been read.
    #[error("no broker answers at {bootstrap} after {}s ({reason}): start one, or correct the address", waited.as_secs())]
    Unreachable {
        /// The address.
        bootstrap: String,
        /// How long was waited.
        waited: Duration,
        /// What librdkafka says.
        reason: String,
    },
    /// The broker does not answer one question just now. Asking again later may help.
    #[error("the broker gave no answer to {what}: {reason}")]
    NoAnswer {
        /// What was asked.
        what: &'static str,
        /// What librdkafka says.
        reason: String,
    },
    /// The topic is not there.
    #[error("there is no topic {topic} at {bootstrap}")]
    NoTopic {
        /// The topic.
        topic: String,
        /// The broker's address.
        bootstrap: String,
    },
    /// The resume offsets belong to another cluster: the address leads elsewhere, or the cluster was made anew.
    #[error(
        "the offsets of source {origin} belong to cluster {expected}, but the broker at {bootstrap} is cluster {found}: \
         correct the address, or begin anew with `thermocline reset-offsets --topic {topic} --to earliest`"
    )]
    OtherCluster {
        /// The declared source.
        origin: String,
        /// The broker's address.
        bootstrap: String,
        /// One topic that the offsets name.
        topic: String,
        /// The cluster that the offsets belong to.
        expected: String,
        /// The cluster that answers.
        found: String,
    },
    /// A topic was deleted and made anew under its old name; its old offsets mean nothing now.
    #[error(
        "topic {topic} was made anew: its offsets belong to topic id {expected}, the broker has {found}; \
         to read the new topic: `thermocline reset-offsets --topic {topic} --to earliest`"
    )]
    Recreated {
        /// The topic.
        topic: String,
        /// The id that the offsets belong to.
        expected: Uuid,
        /// The id that the broker has.
        found: Uuid,
    },
    /// Records between the resume offset and the earliest record are gone (retention, or somebody deleted them).
    #[error(
        "{partition}: records {resume} to {} are gone, {missing} offsets in all: the earliest record is {earliest}; \
         to go on without them: `thermocline reset-offsets --topic {topic} --to earliest`",
        earliest - 1, topic = partition.topic
    )]
    Gone {
        /// The partition.
        partition: TopicPartition,
        /// The resume offset.
        resume: i64,
        /// The earliest record that is left.
        earliest: i64,
        /// How many offsets lie between them.
        missing: i64,
    },
    /// The log ends before the resume offset: the broker has lost records that were read already.
    #[error(
        "{partition}: the resume offset is {resume}, but the log ends at {end}: the broker has lost records that were \
         already read; to read on from there: `thermocline reset-offsets --topic {topic} --to latest`",
        topic = partition.topic
    )]
    BeyondEnd {
        /// The partition.
        partition: TopicPartition,
        /// The resume offset.
        resume: i64,
        /// The end of the log.
        end: i64,
    },
    /// A partition cannot be read, and waiting will not help.
    #[error("{partition} cannot be read at offset {offset}: {reason}")]
    Unreadable {
        /// The partition.
        partition: TopicPartition,
        /// The next offset to read.
        offset: i64,
        /// What librdkafka says.
        reason: String,
    },
    /// librdkafka refuses an operation that should work.
    #[error("{what}: {reason}")]
    Client {
        /// What was tried.
        what: String,
        /// What librdkafka says.
        reason: String,
    },
    /// A line of the input cannot become a record. The lines before it were produced.
    #[error("line {line}: {reason}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The broker did not take a record. Some of the records around it may have been taken.
    #[error("line {line}: the broker did not take the record: {reason}")]
    NotTaken {
        /// The line, from 1.
        line: u64,
        /// What librdkafka says.
        reason: String,
    },
    /// The input cannot be read.
    #[error("the input breaks off after line {line}: {reason}")]
    Input {
        /// The last line that was read whole.
        line: u64,
        /// Why.
        reason: String,
    },
}
