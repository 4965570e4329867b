#!/usr/bin/env bash
# Attacks the relay in every way that fanfare-load knows, while honest players watch: do they notice?
#
#   ./attack.sh [--players N] [--seconds N] [ROW...]
#
# For each row: what the 50 honest players got of what was sent, in time; their latency beside that of the quiet seconds
# before, in the same run; how long newcomers waited over RTMP and over HTTP; the relay's memory and descriptors before,
# at most, and once it is over. Writes results/attacks.md, where what does not hold is named.
# The relay runs on CPU 0, all else on CPU 1. Exit code: 0 if all rows hold, 1 if not.
set -euo pipefail
directory=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
if [[ ${1-} == -h || ${1-} == --help ]]; then sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0; fi
cargo build --quiet --release --workspace --manifest-path "$directory/../Cargo.toml"
exec python3 "$directory/attack.py" "$@"
