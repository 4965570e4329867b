#!/usr/bin/env bash
# Runs the tests that stress what cores share with a sanitizer in the relay and in the tests: publishers and players
# that come, go and are reset (tests/relay/stress.rs), and the unit tests of the log, the registry and the ring.
#
#   ./sanitize.sh [address|thread] [FILTER...]
#
# address, the default, finds memory that is used after it was freed, beyond its end, or never freed. thread finds data
# races between threads; it needs the standard library's source (rustup component add rust-src), for one that is not
# built for it looks racy. What the kernel does on behalf of io_uring neither of them sees: that a buffer is written
# when its completion says so is for the tests of net::ring to hold. FILTER names other tests than these.
# Exit code: 0 if nothing was found; else what it was is in the output.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' loadtest/sanitize.sh; }

TARGET=$(rustc -vV | awk '$1 == "host:" { print $2 }')
# Names of tests, or a part of them.
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
            echo 'sanitize: no source of the standard library: rustup component add rust-src' >&2
            exit 2
        fi
        ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

# The sanitizers are flags that only a nightly compiler takes otherwise. A target by name keeps them out of build
# scripts and macros.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$kind"
export ASAN_OPTIONS="detect_stack_use_after_return=1:${ASAN_OPTIONS-}"
# The map of names frees by epochs, with fences and membarrier(2) (seize), of which ThreadSanitizer knows nothing.
known=$(mktemp)
trap 'rm -f "$known"' EXIT
printf 'race:papaya::\nrace:seize::\n' >"$known"
export TSAN_OPTIONS="halt_on_error=1:suppressions=$known:${TSAN_OPTIONS-}"

cargo test "${std[@]}" --locked --no-fail-fast --target "$TARGET" --target-dir "target/$folder" --lib --test relay \
    -- "${FILTERS[@]}"
