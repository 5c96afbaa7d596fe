//! What can go wrong between us and a broker, and the way out.

use crate::plan::text::near_misses;
use std::fmt::Display;
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
    /// The broker answers, and the answer is no. Waiting will not help.
    #[error("the broker at {bootstrap} refuses {what}: {reason}")]
    Refused {
        /// The broker's address.
        bootstrap: String,
        /// What was asked of it, such as `to describe topic orders`.
        what: String,
        /// What the broker says.
        reason: String,
    },
    /// No topic can have this name. Nothing was asked of any broker.
    #[error(
        "{topic:?} cannot be a topic's name: one has 1 to 249 characters, each a letter a-z or A-Z, a digit, '.', '_' \
         or '-', and is neither \".\" nor \"..\""
    )]
    TopicName {
        /// The name.
        topic: String,
    },
    /// The topic is not there.
    #[error("there is no topic {topic}: {}", what_there_is(topic, known))]
    NoTopic {
        /// The topic.
        topic: String,
        /// The topics that are there, in order.
        known: Vec<String>,
    },
    /// The resume offsets belong to another cluster: the address leads elsewhere, or the cluster was made anew.
    #[error(
        "the offsets of source {origin} belong to cluster {expected}, but the broker at {bootstrap} is cluster {found}: \
         correct the address, or begin anew with {}",
        reset(topic, None, "earliest")
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
         to read the new topic: {}",
        reset(topic, None, "earliest")
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
         to go on without them: {}",
        earliest - 1, reset(&partition.topic, Some(partition.partition), "earliest")
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
         already read; to read on from there: {}",
        reset(&partition.topic, Some(partition.partition), "latest")
    )]
    BeyondEnd {
        /// The partition.
        partition: TopicPartition,
        /// The resume offset.
        resume: i64,
        /// The end of the log.
        end: i64,
    },
    /// The log ended before the offset that was to be read next, and has grown past it since.
    #[error(
        "{partition}: the broker has lost records before offset {offset} that were already read, and written others since: \
         {reason}; `up` reads on from there when it is started again, from earlier on after {}",
        reset(&partition.topic, Some(partition.partition), "OFFSET")
    )]
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was to be read next.
        offset: i64,
        /// What the client said.
        reason: String,
    },
    /// A partition cannot be read, and waiting will not help.
    #[error(
        "{partition} cannot be read at offset {offset}: {reason}; where the record itself is damaged, go on behind it: {}",
        reset(&partition.topic, Some(partition.partition), offset + 1)
    )]
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
    /// A line of the input cannot become a record. What was sent before it is acknowledged.
    #[error("{file}, line {line}: {reason}{}", acknowledged_so_far(*acknowledged))]
    Line {
        /// The input's name.
        file: String,
        /// The line, from 1.
        line: u64,
        /// Why.
        reason: String,
        /// Records before it that the broker has acknowledged.
        acknowledged: u64,
    },
    /// The broker did not take a record. Some of the records around it may have been taken.
    #[error("{file}, line {line}: the broker did not take the record: {reason}")]
    NotTaken {
        /// The input's name.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What librdkafka says.
        reason: String,
    },
    /// The input cannot be read. What was sent before is acknowledged.
    #[error("{}: {reason}{}", where_it_ends(file, *line), acknowledged_so_far(*acknowledged))]
    Input {
        /// The input's name.
        file: String,
        /// The last line that was read whole; 0 where none was.
        line: u64,
        /// Why.
        reason: String,
        /// Records before that point that the broker has acknowledged.
        acknowledged: u64,
    },
    /// A thread of the source has panicked: nothing is read any more.
    #[error("the thread {thread} of the source has panicked; nothing of what was committed is lost")]
    Panicked {
        /// The thread's name.
        thread: String,
    },
}

impl SourceError {
    /// A [`SourceError::Line`] before which nothing was sent, of an input that [`SourceError::of`] names.
    pub(in crate::source) fn line(line: u64, reason: String) -> Self {
        Self::Line { file: String::new(), line, reason, acknowledged: 0 }
    }

    /// A [`SourceError::NotTaken`] of an input that [`SourceError::of`] names.
    pub(in crate::source) fn not_taken(line: u64, reason: String) -> Self {
        Self::NotTaken { file: String::new(), line, reason }
    }

    /// A [`SourceError::Input`] before which nothing was sent, of an input that [`SourceError::of`] names.
    pub(in crate::source) fn input(line: u64, reason: String) -> Self {
        Self::Input { file: String::new(), line, reason, acknowledged: 0 }
    }

