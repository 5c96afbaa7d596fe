//! What no well-behaved client sends, byte by byte: old formats, damage, repetition, nonsense.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_request::ApiVersionsRequest;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsResponse, CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ProduceRequest, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use tempfile::TempDir;
use thermocline_broker::{Broker, BrokerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Connection(TcpStream);

impl Connection {
    async fn open(broker: &Broker) -> Connection {
        Connection(TcpStream::connect(broker.address()).await.expect("connected"))
    }

    /// Sends a frame; `None` when the broker closes the connection instead of an answer.
    async fn exchange(&mut self, frame: &[u8]) -> Option<Bytes> {
        self.0.write_i32(frame.len() as i32).await.ok()?;
        self.0.write_all(frame).await.ok()?;
        let length = self.0.read_i32().await.ok()?;
        let mut answer = vec![0; length as usize];
        self.0.read_exact(&mut answer).await.ok()?;
        Some(Bytes::from(answer))
    }

    async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let mut frame = BytesMut::new();
        let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
        header.with_correlation_id(7).encode(&mut frame, R::header_version(version)).expect("encodes");
        request.encode(&mut frame, version).expect("encodes");
        let mut answer = self.exchange(&frame).await.expect("answered");
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).expect("header");
        assert_eq!(header.correlation_id, 7);
        R::Response::decode(&mut answer, version).expect("decodes")
    }

    async fn create(&mut self, topic: &'static str) {
        let topic = CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(1);
        let answer = self.call(&CreateTopicsRequest::default().with_topics(vec![topic]), 7).await;
        assert_eq!(answer.topics[0].error_code, 0);
    }

    /// Error code and base offset for one batch.
    async fn produce(&mut self, topic: &'static str, batch: Bytes) -> (i16, i64) {
        let data = PartitionProduceData::default().with_records(Some(batch));
        let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![topic]);
        let answer = self.call(&request, 9).await;
        let partition = &answer.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }
}

fn name(topic: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(topic))
}

/// A message set of Kafka before 0.11; its checksum is not looked at.
fn old_message(magic: u8) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u32(0);
    message.put_slice(&[magic, 0]);
    message.put_bytes(0, if magic == 1 { 8 } else { 0 });
    message.put_i32(-1);
    message.put_i32(5);
    message.put_slice(b"value");
    let mut set = BytesMut::new();
    set.put_i64(0);
    set.put_i32(message.len() as i32);
    set.put_slice(&message);
    set.freeze()
}

/// A batch as today's producers send it.
fn batch(producer: (i64, i16, i32), records: i64) -> Bytes {
    let record = |at: i64| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.0,
        producer_epoch: producer.1,
        timestamp_type: TimestampType::Creation,
        offset: at,
        sequence: producer.2 + at as i32,
        timestamp: 1_000 + at,
        key: None,
        value: Some(Bytes::from_static(b"value")),
        headers: Default::default(),
    };
    let records: Vec<Record> = (0..records).map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("encodes");
    bytes.freeze()
}

async fn start(folder: &TempDir) -> Broker {
    let config = BrokerConfig { data_dir: folder.path().to_path_buf(), ..BrokerConfig::default() };
    Broker::start(config).await.expect("broker starts")
}

