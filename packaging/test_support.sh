# Shared by the parts of test.sh: checks, clean systems, networks, processes, and a stream that is published and watched.
# Sourced, not run.
# shellcheck shell=bash

passed=0 failed=0
# Vanishes at the end.
work=$(mktemp -d)
# The clean systems, and which Debian they are.
kept=${out:?}/test
debian=bookworm
started=()
networks=()

# ---- checks

# check 'what is true' COMMAND...    shows the command's output if it fails
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        tail -n 30 <<<"$output" | sed 's/^/        /'
    fi
}
not() { ! "$@"; }
# The output of a command has a line that matches; or is this text.
prints() {
    local pattern=$1
    shift
    "$@" >"$work/printed" 2>&1 || true
    grep -Eq -- "$pattern" "$work/printed" || { cat "$work/printed"; return 1; }
}
is() {
    local text=$1 printed
    shift
    printed=$("$@" 2>&1) || true
    [[ $printed == "$text" ]] || { echo "$printed"; return 1; }
}
# Those of these files that exist.
existing() { local it; for it; do [[ ! -e $it && ! -L $it ]] || echo "$it"; done; }
# Tries a command for some seconds until it succeeds.
within() {
    local tries=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        ((tries-- > 0)) || { "$@"; return; }
        sleep 0.1
    done
}

# ---- systems, networks, processes

clean_up() {
    end_all
    # systemd leaves the groups of its services.
    find "/sys/fs/cgroup/fanfare-$$" -depth -type d -exec rmdir {} + 2>/dev/null || true
    rm -rf --one-file-system "$work"
}

end_all() {
    local it
    for it in "${started[@]}"; do signal_tree TERM "$it"; done
    for it in "${started[@]}"; do wait "$it" 2>/dev/null || true; done
    for it in "${networks[@]}"; do ip netns delete "$it" 2>/dev/null || true; done
    started=() networks=()
}
# Ends what was started last.
end() { signal_tree TERM "${started[-1]}"; wait "${started[-1]}" || true; }
# What is between this script and a program in a system ignores signals, or leaves the program alone.
signal_tree() {
    local child
    for child in $(pgrep --parent "$2"); do signal_tree "$1" "$child"; done
    kill -"$1" "$2" 2>/dev/null || true
}

# A network of its own with nothing in it but localhost: ports do not meet those of this machine. Sets network.
new_network() {
    network=fanfare-$$-$1
    ip netns add "$network"
    networks+=("$network")
    ip -n "$network" link set lo up
}
in_network() { ip netns exec "$network" "$@"; }

# A clean Debian from the archive, in a folder: new_system NAME [PACKAGES]. Sets system.
new_system() {
    local archive=$kept/$1.tar
    if [[ ! -e $archive ]]; then
        say "making a clean Debian ($1)"
        mmdebstrap --quiet --format=tar --variant=minbase --include="${2:-adduser}" "$debian" "$archive.unfinished" \
            || fail 'mmdebstrap could not make it'
        mv "$archive.unfinished" "$archive"
    fi
    system=$work/$1-$SECONDS
    mkdir "$system"
    tar --extract --file="$archive" --directory="$system"
}

# Runs a command in the system, in the current network.
in_system() {
    in_network unshare --mount --pid --fork --kill-child --mount-proc=/proc --root="$system" --wd=/ \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}
# Runs in the background what in_network or in_system run; its output goes to the file.
start() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 &
    started+=($!)
}


# Boots systemd as the first process of the system, with its network. Sets leader.
boot() {
    (
        echo "$BASHPID" >"/sys/fs/cgroup/fanfare-$$/cgroup.procs"
        exec ip netns exec "$network" unshare --mount --pid --fork --kill-child --cgroup --uts --ipc \
            bash "$work/init" "$system"
    ) >"$work/boot.log" 2>&1 &
    local outer=$!
    started+=("$outer")
    within 10 test -s "$system/run-started" || fail "systemd did not start: $(cat "$work/boot.log")"
    leader=$(pgrep --parent "$outer" | head -n 1)
    within 60 booted systemctl is-system-running --wait || true
}
cat >"$work/init" <<'INIT'
set -e
cd "$1"
mount --bind . .
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 none sys/fs/cgroup
for folder in run tmp; do mount -t tmpfs tmpfs "$folder"; done
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm old
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
for device in null zero full random urandom tty; do touch "dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
echo yes >run-started
pivot_root . old
umount -l /old
rmdir /old
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
INIT
booted() {
    nsenter --target "$leader" --all env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}

# ---- a stream from outside, watched from outside

# An encoder that is not in the package's system publishes, a player gets 2 s of it over RTMP and over HTTP.
watched() {
    local rtmp=${1:-rtmp://127.0.0.1:1935} http=${2:-http://127.0.0.1:8080} name=live/$RANDOM encoder code=0
    in_network ffmpeg -v error -re -f lavfi -i testsrc2=r=30 -f lavfi -i sine -c:v libx264 -preset ultrafast -g 30 \
        -c:a aac -t 30 -tls_verify 0 -f flv "$rtmp/$name" &
    encoder=$!
    is_watched "$rtmp/$name" || code=1
    within 10 in_network curl -sfk "$http/$name.png" -o /dev/null || true
    is_watched "$http/$name.flv" || code=1
    in_network curl -sfk "$http/api/v1/streams" | grep -q "\"$name\"" || { echo "the API does not list $name"; code=1; }
    in_network curl -sfk "$http/" | grep -qi '<html' || { echo 'no page'; code=1; }
    kill "$encoder" 2>/dev/null || true
    wait "$encoder" 2>/dev/null || true
    return "$code"
}
is_watched() {
    local counted
    counted=$(in_network timeout 40 ffprobe -v error -tls_verify 0 -count_packets -read_intervals %+2 \
        -show_entries stream=codec_name,nb_read_packets -of csv=p=0 "$1") || { echo "$1: ffprobe failed"; return 1; }
    awk -F , '{ it[$1] = $2 } END { exit !(it["h264"] >= 50 && it["aac"] >= 70) }' <<<"$counted" \
        || { echo "$1: got $counted"; return 1; }
}
starts() { within 10 is_ready || { cat "$work/relay.log"; return 1; }; }
is_ready() { in_network curl -sf "http://127.0.0.1:8080/readyz"; }