    /// The same error of the input that is called `name`.
    pub(in crate::source) fn of(mut self, name: &str) -> Self {
        if let Self::Line { file, .. } | Self::NotTaken { file, .. } | Self::Input { file, .. } = &mut self {
            *file = name.to_owned();
        }
        self
    }

    /// The same error of an input of which `records` were acknowledged.
    pub(in crate::source) fn after(mut self, records: u64) -> Self {
        if let Self::Line { acknowledged, .. } | Self::Input { acknowledged, .. } = &mut self {
            *acknowledged = records;
        }
        self
    }
}

fn acknowledged_so_far(records: u64) -> String {
    match records {
        0 => String::new(),
        1 => "; the broker has acknowledged 1 record before that".to_owned(),
        records => format!("; the broker has acknowledged {records} records before that"),
    }
}

fn where_it_ends(file: &str, line: u64) -> String {
    match line {
        0 => format!("cannot read {file}"),
        line => format!("{file} breaks off after line {line}"),
    }
}

/// The topics that may be meant, or the first of all.
fn what_there_is(topic: &str, known: &[String]) -> String {
    const FIRST: usize = 10;
    let near = near_misses(topic, known.iter().map(String::as_str), "");
    if near.starts_with("did you mean") {
        return near;
    }
    let first: Vec<String> = known.iter().take(FIRST).map(|name| format!("`{name}`")).collect();
    match known.len() {
        0 => "the broker has none".to_owned(),
        1..=FIRST => format!("there are {}", first.join(", ")),
        all => format!("there are {} and {} more", first.join(", "), all - FIRST),
    }
}

/// The command that moves a resume offset, as far as a source can know it.
fn reset(topic: &str, partition: Option<i32>, to: impl Display) -> String {
    let partition = partition.map(|partition| format!(" --partition {partition}")).unwrap_or_default();
    format!(
        "`thermocline reset-offsets --topic {topic}{partition} --to {to} --data DIR`, with the --kafka and \
         --kafka-property of `up`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use thermocline_schemas::TopicPartition;

    #[test]
    fn what_cannot_be_read_names_the_command_that_goes_on_behind_it() {
        let partition = TopicPartition::new("orders", 3);
        let error = SourceError::Unreadable { partition, offset: 41, reason: "bad".to_owned() };
        let command = "thermocline reset-offsets --topic orders --partition 3 --to 42 --data";
        assert!(error.to_string().contains(command), "{error}");
    }

    #[test]
    fn an_input_that_breaks_off_says_what_is_acknowledged() {
        let error = SourceError::input(7, "cut".to_owned()).of("a.jsonl");
        assert_eq!(error.to_string(), "a.jsonl breaks off after line 7: cut");
        let error = error.after(7).to_string();
        assert!(error.ends_with("; the broker has acknowledged 7 records before that"), "{error}");
    }

    #[test]
    fn a_topic_that_is_not_there_is_answered_with_those_that_are() {
        let said = |topic: &str, known: &[&str]| {
            let known = known.iter().map(|name| (*name).to_owned()).collect();
            SourceError::NoTopic { topic: topic.to_owned(), known }.to_string()
        };
        assert_eq!(said("ordres", &["clicks", "orders"]), "there is no topic ordres: did you mean `orders`?");
        assert_eq!(said("nope", &["clicks", "orders"]), "there is no topic nope: there are `clicks`, `orders`");
        assert_eq!(said("nope", &[]), "there is no topic nope: the broker has none");
        let many: Vec<String> = (10..60).map(|number| format!("topic-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let list = said("nope", &many);
        assert!(list.contains("there are `topic-10`, ") && list.ends_with("`topic-19` and 40 more"), "{list}");
    }

    #[test]
    fn an_error_of_an_input_names_the_file_and_the_line() {
        let of = |error: SourceError| error.of("a.jsonl").to_string();
        assert_eq!(of(SourceError::input(0, "gone".to_owned())), "cannot read a.jsonl: gone");
        assert_eq!(of(SourceError::line(3, "odd".to_owned())), "a.jsonl, line 3: odd");
        let one = of(SourceError::line(2, "odd".to_owned()).after(1));
        assert_eq!(one, "a.jsonl, line 2: odd; the broker has acknowledged 1 record before that");
        let not_taken = of(SourceError::not_taken(4, "too large".to_owned()));
        assert_eq!(not_taken, "a.jsonl, line 4: the broker did not take the record: too large");
    }
}
