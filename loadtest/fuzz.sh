#!/usr/bin/env bash
# Runs the fuzz targets, each for MINUTES, as many at the same time as there are CPUs.
#
#   ./fuzz.sh MINUTES [--keep] [TARGET...]
#
# MINUTES may be a fraction. By default all targets of fuzz/fuzz_targets run. They start with fuzz/corpus and with seeds
# cut from tests/captures, and detect memory errors too. Inputs that reach new code are collected in fuzz/target/grown,
# and the next run continues from there; --keep reduces them to the smallest set with the same coverage, as the new
# fuzz/corpus. Exit code: 0 if nothing failed; 1 if something did, with the input in fuzz/artifacts. Plain `cargo test`
# replays the corpus.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

minutes=${1-} is_keeping=false targets=()
[[ $minutes != -h && $minutes != --help ]] || usage 0
[[ $minutes =~ ^([0-9]+|[0-9]*\.[0-9]+)$ ]] || usage
shift
for argument; do
    case $argument in
        --keep) is_keeping=true ;;
        -*) usage ;;
        *) [[ -e $root/fuzz/fuzz_targets/$argument.rs ]] || fail "no target $argument"; targets+=("$argument") ;;
    esac
done
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <(basename --suffix=.rs "$root"/fuzz/fuzz_targets/*.rs)
fi
seconds=$(awk -v minutes="$minutes" 'BEGIN { printf "%d", minutes * 60 }')
((seconds > 0)) || usage

# The limit of fanfare-rtmp/src/fuzz.rs for seeds: longer inputs find little more, and slowly.
LIMITS=(-max_len=4096 -timeout=20 -rss_limit_mb=2048)
# Inputs kept per target, so that a checkout stays small.
MAX_KEPT=100

cd "$root/fuzz"
# The sanitizer flag is otherwise accepted only by a nightly compiler.
RUSTC_BOOTSTRAP=1 cargo build --quiet --locked --release
programs=$(dirname "$(find target -path '*/release/seeds' -type f -print -quit)")
"$programs/seeds" "$directory/seeds" ../tests/captures/*.bin
mkdir -p artifacts

# Runs a target, with its output in a log file.
fuzz() {
    local target=$1
    mkdir -p "target/grown/$target" "corpus/$target"
    "$programs/$target" "target/grown/$target" "corpus/$target" "$directory/seeds/$target" \
        -max_total_time="$seconds" -use_value_profile=1 -print_final_stats=1 -verbosity=1 \
        -artifact_prefix="artifacts/$target-" "${LIMITS[@]}" >"$directory/$target.log" 2>&1
}

keep() {
    local target=$1
    mkdir -p "$directory/kept/$target"
    "$programs/$target" -set_cover_merge=1 "${LIMITS[@]}" "$directory/kept/$target" "corpus/$target" \
        "$directory/seeds/$target" "target/grown/$target" >"$directory/$target.merge.log" 2>&1 \
        || { tail -n 5 "$directory/$target.merge.log"; fail "$target: its corpus could not be reduced"; }
    rm -rf "corpus/$target"
    mkdir -p "corpus/$target"
    # The smallest inputs.
    find "$directory/kept/$target" -type f -printf '%s %p\n' | sort -n | head -n "$MAX_KEPT" | cut -d ' ' -f 2- \
        | xargs cp --target-directory "corpus/$target"
}

failed=()
running=()
at_once=$(nproc)
report() {
    local target=$1 runs
    if wait "$2"; then
        runs=$(awk '$1 == "stat::number_of_executed_units:" { print $2 }' "$directory/$target.log")
        echo "$target: nothing found in $runs runs, $seconds s"
    else
        echo "$target: FAILED"
        tail -n 40 "$directory/$target.log"
        failed+=("$target")
    fi
}
for target in "${targets[@]}"; do
    fuzz "$target" &
    started+=($!)
    running+=("$target $!")
    if ((${#running[@]} == at_once)); then
        # shellcheck disable=SC2086 # two words
        report ${running[0]}
        running=("${running[@]:1}")
    fi
done
for it in "${running[@]}"; do
    # shellcheck disable=SC2086 # two words
    report $it
done
started=()
if $is_keeping; then
    for target in "${targets[@]}"; do keep "$target"; done
fi
((${#failed[@]} == 0)) || { say "failed: ${failed[*]}; the inputs are in fuzz/artifacts"; exit 1; }
