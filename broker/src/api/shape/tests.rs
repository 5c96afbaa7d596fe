use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::super::versions;
use super::*;

fn name(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(name("topic"))
}

fn bytes_of(request: &impl Encodable, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    request.encode(&mut bytes, version).expect("encodes");
    bytes.to_vec()
}

/// A request with something in every array, in one version.
fn sample(api: ApiKey, v: i16) -> Vec<u8> {
    let group = || GroupId(name("group"));
    match api {
        ApiKey::Produce => {
            use produce_request::{PartitionProduceData, TopicProduceData};
            let data = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"records")));
            let topic = TopicProduceData::default().with_name(topic()).with_partition_data(vec![data.clone(), data]);
            bytes_of(&ProduceRequest::default().with_topic_data(vec![topic]), v)
        }
        ApiKey::Fetch => {
            use fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
            let asked = FetchTopic::default().with_topic(topic()).with_partitions(vec![FetchPartition::default(); 3]);
            let mut request = FetchRequest::default().with_topics(vec![asked]).with_cluster_id(None);
            if v >= 7 {
                let forgotten = ForgottenTopic::default().with_topic(topic()).with_partitions(vec![1, 2]);
                request = request.with_forgotten_topics_data(vec![forgotten]);
            }
            if v >= 11 {
                request = request.with_rack_id(name("rack"));
            }
            if v >= 12 {
                request = request.with_cluster_id(Some(name("cluster")));
            }
            bytes_of(&request, v)
        }
        ApiKey::ListOffsets => {
            use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
            let partitions = vec![ListOffsetsPartition::default(); 2];
            let topic = ListOffsetsTopic::default().with_name(topic()).with_partitions(partitions);
            bytes_of(&ListOffsetsRequest::default().with_topics(vec![topic]), v)
        }
        ApiKey::Metadata => {
            let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
            let request = MetadataRequest::default().with_topics(Some(vec![asked; 2]));
            bytes_of(&request.with_allow_auto_topic_creation(true), v)
        }
        ApiKey::OffsetCommit => {
            use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
            let partitions = vec![OffsetCommitRequestPartition::default().with_committed_metadata(Some(name("m"))); 2];
            let topic = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(partitions);
            bytes_of(&OffsetCommitRequest::default().with_group_id(group()).with_topics(vec![topic]), v)
        }
        ApiKey::OffsetFetch if v < 8 => {
            use offset_fetch_request::OffsetFetchRequestTopic;
            let asked = OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![1, 2]);
            bytes_of(&OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![asked])), v)
        }
        ApiKey::OffsetFetch => {
            use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
            let asked = OffsetFetchRequestTopics::default().with_name(topic()).with_partition_indexes(vec![1, 2]);
            let one = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![asked]));
            let other = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
            bytes_of(&OffsetFetchRequest::default().with_groups(vec![one, other]), v)
        }
        ApiKey::FindCoordinator if v < 4 => bytes_of(&FindCoordinatorRequest::default().with_key(name("group")), v),
        ApiKey::FindCoordinator => {
            bytes_of(&FindCoordinatorRequest::default().with_coordinator_keys(vec![name("a"), name("b")]), v)
        }
        ApiKey::JoinGroup => {
            use join_group_request::JoinGroupRequestProtocol;
            let protocol = JoinGroupRequestProtocol::default().with_name(name("range")).with_metadata(Bytes::from("m"));
            let instance = (v >= 5).then(|| name("instance"));
            let request = JoinGroupRequest::default().with_group_id(group()).with_group_instance_id(instance);
            bytes_of(&request.with_protocols(vec![protocol; 2]), v)
        }
        ApiKey::LeaveGroup if v < 3 => bytes_of(&LeaveGroupRequest::default().with_member_id(name("m")), v),
        ApiKey::LeaveGroup => {
            let member = leave_group_request::MemberIdentity::default().with_member_id(name("m"));
            bytes_of(&LeaveGroupRequest::default().with_members(vec![member; 2]), v)
        }
        ApiKey::SyncGroup => {
            let assigned = sync_group_request::SyncGroupRequestAssignment::default().with_assignment(Bytes::from("a"));
            bytes_of(&SyncGroupRequest::default().with_assignments(vec![assigned; 2]), v)
        }
        ApiKey::DescribeGroups => bytes_of(&DescribeGroupsRequest::default().with_groups(vec![group(); 2]), v),
        ApiKey::ListGroups => {
            let filter = |from| if v >= from { vec![name("one"), name("two")] } else { Vec::new() };
            bytes_of(&ListGroupsRequest::default().with_states_filter(filter(4)).with_types_filter(filter(5)), v)
        }
        ApiKey::CreateTopics => {
            use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
            let assigned = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
            let config = CreatableTopicConfig::default().with_name(name("n")).with_value(Some(name("v")));
            let topic = CreatableTopic::default().with_name(topic()).with_configs(vec![config]);
            bytes_of(&CreateTopicsRequest::default().with_topics(vec![topic.with_assignments(vec![assigned; 2])]), v)
        }
        ApiKey::DeleteTopics if v < 6 => bytes_of(&DeleteTopicsRequest::default().with_topic_names(vec![topic()]), v),
        ApiKey::DeleteTopics => {
            let topic = delete_topics_request::DeleteTopicState::default().with_name(Some(topic()));
            bytes_of(&DeleteTopicsRequest::default().with_topics(vec![topic; 2]), v)
        }
        ApiKey::OffsetForLeaderEpoch => {
            use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
            let partitions = vec![OffsetForLeaderPartition::default(); 2];
            let topic = OffsetForLeaderTopic::default().with_topic(topic()).with_partitions(partitions);
            bytes_of(&OffsetForLeaderEpochRequest::default().with_topics(vec![topic]), v)
        }
        ApiKey::DescribeConfigs => {
            let keys = Some(vec![name("key")]);
            let resource = describe_configs_request::DescribeConfigsResource::default().with_configuration_keys(keys);
            bytes_of(&DescribeConfigsRequest::default().with_resources(vec![resource; 2]), v)
        }
        ApiKey::CreatePartitions => {
            use create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
            let assigned = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
            let topic = CreatePartitionsTopic::default().with_name(topic()).with_assignments(Some(vec![assigned]));
            bytes_of(&CreatePartitionsRequest::default().with_topics(vec![topic]), v)
        }
        ApiKey::DeleteGroups => bytes_of(&DeleteGroupsRequest::default().with_groups_names(vec![group(); 2]), v),
        _ => Vec::new(),
    }
}

