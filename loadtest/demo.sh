#!/usr/bin/env bash
# A test of half a minute: starts the relay, an encoder and players, and prints whether all worked.
#
#   ./demo.sh [PLAYERS]
#
# The default is 200 PLAYERS of a synthetic stream with numbered frames: 10 % of them check every frame, 10 % disconnect
# and reconnect, 5 % stall. If FFmpeg is installed, three FFmpeg players watch a stream of FFmpeg meanwhile. Exit code: 0
# if all worked, 1 if not.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

players=${1:-200}
[[ $players != -h && $players != --help ]] || usage 0
are_numbers "$players" || usage

build
start_relay all
say "the relay is at $address, process $relay_pid"
"$load" publish "$address/live/load" --bitrate 1M --seconds 120 2>"$directory/publish.log" &
started+=($!)
if command -v ffmpeg >/dev/null; then
    "$here/publish.sh" "$address/live/test" 2>"$directory/ffmpeg.log" &
    started+=($!)
fi
sleep 2

real=0
if command -v ffmpeg >/dev/null; then
    "$here/players.sh" 3 "$address/live/test" 10 >"$directory/players.out" 2>&1 &
    real=$!
else
    say 'FFmpeg is not installed: only the synthetic stream is tested'
fi
verdict=0
"$load" play "$address/live/load" --players "$players" --ramp 100 --seconds 10 \
    --parse 0.1 --churn 0.1 --stalled 0.05 --stall-for 4 --server-pid "$relay_pid" || verdict=1
if ((real)); then
    wait "$real" || verdict=1
    sed 's/^/FFmpeg       /' "$directory/players.out"
fi
runs "$relay_pid" || { verdict=1; say "the relay ended: $(tail -n 3 "$directory/relay.log")"; }

if ((verdict == 0)); then echo 'Passed.'; else echo 'FAILED.'; fi
exit "$verdict"
