#!/usr/bin/env bash
# Builds the binaries, then measures servers under many shapes of load: see shapes.py --help.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cargo build --quiet --release --workspace --manifest-path "$here/../Cargo.toml"
exec python3 "$here/shapes.py" "$@"