/// Every API and version that the table speaks of.
fn everything() -> impl Iterator<Item = (ApiKey, i16)> {
    let known = ApiKey::iter().filter(|api| parts(*api).is_some());
    known.flat_map(|api| {
        let (oldest, newest) = versions::range(api).expect("the table has only APIs that are supported");
        (oldest..=newest).map(move |version| (api, version))
    })
}

#[test]
fn what_the_codec_writes_fits_and_nothing_shorter_does() {
    for (api, version) in everything() {
        let bytes = sample(api, version);
        assert_eq!(walked(api, version, &bytes), Some(bytes.len()), "{api:?} {version}");
        for cut in 0..bytes.len() {
            assert!(!fits(api, version, &bytes[..cut]), "{api:?} {version} cut at {cut}");
        }
    }
}

/// How many bytes belong to the request.
fn walked(api: ApiKey, version: i16, body: &[u8]) -> Option<usize> {
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk { rest: body, version, flexible, elements_left: MOST_ELEMENTS };
    walk.structure(parts(api)?)?;
    Some(body.len() - walk.rest.len())
}

#[test]
fn librdkafka_may_ask_for_all_topics_in_its_own_way() {
    assert!(fits(ApiKey::Metadata, 12, &[0, 0, 0, 0, 1, 0, 0]));
}

#[test]
fn arrays_that_cannot_be_there_are_refused() {
    // Metadata 1: so many topics, and then nothing.
    assert!(!fits(ApiKey::Metadata, 1, &i32::MAX.to_be_bytes()));
    // Metadata 9, compact.
    assert!(!fits(ApiKey::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]));
    // Many elements that are really there, but too many.
    let mut names = vec![0xff, 0xff, 0xff, 0x07];
    names.resize(20_000_000, 1);
    assert!(!fits(ApiKey::DeleteGroups, 2, &names));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0usize..200, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let all: Vec<_> = everything().collect();
        let (api, version) = all[at % all.len()];
        let _ = fits(api, version, &bytes);
    }

    /// Damage of one byte never makes the codec reserve more than the request could hold.
    #[test]
    fn damaged_requests_are_decoded_or_refused(at in 0usize..200, byte in 0usize..100, value in any::<u8>()) {
        let all: Vec<_> = everything().collect();
        let (api, version) = all[at % all.len()];
        let mut bytes = sample(api, version);
        if !bytes.is_empty() {
            let byte = byte % bytes.len();
            bytes[byte] = value;
        }
        if fits(api, version, &bytes) {
            let _ = RequestKind::decode(api, &mut Bytes::from(bytes), version);
        }
    }
}
