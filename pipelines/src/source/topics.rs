//! What the broker says about topics: names, ids, partitions, where a partition begins and ends, and the cluster's id.
//!
//! rdkafka 0.39 knows neither topic ids nor many offsets at once, so four questions go through librdkafka's own interface
//! (DescribeTopics, DescribeCluster, ListOffsets, Metadata). All of them wait for the broker, at most `patience`.

use crate::raw::Topic;
use crate::source::error::SourceError;
use crate::source::kafka::listening;
use crate::source::kafka::native::{Client, describe as in_words, refused, text};
use rdkafka::ClientConfig;
use rdkafka_sys as sys;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, c_char, c_int};
use std::sync::Arc;
use std::time::Duration;
use thermocline_schemas::TopicPartition;
use uuid::Uuid;

/// One topic and where its partitions begin and end.
#[derive(Debug, Clone)]
pub struct TopicInfo {
    /// Cluster, name and id.
    pub topic: Arc<Topic>,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionInfo>,
}

/// Where a partition begins and ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The partition.
    pub partition: i32,
    /// The earliest offset that is left.
    pub earliest: i64,
    /// The offset after the last record that may be read.
    pub end: i64,
}

/// Asks the broker at `bootstrap` about one topic; for `reset-offsets`. Every partition has answered.
///
/// # Errors
/// [`SourceError::NoTopic`], [`SourceError::Property`], [`SourceError::Unreachable`] where nobody listens, or
/// [`SourceError::NoAnswer`] after `patience`.
pub fn look_up(
    bootstrap: &str,
    properties: &BTreeMap<String, String>,
    topic: &str,
    patience: Duration,
) -> Result<TopicInfo, SourceError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    properties.iter().for_each(|(name, value)| {
        config.set(name, value);
    });
    config.create_native_config().map_err(refused)?;
    let client = Client::new(&config)?;
    listening::wait(config.get("bootstrap.servers").unwrap_or(bootstrap), patience)?;
    let cluster_id = cluster_id(&client, patience)?;
    let Some(found) = describe(&client, &[topic], patience)?.pop() else {
        let mut known = names(&client, patience)?;
        // The broker's own.
        known.retain(|name| !name.starts_with("__"));
        known.sort_unstable();
        return Err(SourceError::NoTopic { topic: topic.to_owned(), known });
    };
    let keys: Vec<_> = found.partitions.iter().map(|partition| TopicPartition::new(topic, *partition)).collect();
    let earliest = offsets(&client, &keys, Where::Earliest, patience)?;
    let end = offsets(&client, &keys, Where::End, patience)?;
    let partitions = keys.iter().map(|key| match (earliest.get(key), end.get(key)) {
        (Some(earliest), Some(end)) => Ok(PartitionInfo { partition: key.partition, earliest: *earliest, end: *end }),
        _ => Err(SourceError::NoAnswer { what: "ListOffsets", reason: format!("{key} has no leader") }),
    });
    let partitions = partitions.collect::<Result<Vec<_>, _>>()?;
    let topic = Arc::new(Topic { cluster_id: cluster_id.into(), name: found.name.into(), id: found.id });
    Ok(TopicInfo { topic, partitions })
}

/// A topic as DescribeTopics shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct Described {
    /// Its name.
    pub(in crate::source) name: String,
    /// Its id: another one when it was made anew.
    pub(in crate::source) id: Uuid,
    /// Its partitions, in order.
    pub(in crate::source) partitions: Vec<i32>,
}

/// Which end of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Where {
    /// The first record that is left.
    Earliest,
    /// After the last record that a reader of committed records may see.
    End,
}

