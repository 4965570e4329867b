#!/usr/bin/env bash
# Makes fanfare-VERSION-1.ARCH.rpm in target/packages, for Fedora, RHEL and their relatives.
#
#   packaging/rpm.sh
#
# Prints its path. The program needs a C library as new as that of the machine where the package is made: for older
# systems, take the static one (packaging/static.sh). Needs Rust, a C compiler, binutils and Python.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
no_arguments "$@"

release dynamic
documents
package=$out/fanfare-$version-1.$machine.rpm
generator=$(crate cargo-generate-rpm 0.21.1)
# The package has the times of its files, so it is made from copies with that of the commit.
copies=$out/rpm
rm -rf "$copies"
mkdir -p "$copies/target/packages"
(cd "$root" && cp --recursive Cargo.toml ./*.md LICENSE-* fanfare.toml docs packaging "$copies")
cp --recursive "$out/dynamic" "$out/share" "$copies/target/packages"
set_times "$copies"
(cd "$copies" && "$generator" --output "$package" --auto-req builtin)
echo "$package"
