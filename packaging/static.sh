#!/usr/bin/env bash
# Makes fanfare-VERSION-linux-ARCH.tar.gz in target/packages: a program that needs no library of the system, with its
# configuration, unit, manual pages and completions.
#
#   packaging/static.sh
#
# Prints its path. Needs Rust, a C compiler, a static C library (on Debian they come together, in build-essential),
# binutils and Python.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
no_arguments "$@"

release static
documents
name=fanfare-$version-linux-$machine
folder=$out/$name
rm -rf "$folder"
mkdir -p "$folder"
install -m 755 "$binary" "$folder/fanfare"
install -m 644 -t "$folder" "$root/fanfare.toml" "$here/fanfare.service" "$here/sysusers.conf" "$here/seccomp.json" \
    "$root/LICENSE-MIT" "$root/LICENSE-APACHE" "$root/CHANGELOG.md" "$out/share/third-party.txt.gz"
notice_of_the_c_library >"$folder/LICENSE-glibc"
install -D -m 644 -t "$folder/man" "$out"/share/man/*.gz
install -D -m 644 -t "$folder/completions" "$out/share/fanfare.bash" "$out/share/_fanfare" "$out/share/fanfare.fish"
tar --create --directory "$out" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" \
    --owner=0 --group=0 --numeric-owner "$name" | gzip -9n >"$folder.tar.gz"
echo "$folder.tar.gz"