/// The names of all topics that the cluster shows us.
///
/// # Errors
/// [`SourceError::NoAnswer`].
pub(in crate::source) fn names(client: &Client, patience: Duration) -> Result<Vec<String>, SourceError> {
    let mut metadata = std::ptr::null();
    // SAFETY: the client is valid; on success librdkafka returns metadata that is ours until destroyed below, whose
    // array holds as many topics as it says, each with a terminated name.
    unsafe {
        let (all, none) = (1, std::ptr::null_mut());
        let code = sys::rd_kafka_metadata(client.ptr(), all, none, &mut metadata, milliseconds(patience));
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(SourceError::NoAnswer { what: "Metadata", reason: in_words(code) });
        }
        let topics = array((*metadata).topics, (*metadata).topic_cnt as usize);
        let names = topics.iter().map(|topic| text(topic.topic)).collect();
        sys::rd_kafka_metadata_destroy(metadata);
        Ok(names)
    }
}

/// Ids and partitions of `names`; topics that are not there are left out.
///
/// # Errors
/// [`SourceError::NoAnswer`], also when the broker refuses one of the topics.
pub(in crate::source) fn describe(
    client: &Client,
    names: &[&str],
    patience: Duration,
) -> Result<Vec<Described>, SourceError> {
    if names.is_empty() {
        return Ok(vec![]);
    }
    let c_names: Vec<_> = names.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let mut pointers: Vec<*const c_char> = c_names.iter().map(|name| name.as_ptr()).collect();
    let what = Question {
        name: "DescribeTopics",
        operation: sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        answer: sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT,
    };
    // SAFETY: the collection copies the names; it is destroyed after it was sent. The answer's parts live as long as
    // its event, which `ask` keeps until `read` is done; `ask` has checked its type.
    unsafe {
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let answer = ask(
            client,
            &what,
            patience,
            |options, queue| sys::rd_kafka_DescribeTopics(client.ptr(), collection, options, queue),
            |event| {
                let mut count = 0;
                let result = sys::rd_kafka_event_DescribeTopics_result(event);
                let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
                let described = array(topics, count).iter().filter_map(|topic| described(*topic).transpose());
                described.collect::<Result<Vec<_>, _>>()
            },
        );
        sys::rd_kafka_TopicCollection_destroy(collection);
        answer?
    }
}

/// # Safety
/// `topic` must belong to an event that is alive.
unsafe fn described(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<Option<Described>, SourceError> {
    use sys::rd_kafka_resp_err_t as code;
    // SAFETY: as the caller says; names are terminated, the array is as long as it says.
    unsafe {
        match sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic)) {
            code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART | code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC => return Ok(None),
            other => return Err(SourceError::NoAnswer { what: "DescribeTopics", reason: in_words(other) }),
        }
        let name = text(sys::rd_kafka_TopicDescription_name(topic));
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let high = sys::rd_kafka_Uuid_most_significant_bits(id) as u64;
        let low = sys::rd_kafka_Uuid_least_significant_bits(id) as u64;
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let mut partitions: Vec<i32> = array(partitions, count)
            .iter()
            .map(|partition| sys::rd_kafka_TopicPartitionInfo_partition(*partition))
            .collect();
        partitions.sort_unstable();
        Ok(Some(Described { name, id: Uuid::from_u64_pair(high, low), partitions }))
    }
}

/// The cluster's id.
///
/// # Errors
/// [`SourceError::NoAnswer`].
pub(in crate::source) fn cluster_id(client: &Client, patience: Duration) -> Result<String, SourceError> {
    let what = Question {
        name: "DescribeCluster",
        operation: sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
        answer: sys::RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT,
    };
    // SAFETY: the text lives as long as the event, which `ask` keeps until `read` is done.
    unsafe {
        ask(
            client,
            &what,
            patience,
            |options, queue| sys::rd_kafka_DescribeCluster(client.ptr(), options, queue),
            |event| {
                let result = sys::rd_kafka_event_DescribeCluster_result(event);
                text(sys::rd_kafka_DescribeCluster_result_cluster_id(result))
            },
        )
    }
}

