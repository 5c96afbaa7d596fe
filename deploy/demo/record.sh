#!/usr/bin/env bash
# Records the demo's `logs` and `workflow` topics from real programs: a web server, a file server, a broker, a package
# manager, installers, and builds. Everything runs on the loopback interface, in a temporary folder, in a few minutes.
#
#     deploy/demo/record.sh [edge|files|broker|packages|installs|workflow]...      (default: all)
#
# Needs python3 and curl; what is not there is left out by name: nginx, java with the jars of Apache Kafka in
# $KAFKA_LIBS (tests/kafka.sh puts them into the user's cache), dpkg, npm, cargo, cc and make.
set -euo pipefail

demo=$(cd "$(dirname "$0")" && pwd)
record=$demo/record
KAFKA_LIBS=${KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/thermocline/kafka/libs}
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C TZ=UTC PYTHONDONTWRITEBYTECODE=1

work=$(mktemp -d)
chmod 755 "$work" # nginx started by root serves as nobody
cleanup() {
    jobs -p | xargs -r kill 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# What must not be seen in the recordings, and what stands there instead: a pair a line, with a tab between.
host=$(uname -n)
RECORD_SCRUB=$(printf '%s\t%s\n' \
    "$work" /srv/demo "$demo" /srv/demo/source "$HOME" /home/app \
    "host.name=$host" host.name=host-1 "$host/127.0" host-1/127.0 "user.name=$(id -un)" user.name=app "$(uname -r)" 6.1.0)
export RECORD_SCRUB

have() {
    command -v "$1" >/dev/null 2>&1 && return
    echo "  left out: $1 is not installed" >&2
    return 1
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

wait_for_port() {
    for _ in $(seq 300); do
        (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    echo "nothing listens on port $1" >&2
    return 1
}

stop() {
    kill -s "$1" "$2"
    wait "$2" 2>/dev/null || true
}

publish() { python3 "$record/publish.py" "$@"; }

site() {
    mkdir -p "$1/img"
    cp "$demo"/../../*.md "$1/" 2>/dev/null || true
    cp "$demo"/*.md "$demo"/*.json "$demo"/*.py "$1/"
    for name in index about contact prices; do echo "<html><title>$name</title></html>" >"$1/$name.html"; done
    head -c 20000 /dev/urandom >"$1/img/logo.png"
}

# nginx: an access log as JSON, one in the combined form, and its error log.
record_edge() {
    have nginx && have curl || return 0
    local json_port combined_port api_port pid
    json_port=$(free_port) combined_port=$(free_port) api_port=$(free_port)
    mkdir -p "$work/edge/tmp"
    site "$work/site"
    cat >"$work/edge/nginx.conf" <<CONF
daemon off; worker_processes 2; pid $work/edge/nginx.pid; error_log $work/edge/error.log info;
events { worker_connections 256; }
http {
  client_body_temp_path $work/edge/tmp/a; proxy_temp_path $work/edge/tmp/b; fastcgi_temp_path $work/edge/tmp/c;
  uwsgi_temp_path $work/edge/tmp/d; scgi_temp_path $work/edge/tmp/e;
  log_format json escape=json '{"time":"\$time_iso8601","request_id":"\$request_id","remote_addr":"\$remote_addr",'
    '"host":"\$host","method":"\$request_method","uri":"\$request_uri","protocol":"\$server_protocol","status":\$status,'
    '"body_bytes_sent":\$body_bytes_sent,"request_time":\$request_time,"referer":"\$http_referer","user_agent":"\$http_user_agent",'
    '"server":"nginx/\$nginx_version"}';
  limit_req_zone \$binary_remote_addr zone=one:1m rate=40r/s;
  server { listen 127.0.0.1:$json_port; root $work/site; access_log $work/edge/access.json json;
    location /prices.html { limit_req zone=one; } location /admin/ { deny all; } }
  server { listen 127.0.0.1:$combined_port; root $work/site; access_log $work/edge/access.log combined; autoindex on;
    location /api/ { proxy_pass http://127.0.0.1:$api_port; } location /admin/ { return 301 /; } }
}
CONF
    nginx -p "$work/edge" -c "$work/edge/nginx.conf" -e "$work/edge/error.log" 2>/dev/null &
    pid=$!
    wait_for_port "$json_port"
    local files=(index.html about.html prices.html contact.html README.md topics.json img/logo.png img/none.png "?utm_source=mail")
    python3 "$record/requests.py" "http://127.0.0.1:$json_port" 2500 1 "${files[@]}" &
    local visitors=$!
    python3 "$record/requests.py" "http://127.0.0.1:$combined_port" 2000 2 "${files[@]}" img/ api/health
    wait "$visitors"
    kill -HUP "$pid"
    sleep 0.3
    stop QUIT "$pid"
    publish edge.access logs "nginx, access log as JSON" remote_addr time 2500 <"$work/edge/access.json"
    publish edge.requests logs "nginx, access log in combined form" - - 2000 <"$work/edge/access.log"
    publish edge.errors logs "nginx, error log" - - 1000 <"$work/edge/error.log"
}

# Python's own file server writes a line a request to its standard error.
record_files() {
    have curl || return 0
    local port pid
    port=$(free_port)
    site "$work/site"
    (cd "$work/site" && exec python3 -m http.server --bind 127.0.0.1 "$port" >/dev/null 2>"$work/files.log") &
    pid=$!
    wait_for_port "$port"
    python3 "$record/requests.py" "http://127.0.0.1:$port" 700 3 index.html about.html build.py check.py img/ img/logo.png
    stop TERM "$pid"
    publish files.server logs "python3 -m http.server" - - 1000 <"$work/files.log"
}

# Apache Kafka: its server log, once as JSON lines, once as it usually looks, over starts, topics and a kill.
record_broker() {
    have java || return 0
    if ! ls "$KAFKA_LIBS"/kafka_*.jar >/dev/null 2>&1; then
        echo "  left out: no jars of Apache Kafka in KAFKA_LIBS" >&2
        return 0
    fi
    local port controller pid folder=$work/broker run
    port=$(free_port) controller=$(free_port)
    mkdir -p "$folder"
    cat >"$folder/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$folder/data
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.bytes=1048576
log.retention.check.interval.ms=1000
file.delete.delay.ms=500
CONF
    logging() {
        cat >"$folder/log4j2.properties" <<CONF
appender.file.type=File
appender.file.name=file
appender.file.fileName=$folder/$1
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=$2
rootLogger.level=INFO
rootLogger.appenderRef.file.ref=file
CONF
    }
    tool() { java -Xmx128m -Dlog4j2.level=OFF -cp "$KAFKA_LIBS/*" "$@" >/dev/null 2>&1; }
    broker() {
        java -Xmx384m -Dlog4j2.configurationFile="$folder/log4j2.properties" -cp "$KAFKA_LIBS/*" kafka.Kafka "$folder/server.properties" \
            >/dev/null 2>&1 &
        pid=$!
        wait_for_port "$port"
    }
    use() {
        local at=127.0.0.1:$port topic
        for topic in orders payments clicks; do
            tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$at" --create --topic "$1.$topic" --partitions 6
            tool org.apache.kafka.tools.ProducerPerformance --topic "$1.$topic" --num-records 20000 --record-size 200 --throughput -1 \
                --bootstrap-server "$at"
            tool org.apache.kafka.tools.ConsumerPerformance --bootstrap-server "$at" --topic "$1.$topic" --num-records 20000 --group "$1.readers" --timeout 5000
        done
        tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$at" --delete --topic "$1.clicks"
        sleep 2
    }
    tool kafka.tools.StorageTool format -t "$(java -cp "$KAFKA_LIBS/*" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -1)" -c "$folder/server.properties"
    logging server.json '{"ts":"%d{yyyy-MM-dd}T%d{HH:mm:ss.SSS}Z","level":"%p","thread":"%enc{%t}{JSON}","logger":"%c","message":"%enc{%m}{JSON}","exception":"%enc{%ex}{JSON}"}%n'
    for run in first second; do
        broker
        use "$run"
        stop KILL "$pid"
    done
    broker
    stop TERM "$pid"
    logging server.log '[%d] %p %m (%c)%n'
    for run in third fourth; do
        broker
        use "$run"
        stop TERM "$pid"
    done
    publish broker.server logs "Apache Kafka, server log as JSON" logger ts 2000 <"$folder/server.json"
    publish broker.console logs "Apache Kafka, server log" - - 1500 <"$folder/server.log"
}

# dpkg installs, upgrades and removes packages made here, in a folder of its own.
record_packages() {
    have dpkg && have dpkg-deb || return 0
    local root=$work/root debs=$work/debs package version
    mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$debs"
    touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
    for package in tally tally-common tally-dev tally-doc tally-web; do
        for version in 1.0.0-1 1.0.1-1 1.1.0-1; do
            mkdir -p "$work/deb/DEBIAN" "$work/deb/usr/share/$package"
            date >"$work/deb/usr/share/$package/built"
            printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Sam <sam@example.com>\nDescription: counts words\n' \
                "$package" "$version" >"$work/deb/DEBIAN/control"
            [ "$package" = tally ] && echo "Depends: tally-common" >>"$work/deb/DEBIAN/control"
            dpkg-deb --root-owner-group -Znone -b "$work/deb" "$debs/${package}_$version.deb" >/dev/null
            rm -rf "$work/deb"
        done
    done
    in_root() { dpkg --root="$root" --log="$work/dpkg.log" --force-not-root --force-script-chrootless --force-unsafe-io "$@" >/dev/null 2>&1 || true; }
    for _ in 1 2 3 4; do
        in_root -i "$debs/tally_1.0.0-1.deb"
        for version in 1.0.0-1 1.0.1-1 1.1.0-1; do in_root -i "$debs"/*_"$version".deb; done
        in_root -r tally-common
        in_root -r tally-web tally-doc
        in_root -P tally tally-common tally-dev tally-doc tally-web
    done
    publish packages.changes logs "dpkg" - - 1000 <"$work/dpkg.log"
}

# pip and npm, told to say everything, install packages from folders.
record_installs() {
    local package command
    quiet_pip() {
        PIP_CONFIG_FILE=/dev/null python3 -m pip --isolated -vv --no-input --disable-pip-version-check --log "$work/installs.log" "$@" >/dev/null 2>&1 || true
    }
    python3 "$record/wheels.py" "$work/pip/wheels" alpha beta gamma delta epsilon
    for package in alpha gamma epsilon missing; do
        quiet_pip download --no-index --find-links "$work/pip/wheels" --dest "$work/pip/got" "$package"
        quiet_pip install --no-index --find-links "$work/pip/wheels" --target "$work/pip/$package" "$package"
    done
    mkdir -p "$work/pip/broken"
    echo 'raise RuntimeError("this package cannot be built")' >"$work/pip/broken/setup.py"
    quiet_pip install --no-index --no-build-isolation --target "$work/pip/site" "$work/pip/broken"
    if have npm; then
        python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import sample; sample.write(sys.argv[2])' "$record" "$work/npm"
        for command in install ls pack prune dedupe; do
            (cd "$work/npm/js" && npm_config_userconfig="$work/npm/user" npm_config_globalconfig="$work/npm/global" \
                npm_config_registry=https://packages.example.com npm_config_cache="$work/npm/cache" npm_config_update_notifier=false \
                npm "$command" --offline --no-audit --no-fund --loglevel silly >/dev/null 2>&1) || true
        done
        cat "$work"/npm/cache/_logs/*.log >>"$work/installs.log"
    fi
    publish packages.installs logs "pip and npm, verbose logs" - - 1500 <"$work/installs.log"
}

# Builds of a small project at each of its commits; see record/workflow.py.
record_workflow() {
    have git || return 0
    mkdir -p "$work/builds"
    python3 "$record/workflow.py" "$work/builds"
    publish ci.steps workflow "a build server's steps: make, python, npm, cargo" run_id timestamp 5000 <"$work/builds/ci.steps"
    publish build.tasks workflow "GNU make, the commands it ran" job_id finished_at 5000 <"$work/builds/build.tasks"
}

[ $# -gt 0 ] || set -- edge files broker packages installs workflow
for part in "$@"; do
    case $part in
        edge | files | broker | packages | installs | workflow) ;;
        *) echo "record.sh: no part is called $part; see the head of this file" >&2 && exit 2 ;;
    esac
    echo "$part"
    "record_$part"
done
