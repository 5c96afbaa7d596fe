#!/usr/bin/env bash
# kcat (librdkafka): produce, list, consume, consume with a group and go on.
set -euo pipefail
bootstrap=$1 topic=kcat-$$ folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

seq 1 50000 | sed 's/^/value-/' >"$folder/sent"
kcat -b "$bootstrap" -P -t "$topic" -z gzip -X enable.idempotence=true "$folder/sent" -l
kcat -b "$bootstrap" -L | grep -q "topic \"$topic\" with 4 partitions"
kcat -b "$bootstrap" -C -t "$topic" -o beginning -e -q -X check.crcs=true >"$folder/read"
diff <(sort "$folder/sent") <(sort "$folder/read")

group() {
    kcat -b "$bootstrap" -G "$topic-group" -q -e -X auto.offset.reset=earliest "$topic" 2>/dev/null
}
diff <(sort "$folder/sent") <(group | sort)
seq 1 100 | sed 's/^/more-/' >"$folder/more"
kcat -b "$bootstrap" -P -t "$topic" -l "$folder/more"
diff <(sort "$folder/more") <(group | sort)
kcat -b "$bootstrap" -Q -t "$topic:0:-1" | grep -q "$topic \[0\] offset"
echo "50100 records, all there"
