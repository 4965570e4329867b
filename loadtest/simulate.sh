#!/usr/bin/env bash
# Runs the simulator for MINUTES in JOBS processes, with new seeds: optimised, with overflow checks and debug assertions.
#
#   ./simulate.sh MINUTES [JOBS]
#
# MINUTES may be a fraction; JOBS is one per CPU by default. Each seed is a relay with its encoders and players in virtual
# time: see tests/simulator. Prints seeds per second. Exit code: 0 if all runs ended well; 1 if one failed, with its seed
# and the command that replays it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

minutes=${1-} jobs=${2-$(nproc)}
[[ $minutes != -h && $minutes != --help ]] || usage 0
[[ $minutes =~ ^([0-9]+|[0-9]*\.[0-9]+)$ ]] || usage
are_numbers "$jobs" || usage
seconds=$(awk -v minutes="$minutes" 'BEGIN { printf "%d", minutes * 60 }')
((seconds > 0)) || usage

# Of its own folder, so that a build with other settings stays as it is. Without LTO, which takes longer than it gains.
export CARGO_TARGET_DIR=$root/target/simulate CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
cd "$root"
program=$(cargo test --quiet --locked --release --no-run --message-format=json --test simulator \
    | sed -n 's/.*"executable":"\([^"]*\/simulator-[^"]*\)".*/\1/p')
[[ -x $program ]] || fail 'no program of the simulator'

for ((job = 0; job < jobs; job++)); do
    # A run that hangs is one that fails.
    FANFARE_SECONDS=$seconds RUST_BACKTRACE=0 timeout "$((seconds + 60))" \
        "$program" --exact run_for_some_time --nocapture >"$directory/$job.log" 2>&1 &
    started+=("$!")
done
failed=0
for ((job = 0; job < jobs; job++)); do
    wait "${started[job]}" || { failed=1; grep -a -E '^(at |seed |thread)' "$directory/$job.log" || tail -n 5 "$directory/$job.log"; }
done
started=()
seeds=$(sed -n 's/^seeds: //p' "$directory"/*.log | awk '{ sum += $1 } END { print sum + 0 }')
((failed)) && { say 'a run failed'; exit 1; }
echo "$seeds seeds in $seconds s, $((seeds / seconds)) per second: all ended well"
