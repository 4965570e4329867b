#!/usr/bin/env bash
# Runs the tests of what cores share with a sanitizer: publishers and players that connect, leave and are reset
# (tests/relay/stress.rs), and the unit tests of the log, the registry and the ring.
#
#   ./sanitize.sh [address|thread] [FILTER...]
#
# address, the default, finds use after free, access out of bounds, and leaks. thread finds data races between threads; it
# needs the source of the standard library (rustup component add rust-src), because one built without it looks racy.
# Neither sees what the kernel does for io_uring: the tests of net::ring check that a buffer is complete when its
# completion arrives. FILTER selects other tests than these. Exit code: 0 if nothing was found.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' loadtest/sanitize.sh; }

TARGET=$(rustc -vV | awk '$1 == "host:" { print $2 }')
# Names of tests, or parts of names.
FILTERS=(stress:: stream:: fanout::tests net::ring buffers::)

kind=${1-address}
shift || true
(($# == 0)) || FILTERS=("$@")
std=()
case $kind in
    address) folder=asan ;;
    thread)
        folder=tsan
        std=(-Zbuild-std)
        if [[ ! -e $(rustc --print sysroot)/lib/rustlib/src/rust/library ]]; then
            echo 'sanitize: the source of the standard library is missing: rustup component add rust-src' >&2
            exit 2
        fi
        ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

# The sanitizer flags are otherwise accepted only by a nightly compiler. An explicit target keeps them out of build
# scripts and macros.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$kind"
export ASAN_OPTIONS="detect_stack_use_after_return=1:${ASAN_OPTIONS-}"
# The registry's map frees memory by epochs, with fences and membarrier(2) (seize), which ThreadSanitizer does not model.
known=$(mktemp)
trap 'rm -f "$known"' EXIT
printf 'race:papaya::\nrace:seize::\n' >"$known"
export TSAN_OPTIONS="halt_on_error=1:suppressions=$known:${TSAN_OPTIONS-}"

cargo test "${std[@]}" --locked --no-fail-fast --target "$TARGET" --target-dir "target/$folder" \
    --package fanfare --lib --test relay -- "${FILTERS[@]}"
