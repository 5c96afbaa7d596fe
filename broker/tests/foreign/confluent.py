"""confluent-kafka for Python (librdkafka): every compression, admin calls, groups, rebalances, what is refused."""

import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicCollection
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec

bootstrap = sys.argv[1]
topic = f"confluent-{time.time_ns()}"
base = {"bootstrap.servers": bootstrap}
admin = AdminClient(base)


def produce(values, **settings):
    failed = []
    producer = Producer({**base, "linger.ms": 20, **settings})
    for value in values:
        while True:
            try:
                on_delivery = lambda error, _: failed.append(error) if error else None
                producer.produce(topic, key=value, value=value, headers={"h": b"v"}, on_delivery=on_delivery)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(30) == 0 and not failed, failed[:3]


def consumer(group, **settings):
    settings = {"auto.offset.reset": "earliest", "enable.auto.commit": False, **settings}
    return Consumer({**base, "group.id": group, **settings})


def read(group, wanted):
    client, found, deadline = consumer(group), [], time.time() + 30
    client.subscribe([topic])
    while len(found) < wanted and time.time() < deadline:
        found += [message for message in client.consume(5000, 0.5) if not message.error()]
    client.commit(asynchronous=False)
    return client, found


def refused(call, name):
    try:
        call()
    except KafkaException as error:
        assert error.args[0].name() == name, error
        return
    raise AssertionError(f"{name} was expected")


# Topics.
admin.create_topics([NewTopic(topic, num_partitions=3, config={"retention.ms": "-1"})])[topic].result()
described = admin.describe_topics(TopicCollection([topic]))[topic].result()
assert len(described.partitions) == 3 and len(str(described.topic_id)) == 22
admin.create_partitions([NewPartitions(topic, 6)])[topic].result()
resource = ConfigResource("TOPIC", topic)
configs = admin.describe_configs([resource])
assert configs[resource].result()["retention.ms"].value == "-1"
assert admin.describe_cluster().result().cluster_id
refused(lambda: admin.create_topics([NewTopic(topic, 1)])[topic].result(), "TOPIC_ALREADY_EXISTS")
compacted = NewTopic("compacted", 1, config={"cleanup.policy": "compact"})
refused(lambda: admin.create_topics([compacted])["compacted"].result(), "INVALID_CONFIG")

# Records in and out, and a group that goes on.
sent = []
for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    values = [f"{codec}-{n}" for n in range(10000)]
    produce(values, **{"enable.idempotence": True, "compression.type": codec})
    sent += values
client, found = read("group", len(sent))
assert sorted(message.value().decode() for message in found) == sorted(sent)
assert found[0].headers() == [("h", b"v")]
client.close()
more = [f"more-{n}" for n in range(100)]
produce(more)
client, found = read("group", len(more))
assert sorted(message.value().decode() for message in found) == sorted(more)
assert "group" in [group.group_id for group in admin.list_consumer_groups().result().valid]
group = admin.describe_consumer_groups(["group"])["group"].result()
assert [len(member.assignment.topic_partitions) for member in group.members] == [6]
client.close()

# Offsets.
committed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("group")])["group"].result()
# A new client: the old one remembers the topic with three partitions.
fresh = AdminClient(base)
latest = fresh.list_offsets({TopicPartition(topic, n): OffsetSpec.latest() for n in range(6)})
ends = {partition.partition: result.result().offset for partition, result in latest.items()}
assert {partition.partition: partition.offset for partition in committed.topic_partitions} == ends
assert sum(ends.values()) == len(sent) + len(more)
gone = consumer("gone", **{"auto.offset.reset": "error"})
gone.assign([TopicPartition(topic, 0, 10**9)])
message = gone.poll(10)
assert message is not None and message.error().name() == "_AUTO_OFFSET_RESET", message
gone.close()

# Three members share the partitions, two after one has left; eager and cooperative.
for strategy in ["range", "cooperative-sticky"]:
    members = [consumer(strategy, **{"partition.assignment.strategy": strategy}) for _ in range(3)]
    for member in members:
        member.subscribe([topic])
    for leaving in [False, True]:
        if leaving:
            members.pop(0).close()
        deadline = time.time() + 30
        while True:
            parts = [len(member.assignment()) for member in members]
            if sum(parts) == 6 and all(parts):
                break
            assert time.time() < deadline, (strategy, parts)
            for member in members:
                member.consume(100, 0.05)
    for member in members:
        member.close()

# What is refused, at once and with a reason.
transactional = Producer({**base, "transactional.id": "x", "log_level": 0})
refused(lambda: transactional.init_transactions(10), "TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
admin.delete_consumer_groups(["group"])["group"].result()
admin.delete_topics([topic])[topic].result()
assert topic not in admin.list_topics().topics
print(f"{len(sent) + len(more)} records, all there")
