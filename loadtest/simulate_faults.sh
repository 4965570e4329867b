#!/usr/bin/env bash
# Puts each fault of tests/simulator/faults into a copy of the tree, and checks that the simulator finds it within a minute.
#
#   ./simulate_faults.sh [FAULT...]
#
# Prints a table of the faults, how many seeds were run until each was found, and what was found. Exit code: 0 if all were
# found, else 1.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

[[ ${1-} != -h && ${1-} != --help ]] || usage 0
faults=("$@")
if ((${#faults[@]} == 0)); then
    mapfile -t faults < <(basename --suffix=.patch "$root"/tests/simulator/faults/*.patch)
fi

# A folder of its own: the copy would pass for the tree itself. The copy keeps its place, so that only what changed is built anew.
export CARGO_TARGET_DIR=$root/target/faults
copy=$root/target/faults/tree
missed=0
printf '| fault | found after | as |\n|---|---|---|\n'
for fault in "${faults[@]}"; do
    rm -rf "$copy"
    mkdir -p "$copy"
    (cd "$root" && git ls-files -z | xargs -0 cp --no-dereference --parents --target-directory "$copy")
    (cd "$copy" && patch --quiet -p1 <"$root/tests/simulator/faults/$fault.patch") || fail "$fault does not apply"
    program=$(cd "$copy" && cargo test --quiet --locked --no-run --message-format=json --test simulator \
        | sed -n 's/.*"executable":"\([^"]*\/simulator-[^"]*\)".*/\1/p')
    if FANFARE_SECONDS=60 FANFARE_SEED=1 RUST_BACKTRACE=0 timeout 120 \
        "$program" --exact run_for_some_time --nocapture >"$directory/log" 2>&1; then
        printf '| %s | **not found** | |\n' "${fault//_/ }"
        missed=1
        continue
    fi
    seed=$(sed -n 's/^seed \([0-9]*\): .*/\1/p' "$directory/log" | head -n 1)
    what=$(grep -a -A 1 '^thread' "$directory/log" | sed -n 2p | cut -c -100 | tr '|' '/')
    printf '| %s | %s | %s |\n' "${fault//_/ }" "${seed:+$seed seeds}" "$what"
done
exit "$missed"
