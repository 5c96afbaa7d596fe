#!/usr/bin/env bash
# The command line tools of Apache Kafka (the Java clients); KAFKA_LIBS is the folder of their jars.
set -euo pipefail
bootstrap=$1 topic=java-$$ folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat >"$folder/log4j2.properties" <<'END'
rootLogger.level = error
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c: %m%n
END
tool() {
    java -Xmx256m "-Dlog4j2.configurationFile=$folder/log4j2.properties" -cp "$KAFKA_LIBS/*" "$@"
}
topics() {
    tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" "$@"
}
consume() {
    tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$bootstrap" --topic "$topic" \
        --group "$topic-group" --timeout-ms 5000 \
        --command-property auto.offset.reset=earliest 2>/dev/null
}

topics --create --topic "$topic" --partitions 3 --replication-factor 1 >/dev/null
topics --list | grep -qx "$topic"
topics --describe --topic "$topic" | grep -q 'TopicId: .*PartitionCount: 3'

seq 1 20000 | sed 's/^/value-/' >"$folder/sent"
tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$bootstrap" --topic "$topic" \
    --compression-codec zstd <"$folder/sent" >/dev/null
diff <(sort "$folder/sent") <(consume | sort)
seq 1 100 | sed 's/^/more-/' >"$folder/more"
tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$bootstrap" --topic "$topic" \
    <"$folder/more" >/dev/null
diff <(sort "$folder/more") <(consume | sort)

ends=$(tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$bootstrap" --topic "$topic" |
    awk -F: '{ sum += $3 } END { print sum }')
[[ $ends == 20100 ]] || { echo "the ends add up to $ends" >&2; exit 1; }
tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$bootstrap" \
    --describe --group "$topic-group" 2>/dev/null |
    awk -v topic="$topic" '$2 == topic { rows++; lag += $6 } END { exit !(rows == 3 && lag == 0) }'
tool org.apache.kafka.tools.ProducerPerformance --bootstrap-server "$bootstrap" --topic "$topic" --num-records 100000 \
    --record-size 250 --throughput -1 >"$folder/in"
tool org.apache.kafka.tools.ConsumerPerformance --bootstrap-server "$bootstrap" --topic "$topic" \
    --num-records 120100 >"$folder/out" 2>/dev/null
grep -q ', 120100, ' "$folder/out" || { cat "$folder/out" >&2; exit 1; }
topics --delete --topic "$topic"
echo "120100 records, all there"
