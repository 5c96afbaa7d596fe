#!/usr/bin/env bash
# Apache Kafka on this machine, without a container: one node, KRaft.
#
#   tests/kafka.sh jars     fetch the jars once, print their folder
#   tests/kafka.sh start    start the broker, print its bootstrap address
#   tests/kafka.sh stop     stop the broker that `start` started
#
# KAFKA_DIR    data, logs and pid of the broker; default: a folder of the user's cache. `stop` needs the same one.
# KAFKA_PORT   the port to listen on; 0 or unset takes a free one.
# KAFKA_HEAP   the heap of the JVM; default 512m.
#
# Only the result goes to the standard output, everything else to the standard error.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/thermocline/kafka
libs=$cache/libs
dir=${KAFKA_DIR:-$cache/run}

fail() {
    echo "tests/kafka.sh: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || fail "$1 is missing; $2"
}

jars() {
    need java "install a Java runtime, version 17 or later (for example openjdk-17-jre-headless)"
    # The mark carries the pom, so that another version of Kafka is fetched anew.
    if ! cmp -s "$here/kafka/pom.xml" "$libs/pom.xml"; then
        need mvn "install Maven (for example the package maven), it fetches the jars from Maven Central"
        echo "fetching the jars of Apache Kafka to $libs" >&2
        rm -rf "$libs" && mkdir -p "$libs"
        mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$libs" -DincludeScope=runtime >&2 || fail "Maven could not fetch the jars, see above"
        cp "$here/kafka/pom.xml" "$libs/pom.xml"
    fi
}

running() {
    [[ -f $dir/pid ]] && kill -0 "$(cat "$dir/pid")" 2>/dev/null
}

free_port() {
    # Ports are only looked at here; between this and the start somebody else may take one.
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    fail "no free port found"
}

kafka() {
    java "-Xmx${KAFKA_HEAP:-512m}" "-Dlog4j2.configurationFile=$dir/log4j2.properties" -cp "$libs/*" "$@"
}

start() {
    jars
    if running; then
        cat "$dir/bootstrap"
        return
    fi
    mkdir -p "$dir"
    local port=${KAFKA_PORT:-0} controller
    [[ $port != 0 ]] || port=$(free_port)
    controller=$(free_port)
    cat >"$dir/log4j2.properties" <<'END'
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c: %m%n
END
    cat >"$dir/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data
num.partitions=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
END
    if [[ ! -f $dir/data/meta.properties ]]; then
        local id
        id=$(kafka kafka.tools.StorageTool random-uuid 2>/dev/null | tail -1)
        kafka kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
            fail "the data directory could not be formatted, see $dir/format.log"
    fi
    rm -f "$dir/bootstrap"
    # setsid: an interrupt of the caller's terminal must not reach the broker.
    setsid java "-Xmx${KAFKA_HEAP:-512m}" "-Dlog4j2.configurationFile=$dir/log4j2.properties" \
        -cp "$libs/*" kafka.Kafka "$dir/server.properties" >"$dir/broker.log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    for _ in $(seq 600); do
        running || fail "the broker ended while starting, see $dir/broker.log"
        if answers "$port"; then
            echo "127.0.0.1:$port" | tee "$dir/bootstrap"
            return
        fi
        sleep 0.1
    done
    fail "the broker does not answer after 60 s, see $dir/broker.log"
}

# Whether a broker answers ApiVersions, version 0, at a port.
answers() {
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf '\x00\x00\x00\x0e\x00\x12\x00\x00\x00\x00\x00\x07\x00\x04test' >&3
    local bytes
    bytes=$(timeout 2 head -c 10 <&3 | od -An -tx1 | tr -d ' \n')
    exec 3>&- 3<&-
    # Length, correlation id 7, error 0.
    [[ $bytes == ????????000000070000 ]]
} 2>/dev/null

stop() {
    running || { echo "tests/kafka.sh: no broker runs in $dir" >&2; return; }
    local pid
    pid=$(cat "$dir/pid")
    kill "$pid"
    for _ in $(seq 300); do
        running || { rm -f "$dir/pid" "$dir/bootstrap"; return; }
        sleep 0.1
    done
    echo "tests/kafka.sh: the broker takes too long to stop, it is killed" >&2
    kill -9 "$pid"
    rm -f "$dir/pid" "$dir/bootstrap"
}

case ${1:-} in
    jars) jars && echo "$libs" ;;
    start) start ;;
    stop) stop ;;
    *) fail "usage: tests/kafka.sh jars|start|stop" ;;
esac
