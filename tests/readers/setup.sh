#!/bin/sh
# Makes the Python environment of the independent readers, once for each state of requirements.txt, and prints the path of
# its interpreter. THERMOCLINE_READERS chooses another folder than $HOME/.cache/thermocline/venv.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${THERMOCLINE_READERS:-$HOME/.cache/thermocline/venv}
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "the independent readers need python3 (3.10 or newer) with its venv module" >&2
        exit 1
    fi
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
echo "$venv/bin/python"
