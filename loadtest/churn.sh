#!/usr/bin/env bash
# A day of connections in minutes: streams under new names, players that join, leave and reconnect, and in every third
# round all of them are killed. Reports what the relay still holds when no client is left.
#
#   ./churn.sh MINUTES [STREAMS] [PLAYERS]
#
# The defaults are 100 STREAMS of 300 kbit/s and 300 PLAYERS at a time; players stay for half a second. The relay's memory
# and descriptors are printed every minute, after all clients have left. Exit code: 0 if at the end all descriptors are
# closed, memory is at most 25 % + 8 MB above that at half time, and the relay logs that it holds no stream and no log
# bytes; 1 if not. The memory that the C library caches grows a little meanwhile; a leak grows more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

minutes=${1-} streams=${2:-100} players=${3:-300}
[[ $minutes != -h && $minutes != --help ]] || usage 0
are_numbers "$minutes" "$streams" "$players" || usage

# How many lines of the relay's log match.
logged() { grep -c "$1" "$directory/relay.log" || true; }
files() { find "/proc/$relay_pid/fd" -mindepth 1 | wc -l; }

# All clients connect, under new names, and leave.
round() {
    local url=$address/live/churn-$1
    "$load" publish "$url" --streams "$streams" --bitrate 300k --gop 15 --seconds 4 2>"$directory/publish.log" &
    local publisher=$!
    "$load" play "$url" --streams "$streams" --players "$players" --ramp 300 --parse 0.02 --churn 0.98 \
        --churn-stay 0.5 --churn-away 0.1 --settle 0 --seconds 2 >"$directory/play.log" 2>&1 &
    local watching=$!
    started=("$relay_pid" "$publisher" "$watching")
    if (($1 % 3 == 0)); then
        sleep 2.5
        kill -KILL "$publisher" "$watching"
    fi
    # Whether players missed frames is what other scripts test.
    local could_not_run=2 code=0
    wait "$watching" 2>/dev/null || code=$?
    ((code != could_not_run)) || fail "the players: $(tail -n 1 "$directory/play.log")"
    code=0
    wait "$publisher" 2>/dev/null || code=$?
    ((code != could_not_run)) || fail "the encoders: $(tail -n 1 "$directory/publish.log")"
    started=("$relay_pid")
}

# Waits until all descriptors are closed, for at most 10 s.
recover() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        (($(files) > first_files)) || return 0
        sleep 0.1
    done
}

report() {
    echo "$1  $(logged 'publish ended') publishers, $(logged 'play ended') players have left;" \
        "$(resident_kb "$relay_pid") kB, $(files) descriptors"
}

build
FANFARE_LOG=info start_relay all
sleep 1
first_files=$(files)
report 'start'
number=0 settled_kb=0 printed=0
while ((SECONDS < minutes * 60)); do
    number=$((number + 1))
    round "$number"
    recover
    runs "$relay_pid" || { say "the relay ended: $(tail -n 3 "$directory/relay.log")"; exit 1; }
    ((settled_kb != 0 || SECONDS < minutes * 30)) || settled_kb=$(resident_kb "$relay_pid")
    if ((SECONDS / 60 > printed)); then
        printed=$((SECONDS / 60))
        report "$printed min"
    fi
done
report 'end'
last_kb=$(resident_kb "$relay_pid") last_files=$(files)
kill -TERM "$relay_pid"
wait "$relay_pid" || true
started=()
held=$(sed -n 's/.*stopping: no new connections.* \(streams=.*\)/\1/p' "$directory/relay.log")

verdict=0
echo "memory       $settled_kb kB at half time, $last_kb kB at the end"
((last_kb <= settled_kb * 5 / 4 + 8000)) || verdict=1
echo "descriptors  $first_files before, $last_files at the end"
((last_files <= first_files)) || verdict=1
echo "held         $held"
[[ $held == 'streams=0 log_bytes=0' ]] || verdict=1
if ((verdict == 0)); then echo 'Passed.'; else echo 'FAILED.'; fi
exit "$verdict"
