#!/usr/bin/env bash
# Fetches the clients that tests/foreign.rs runs against the broker, into the user's cache; each is optional.
#   kcat comes from the system's packages (kcat, once kafkacat).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/thermocline/foreign
mkdir -p "$cache/js"

python3 -m venv "$cache/py" && "$cache/py/bin/pip" -q install confluent-kafka
(cd "$cache/js" && npm install --silent --no-fund --no-audit kafkajs)
"$here/../../../tests/kafka.sh" jars >/dev/null
command -v kcat >/dev/null || echo "kcat is missing; install the package kcat" >&2
echo "$cache"