#[tokio::test]
async fn batches_that_cannot_be_stored_are_refused_with_the_right_code() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    let mut connection = Connection::open(&broker).await;
    connection.create("t").await;
    let none = (-1, -1, -1);
    let good = batch(none, 3);
    assert_eq!(connection.produce("t", good.clone()).await, (0, 0));
    for old in [0, 1] {
        let refused = connection.produce("t", old_message(old)).await;
        assert_eq!(refused, (ResponseError::UnsupportedForMessageFormat.code(), -1));
    }
    let mut damaged = good.to_vec();
    damaged[good.len() - 2] ^= 1;
    let corrupt = (ResponseError::CorruptMessage.code(), -1);
    assert_eq!(connection.produce("t", Bytes::from(damaged)).await, corrupt);
    assert_eq!(connection.produce("t", good.slice(..good.len() - 1)).await, corrupt);
    assert_eq!(connection.produce("t", Bytes::new()).await, corrupt);
    let twice = Bytes::from([good.as_ref(), good.as_ref()].concat());
    assert_eq!(connection.produce("t", twice).await, (ResponseError::InvalidRecord.code(), -1));
    let unknown = (ResponseError::UnknownTopicOrPartition.code(), -1);
    assert_eq!(connection.produce("absent", good.clone()).await, unknown);
    assert_eq!(connection.produce("t", good).await, (0, 3));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_repeated_batch_is_stored_once_even_over_a_restart() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    let mut connection = Connection::open(&broker).await;
    connection.create("t").await;
    let id = connection.call(&InitProducerIdRequest::default().with_transactional_id(None), 4).await.producer_id.0;
    assert_eq!(connection.produce("t", batch((id, 0, 0), 5)).await, (0, 0));
    assert_eq!(connection.produce("t", batch((id, 0, 5), 5)).await, (0, 5));
    assert_eq!(connection.produce("t", batch((id, 0, 0), 5)).await, (0, 0));
    let gap = (ResponseError::OutOfOrderSequenceNumber.code(), -1);
    assert_eq!(connection.produce("t", batch((id, 0, 11), 1)).await, gap);
    broker.shutdown().await;
    let broker = start(&folder).await;
    let mut connection = Connection::open(&broker).await;
    assert_eq!(connection.produce("t", batch((id, 0, 5), 5)).await, (0, 5));
    assert_eq!(connection.produce("t", batch((id, 0, 10), 1)).await, (0, 10));
    assert_eq!(connection.produce("t", batch((id, 1, 0), 1)).await, (0, 11));
    let stale = (ResponseError::InvalidProducerEpoch.code(), -1);
    assert_eq!(connection.produce("t", batch((id, 0, 11), 1)).await, stale);
    let fresh = connection.call(&InitProducerIdRequest::default().with_transactional_id(None), 4).await;
    assert!(fresh.producer_id.0 > id);
    broker.shutdown().await;
}

#[tokio::test]
async fn batches_come_back_as_they_were_sent_but_for_offset_and_epoch() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    let mut connection = Connection::open(&broker).await;
    connection.create("t").await;
    let sent = batch((-1, -1, -1), 4);
    connection.produce("t", sent.clone()).await;
    connection.produce("t", sent.clone()).await;
    let partition = FetchPartition::default().with_fetch_offset(5).with_partition_max_bytes(1);
    let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_wait_ms(0).with_max_bytes(1).with_topics(vec![topic]);
    let answer = connection.call(&request, 12).await;
    let found = &answer.responses[0].partitions[0];
    assert_eq!((found.high_watermark, found.last_stable_offset, found.log_start_offset), (8, 8, 0));
    let mut records = found.records.clone().expect("records");
    assert_eq!((records.get_i64(), records.get_i32()), (4, sent.len() as i32 - 12));
    assert_eq!((records.get_i32(), records.as_ref()), (0, &sent[16..]));
    broker.shutdown().await;
}

#[tokio::test]
async fn unknown_requests_and_nonsense_close_only_their_connection() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    // A version of ApiVersions from the future is answered in the form of the past.
    let mut connection = Connection::open(&broker).await;
    let mut frame = BytesMut::new();
    frame.put_slice(&[0, 18, 0, 99, 0, 0, 0, 7, 0, 0]);
    let mut answer = connection.exchange(&frame).await.expect("answered");
    assert_eq!(answer.get_i32(), 7);
    let known = ApiVersionsResponse::decode(&mut answer, 0).expect("version 0");
    assert_eq!((known.error_code, known.api_keys.len()), (ResponseError::UnsupportedVersion.code(), 22));
    // AddPartitionsToTxn, an API that nobody has, an old Produce, half a header, an array that cannot be there.
    let nonsense: [&[u8]; 6] = [
        &[0, 24, 0, 0, 0, 0, 0, 7, 0, 0],
        &[99, 99, 0, 0, 0, 0, 0, 7, 0, 0],
        &[0, 0, 0, 2, 0, 0, 0, 7, 0, 0],
        &[0, 18, 0],
        &[],
        &[0, 3, 0, 1, 0, 0, 0, 7, 0, 0, 0x7f, 0xff, 0xff, 0xff],
    ];
    for frame in nonsense {
        assert_eq!(Connection::open(&broker).await.exchange(frame).await, None, "{frame:?}");
    }
    let mut web = TcpStream::connect(broker.address()).await.expect("connected");
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    assert_eq!(web.read(&mut [0; 16]).await.unwrap_or(0), 0, "closed without an answer");
    let answer = Connection::open(&broker).await.call(&ApiVersionsRequest::default(), 3).await;
    assert_eq!(answer.error_code, 0, "and the broker goes on");
    broker.shutdown().await;
}
