# Shared by the scripts in this folder. Sourced, not run.
# shellcheck shell=bash

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(dirname "$here")
export load=$root/target/release/fanfare-load
relay=$root/target/release/fanfare

# Processes that this script started; it ends each by its id when it exits.
started=()
directory=$(mktemp -d)
trap 'end_all; rm -rf "$directory"' EXIT

say() { echo "${0##*/}: $*" >&2; }
fail() { say "$*"; exit 2; }
need() { command -v "$1" >/dev/null || fail "$1 is not installed"; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit "${1:-2}"; }
are_numbers() { local it; for it; do [[ $it =~ ^[1-9][0-9]*$ ]] || return 1; done; }
runs() { kill -0 "$1" 2>/dev/null; }

end_all() {
    local pid
    for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    started=()
}

build() { cargo build --quiet --release --workspace --manifest-path "$root/Cargo.toml"; }

# Starts the relay on a free port, on "all" CPUs or on the given one. Sets relay_pid and address.
start_relay() {
    local command=("$relay" --rtmp 127.0.0.1:0 --http 127.0.0.1:0 --log-level warn)
    [[ $1 == all ]] || command=(taskset -c "$1" "${command[@]}" --cores 1)
    touch "$directory/relay.out"
    "${command[@]}" >"$directory/relay.out" 2>"$directory/relay.log" &
    relay_pid=$!
    started+=("$relay_pid")
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        address=$(sed -n 's/^fanfare .* listens on \(rtmp:[^ ]*\).*/\1/p' "$directory/relay.out")
        [[ -n $address ]] && return
        runs "$relay_pid" || break
        sleep 0.1
    done
    fail "the relay did not start: $(tail -n 3 "$directory/relay.log")"
}

# Resident memory of a process, kilobytes.
resident_kb() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$1/status"; }
