#!/usr/bin/env bash
# Builds the binaries, then measures what TLS costs beside plain connections: see tls.py --help.
#
#   ./tls.sh [--help]
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
[[ ${1-} == -h || ${1-} == --help ]] && exec python3 "$here/tls.py" --help
cargo build --quiet --release --workspace --manifest-path "$here/../Cargo.toml"
exec python3 "$here/tls.py" "$@"
