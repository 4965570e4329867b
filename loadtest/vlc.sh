#!/usr/bin/env bash
# Watches a stream with N VLC players, without a window.
#
#   ./vlc.sh N [URL] [SECONDS]
#
# URL defaults to rtmp://127.0.0.1/live/stream, SECONDS to 10. VLC refuses to run as root: then the players run as "nobody".
# Each decodes what it receives, so one machine can run only a few. Exit code: 0 if each player ran for the whole time, 1
# if not; VLC exits when it cannot open a stream, and when the stream ends.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

count=${1-} url=${2:-rtmp://127.0.0.1/live/stream} seconds=${3:-10}
[[ $count != -h && $count != --help ]] || usage 0
are_numbers "$count" "$seconds" || usage
need cvlc

as_user=()
if ((EUID == 0)); then
    need setpriv
    as_user=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
    chmod 755 "$directory"
fi
for ((i = 0; i < count; i++)); do
    mkdir "$directory/$i"
    ((EUID != 0)) || chown nobody "$directory/$i"
    HOME=$directory/$i XDG_RUNTIME_DIR=$directory/$i "${as_user[@]}" vlc --intf dummy --quiet --no-dbus \
        --vout dummy --aout dummy --network-caching 300 "$url" vlc://quit >"$directory/$i.log" 2>&1 &
    started+=($!)
done
sleep "$seconds"

good=0
for ((i = 0; i < count; i++)); do
    if runs "${started[i]}"; then
        good=$((good + 1))
    else
        say "player $i ended: $(tail -n 1 "$directory/$i.log")"
    fi
done
echo "$good of $count VLC players watched for $seconds s"
((good == count))