/// Where `partitions` begin or end. Partitions without an answer (no leader yet, gone) are left out.
///
/// # Errors
/// [`SourceError::NoAnswer`] where there is no answer at all.
pub(in crate::source) fn offsets(
    client: &Client,
    partitions: &[TopicPartition],
    at: Where,
    patience: Duration,
) -> Result<HashMap<TopicPartition, i64>, SourceError> {
    if partitions.is_empty() {
        return Ok(HashMap::new());
    }
    let what = Question {
        name: "ListOffsets",
        operation: sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
        answer: sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT,
    };
    let spec = match at {
        Where::Earliest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
        Where::End => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST,
    };
    // SAFETY: the list copies the names, and is destroyed after it was sent (librdkafka copies it). The answer's parts
    // live as long as the event, which `ask` keeps until `read` is done.
    unsafe {
        let list = sys::rd_kafka_topic_partition_list_new(partitions.len() as c_int);
        for partition in partitions {
            let Ok(topic) = CString::new(&*partition.topic) else { continue };
            let entry = sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition.partition);
            (*entry).offset = spec as i64;
        }
        let answer = ask(
            client,
            &what,
            patience,
            |options, queue| {
                let committed = sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
                let refused = sys::rd_kafka_AdminOptions_set_isolation_level(options, committed);
                if !refused.is_null() {
                    sys::rd_kafka_error_destroy(refused);
                }
                sys::rd_kafka_ListOffsets(client.ptr(), list, options, queue);
            },
            |event| {
                let mut count = 0;
                let result = sys::rd_kafka_event_ListOffsets_result(event);
                let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
                let found = array(infos, count).iter().filter_map(|info| {
                    let place = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
                    let known = place.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && place.offset >= 0;
                    known.then(|| (TopicPartition::new(text(place.topic), place.partition), place.offset))
                });
                found.collect()
            },
        );
        sys::rd_kafka_topic_partition_list_destroy(list);
        answer
    }
}

struct Question {
    name: &'static str,
    operation: sys::rd_kafka_admin_op_t,
    answer: sys::rd_kafka_event_type_t,
}

/// Sends one question and waits for its answer.
///
/// # Safety
/// `send` must send the request that belongs to `what` to the queue it is given; `read` must return nothing that points
/// into the event.
unsafe fn ask<T>(
    client: &Client,
    what: &Question,
    patience: Duration,
    send: impl FnOnce(*mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> T,
) -> Result<T, SourceError> {
    let no_answer = |reason| SourceError::NoAnswer { what: what.name, reason };
    // SAFETY: options and queue live until the answer is there or given up; librdkafka counts its own references. The
    // time limit cannot be refused: it is within the range that librdkafka documents. The event is ours and is given
    // back after `read`; it is null only when the time is over.
    unsafe {
        let options = sys::rd_kafka_AdminOptions_new(client.ptr(), what.operation);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds(patience), std::ptr::null_mut(), 0);
        let queue = sys::rd_kafka_queue_new(client.ptr());
        send(options, queue);
        let event = sys::rd_kafka_queue_poll(queue, milliseconds(patience + Duration::from_secs(1)));
        let answer = if event.is_null() {
            Err(no_answer("it took too long".to_owned()))
        } else if sys::rd_kafka_event_error(event) != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            Err(no_answer(text(sys::rd_kafka_event_error_string(event))))
        } else if sys::rd_kafka_event_type(event) != what.answer {
            Err(no_answer("another answer came".to_owned()))
        } else {
            Ok(read(event))
        };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        answer
    }
}

/// # Safety
/// `first` must point to `count` values that outlive the use of the slice, or `count` be 0.
unsafe fn array<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if count == 0 || first.is_null() {
        return &[];
    }
    // SAFETY: as the caller says.
    unsafe { std::slice::from_raw_parts(first, count) }
}

/// Within what librdkafka takes as a time limit: a millisecond to an hour.
fn milliseconds(patience: Duration) -> c_int {
    patience.as_millis().clamp(1, 3_600_000) as c_int
}
