#!/usr/bin/env bash
# Publishes with FFmpeg until it is stopped: a test pattern with a tone, or a file in a loop, in real time.
#
#   ./publish.sh [URL] [FILE]
#
# URL defaults to rtmp://127.0.0.1/live/stream. FILE must be H.264 and AAC: it is not re-encoded.
set -euo pipefail
[[ ${1-} != -h && ${1-} != --help ]] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0; }

url=${1:-rtmp://127.0.0.1/live/stream}
file=${2-}

if [[ -n $file ]]; then
    exec ffmpeg -nostdin -hide_banner -v warning -re -stream_loop -1 -i "$file" -c copy -f flv "$url"
fi
exec ffmpeg -nostdin -hide_banner -v warning -re \
    -f lavfi -i 'testsrc2=size=1280x720:rate=30' -f lavfi -i 'sine=frequency=440:sample_rate=44100' \
    -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 60 -b:v 1500k -maxrate 1500k -bufsize 1500k \
    -c:a aac -b:a 96k -f flv "$url"
