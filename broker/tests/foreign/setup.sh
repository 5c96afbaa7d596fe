#!/usr/bin/env bash
# Fetches the clients that tests/foreign.rs runs against the broker into the user's cache, once for each version
# named below, and prints the folder. Does nothing, and quickly, when all are there.
#
# Each is fetched by itself: what cannot be had is named on the standard error, and the exit status is 1 then.
# kcat, Node.js and Java come from the system's packages: deploy/setup.sh --kafka --foreign.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/thermocline/foreign
confluent_kafka=2.16.1 kafkajs=2.2.4
status=0
mkdir -p "$cache" || exit 1

lacks() {
    echo "broker/tests/foreign/setup.sh: $*" >&2
    status=1
}

need() {
    command -v "$1" >/dev/null || { lacks "$1 is missing; deploy/setup.sh --kafka --foreign installs it"; return 1; }
}

# Each of these leaves `<folder>/version` behind as its last act, so that a fetch that broke off is done again.
fetch_python() {
    rm -rf "$cache/py"
    python3 -m venv "$cache/py" &&
        "$cache/py/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 "confluent-kafka==$confluent_kafka" &&
        echo "$confluent_kafka" >"$cache/py/version"
}

fetch_javascript() {
    rm -rf "$cache/js" && mkdir "$cache/js" && cd "$cache/js" &&
        echo '{"private": true}' >package.json &&
        npm install --silent --no-fund --no-audit --prefer-offline --fetch-retries 1 --fetch-timeout 20000 "kafkajs@$kafkajs" &&
        [ -d node_modules/kafkajs ] &&
        echo "$kafkajs" >"$cache/js/version"
}

is_there() {
    [ "$(cat "$cache/$1/version" 2>/dev/null)" = "$2" ]
}

need kcat
# The interpreter that an environment was made with may be gone.
if need python3 && ! { is_there py "$confluent_kafka" && "$cache/py/bin/python" -c '' 2>/dev/null; }; then
    fetch_python >&2 || lacks "confluent-kafka for Python could not be fetched, see above"
fi
if need node && ! is_there js "$kafkajs" && need npm; then
    (fetch_javascript) >&2 || lacks "kafkajs could not be fetched, see above"
fi
"$here/../../../tests/kafka.sh" jars >/dev/null || lacks "the Java tools of Apache Kafka could not be fetched, see above"
echo "$cache"
exit "$status"
