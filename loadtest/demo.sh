#!/usr/bin/env bash
# Shows in half a minute that it works: starts the relay, an encoder and players, and gives a verdict.
#
#   ./demo.sh [PLAYERS]
#
# 200 PLAYERS unless given, of a synthetic stream whose every frame is numbered: a tenth of them is checked frame by
# frame, a tenth comes and goes, a twentieth stalls. Three FFmpeg players watch what FFmpeg publishes meanwhile, if
# FFmpeg is installed. Exit code: 0 if all is well, 1 if not.
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
    say 'no FFmpeg here: the synthetic stream alone'
fi
verdict=0
"$load" play "$address/live/load" --players "$players" --ramp 100 --seconds 10 \
    --parse 0.1 --churn 0.1 --stalled 0.05 --stall-for 4 --server-pid "$relay_pid" || verdict=1
if ((real)); then
    wait "$real" || verdict=1
    sed 's/^/real         /' "$directory/players.out"
fi
runs "$relay_pid" || { verdict=1; say "the relay ended: $(tail -n 3 "$directory/relay.log")"; }

if ((verdict == 0)); then echo 'It works.'; else echo 'It does NOT work as it should.'; fi
exit "$verdict"
