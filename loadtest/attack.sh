#!/usr/bin/env bash
# Attacks the relay in every way that fanfare-load knows, while 500 honest players watch: do they notice?
#
#   ./attack.sh [--players N] [--seconds N] [KIND...]
#
# For each kind of attack: frames that the honest players lost, their latency beside that of a quiet time, and the
# relay's memory and descriptors before, at the end, and once it is over. Writes results/attacks.md.
# The relay runs on CPU 0, all else on CPU 1. Exit code: 0 if nobody honest lost a frame and all came back, 1 if not.
set -euo pipefail
directory=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
if [[ ${1-} == -h || ${1-} == --help ]]; then sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0; fi
cargo build --quiet --release --workspace --manifest-path "$directory/../Cargo.toml"
exec python3 "$directory/attack.py" "$@"
