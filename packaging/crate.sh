#!/usr/bin/env bash
# Packs the crates as they are published, without a warning, and installs fanfare from what was packed.
#
#   packaging/crate.sh [FOLDER]
#
# The program is installed in FOLDER/bin, target/package/installed by default. It is a development build: what is tested is
# that the crate is complete.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

installed=$(readlink -m "${1:-target/package/installed}")
version=$(cargo metadata --format-version 1 --no-deps \
    | python3 -c 'import json, sys; print(next(it["version"] for it in json.load(sys.stdin)["packages"] if it["name"] == "fanfare"))')

output=$(cargo package --locked --no-verify -p fanfare-rtmp -p fanfare 2>&1) || { echo "$output"; exit 1; }
if grep '^warning' <<<"$output"; then echo "$output"; exit 1; fi

sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
for crate in fanfare-rtmp fanfare; do
    tar -xzf "target/package/$crate-$version.crate" -C "$sources"
done
# Until fanfare-rtmp is on crates.io, the one beside it stands for it.
cargo install --locked --debug --path "$sources/fanfare-$version" --root "$installed" --target-dir target/package/build \
    --config "patch.crates-io.fanfare-rtmp.path='$sources/fanfare-rtmp-$version'"
"$installed/bin/fanfare" --version
