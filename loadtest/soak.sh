#!/usr/bin/env bash
# Runs the relay for a long time with players that reconnect, stall and read slowly, and watches its memory.
#
#   ./soak.sh MINUTES [PLAYERS]
#
# The default is 500 PLAYERS, on three streams of 1 Mbit/s. The relay's memory is printed every minute. Exit code: 0 if
# no frame was lost and memory at the end is at most 25 % + 16 MB above that after a tenth of the time; 1 if not.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

minutes=${1-} players=${2:-500}
[[ $minutes != -h && $minutes != --help ]] || usage 0
are_numbers "$minutes" "$players" || usage

build
start_relay all
"$load" publish "$address/live/soak" --streams 3 --bitrate 1M --seconds $((minutes * 60 + 120)) \
    2>"$directory/publish.log" &
publisher=$!
started+=("$publisher")
sleep 2
"$load" play "$address/live/soak" --streams 3 --players "$players" --ramp 100 --seconds $((minutes * 60)) \
    --parse 0.05 --churn 0.2 --stalled 0.05 --stall-for 8 --slow 0.05 --server-pid "$relay_pid" \
    >"$directory/play.out" 2>"$directory/play.log" &
watching=$!
started+=("$watching")

seconds=0 settled_kb=0
while runs "$watching"; do
    sleep 1
    seconds=$((seconds + 1))
    runs "$relay_pid" || { say "the relay ended: $(tail -n 3 "$directory/relay.log")"; exit 1; }
    last_kb=$(resident_kb "$relay_pid")
    ((seconds != minutes * 6 + players / 100)) || settled_kb=$last_kb
    ((seconds % 60 != 0)) || echo "$((seconds / 60)) min  $last_kb kB  $(tail -n 1 "$directory/play.log")"
done

verdict=0
wait "$watching" || verdict=1
cat "$directory/play.out"
runs "$publisher" || { verdict=1; say "the encoder ended: $(tail -n 1 "$directory/publish.log")"; }
echo "memory       $settled_kb kB after a tenth of the time, $last_kb kB at the end"
((last_kb <= settled_kb * 5 / 4 + 16000)) || verdict=1
if ((verdict == 0)); then echo 'Passed.'; else echo 'FAILED.'; fi
exit "$verdict"
