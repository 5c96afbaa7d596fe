#!/usr/bin/env bash
# Runs all tests, sums them up, and starts Apache Kafka beside them where it can be had.
set -uo pipefail
cd "$(dirname "$0")/.."
# Where rustup puts cargo, which a shell opened before does not know yet.
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/thermocline/target}"
output=$(mktemp)
# A broker of this run's own, with nothing of an earlier one in it.
KAFKA_DIR=$(mktemp -d)
export KAFKA_DIR
trap 'tests/kafka.sh stop >/dev/null 2>&1; rm -rf "$output" "$KAFKA_DIR"' EXIT

if bootstrap=$(tests/kafka.sh start); then
  export THERMOCLINE_KAFKA_BOOTSTRAP="$bootstrap"
elif [ "${THERMOCLINE_REQUIRE_KAFKA:-0}" = 1 ]; then
  echo "error: Apache Kafka is required (THERMOCLINE_REQUIRE_KAFKA=1) and could not be started" >&2
  exit 1
else
  echo "Apache Kafka cannot be had here; its tests count as skipped" >&2
fi
# What cannot be had it names itself, and the tests skip or fail by themselves.
broker/tests/foreign/setup.sh >/dev/null
tests/readers/setup.sh >/dev/null || exit 1

# The tests run the binary; Cargo builds it by itself only for tests of its own package.
cargo build --release --workspace --bins || exit 1
cargo test --release --workspace 2>&1 | tee "$output"
status=${PIPESTATUS[0]}
awk -v status="$status" '
  /^test result:/ { for (i = 1; i <= NF; i++) { if ($i == "passed;") passed += $(i-1); if ($i == "failed;") failed += $(i-1); if ($i == "ignored;") skipped += $(i-1) } }
  # The test runner takes a test that says so for passed.
  /^skipped: / { skipped++; if (status == 0) passed-- }
  END { if (status != 0 && failed == 0) failed = 1; printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit (status != 0) }
' "$output"
