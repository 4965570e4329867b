#!/usr/bin/env bash
# Watches a stream with N FFmpeg players, which demux it and discard the packets.
#
#   ./players.sh N [URL] [SECONDS]
#
# URL defaults to rtmp://127.0.0.1/live/stream, SECONDS to 10. Exit code: 0 if each player ran for the whole time
# and received at least half of it, 1 if not.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

count=${1-} url=${2:-rtmp://127.0.0.1/live/stream} seconds=${3:-10}
[[ $count != -h && $count != --help ]] || usage 0
are_numbers "$count" "$seconds" || usage
need ffmpeg

for ((i = 0; i < count; i++)); do
    ffmpeg -nostdin -v error -progress "$directory/$i" -i "$url" -c copy -f null - 2>"$directory/$i.log" &
    started+=($!)
done
sleep "$seconds"

good=0
for ((i = 0; i < count; i++)); do
    # The progress file has the position in the stream, in microseconds.
    seen=$(awk -F= '$1 == "out_time_us" && $2 > seen { seen = $2 } END { print int(seen / 1000) }' \
        "$directory/$i" 2>/dev/null || echo 0)
    if ! runs "${started[i]}"; then
        say "player $i ended: $(tail -n 1 "$directory/$i.log")"
    elif ((seen < seconds * 500)); then
        say "player $i received $seen ms of $seconds s"
    else
        good=$((good + 1))
    fi
done
echo "$good of $count FFmpeg players watched for $seconds s"
((good == count))
