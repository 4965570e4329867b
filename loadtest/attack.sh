#!/usr/bin/env bash
# Runs every attack of fanfare-load on the relay while honest players watch, and reports whether they notice.
#
#   ./attack.sh [--players N] [--seconds N] [ROW...]
#
# For each row: the share of frames that 50 honest players got in time; their latency, beside that of the seconds before
# the attack in the same run; how long newcomers waited over RTMP and over HTTP; the relay's memory and descriptors
# before, at the peak, and afterwards. Writes results/attacks.md, which lists the failures.
# The relay runs on CPU 0, everything else on CPU 1. Exit code: 0 if all rows pass, 1 if not.
set -euo pipefail
directory=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
if [[ ${1-} == -h || ${1-} == --help ]]; then sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0; fi
cargo build --quiet --release --workspace --manifest-path "$directory/../Cargo.toml"
exec python3 "$directory/attack.py" "$@"
