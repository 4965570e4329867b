#!/usr/bin/env bash
# Connects thousands of players at once while others watch, and checks that none fails and that the others lose nothing.
#
#   ./storm.sh [PLAYERS] [RAMP] [WATCHERS]
#
# 8500 PLAYERS connect, RAMP (2000) of them per second, while 1000 WATCHERS watch the same stream of 600 kbit/s. The relay
# runs on CPU 0, everything else on CPU 1. Exit code: 0 if no player failed or lost a frame, 1 if not.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

players=${1:-8500} ramp=${2:-2000} watchers=${3:-1000}
[[ $players != -h && $players != --help ]] || usage 0
are_numbers "$players" "$ramp" "$watchers" || usage

build
ulimit -n "$(ulimit -Hn)"
start_relay 0
"$load" --cpu 1 publish "$address/live/load" --bitrate 600k --seconds 300 2>"$directory/publish.log" &
started+=($!)
sleep 1
seconds=$((players / ramp + 20))
"$load" --cpu 1 play "$address/live/load" --players "$watchers" --ramp 500 --parse 0.1 --settle 1 --seconds "$seconds" \
    >"$directory/watchers.out" 2>"$directory/watchers.log" &
watching=$!
started+=("$watching")
sleep $((watchers / 500 + 5))

verdict=0
say "$players players connect, $ramp per second"
"$load" --cpu 1 play "$address/live/load" --players "$players" --ramp "$ramp" --seconds 5 --settle 1 || verdict=1
wait "$watching" || verdict=1
say "the $watchers players that watched meanwhile:"
cat "$directory/watchers.out"
exit "$verdict"
